# SPDX-License-Identifier: MIT
# shellcheck shell=sh
# Sourced by the scripts that make guests of Debian 12's i386 packages: downloads and looks into them with
# apt's own signature checks, but with lists and files in a folder of its own. Nothing is installed, and neither
# root rights nor `dpkg --add-architecture` are needed.
#
#   PACKAGES        where lists and packages are kept (the script's DIR/packages)
#   DEBIAN_MIRROR   http://deb.debian.org/debian

# packages_open DIR: the folder; an apt whose world is Debian 12, i386.
packages_open() {
    PACKAGES=$(mkdir -p "${PACKAGES:-$1/packages}" && cd "${PACKAGES:-$1/packages}" && pwd)
    export PACKAGES
    disk_need apt-get apt
    disk_need dpkg-deb dpkg
    disk_need /usr/share/keyrings/debian-archive-keyring.gpg debian-archive-keyring
    mkdir -p "$PACKAGES/lists/partial" "$PACKAGES/cache/archives/partial"
    : > "$PACKAGES/status"
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]" \
        "${DEBIAN_MIRROR:-http://deb.debian.org/debian} bookworm main" > "$PACKAGES/sources.list"
}

packages_apt() {        # packages_apt apt-get|apt-cache WORDS...
    packages_tool=$1
    shift
    "$packages_tool" -q -o APT::Architecture=i386 -o APT::Architectures=i386 -o Acquire::Languages=none \
        -o APT::Sandbox::User= -o Acquire::Retries=3 -o Dir::Etc::sourcelist="$PACKAGES/sources.list" \
        -o Dir::Etc::sourceparts=- -o Dir::State="$PACKAGES" -o Dir::State::status="$PACKAGES/status" \
        -o Dir::Cache="$PACKAGES/cache" "$@" < /dev/null
}

# packages_get NAME: prints the path of the package's file, downloaded when it is not there.
# Exit status 75 when the archive cannot be reached.
packages_get() {
    for packages_file in "$PACKAGES/$1"_*.deb; do
        if [ -e "$packages_file" ]; then echo "$packages_file"; return; fi
    done
    if [ -z "$(ls "$PACKAGES/lists" | grep Packages)" ]; then
        packages_apt apt-get update --error-on=any > "$PACKAGES/log" 2>&1 || return 75
    fi
    (cd "$PACKAGES" && packages_apt apt-get download "$1") > "$PACKAGES/log" 2>&1 || return 75
    ls "$PACKAGES/$1"_*.deb
}

# packages_depends NAME REGEX: the first package matching REGEX that NAME depends on.
packages_depends() {
    packages_control=$(packages_get "$1") || return
    dpkg-deb -f "$packages_control" Depends | tr ',|' '\n\n' | sed 's/[ (].*//; s/^ *//' | grep -xE "$2" | head -n 1
}
