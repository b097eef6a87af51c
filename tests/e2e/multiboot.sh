#!/bin/sh
# SPDX-License-Identifier: MIT
# -kernel with a multiboot kernel of our own (tests/guests/multiboot.c), as ELF and flat: memory map,
# command line, modules; and what is said about files that are no kernels.
# timeout: 120
. tests/e2e/lib.sh
here=$PWD
cd "$TEST_DIR"
build() {       # build NAME FLAGS...
    name=$1
    shift
    gcc -m32 -march=i386 -O1 -ffreestanding -fno-pic -fno-pie -fno-stack-protector -fcf-protection=none \
        -mgeneral-regs-only -nostdlib -static -Wl,--build-id=none -Wl,-T,"$here/tests/guests/multiboot.ld" \
        -Wl,--no-warn-rwx-segments "$@" -o "$name" "$here/tests/guests/multiboot.c"
}
build kernel.elf
build flat.elf -DFLAT
objcopy -O binary flat.elf kernel.bin
printf 'first module' > one
printf 'second' > 'two,2'

boot() {        # boot STATUS OPTIONS...: the guest's words into `said`
    want=$1
    shift
    status=0
    timeout 30 "$GLASSBOX" -display none -m 32 -device isa-debug-exit,iobase=0xf4 -serial file:said "$@" 2> err ||
        status=$?
    [ $status -eq "$want" ] || die "$*: status $status: $(cat err said)"
}
says() { grep -qxE "$1" said || die "no '$1' in: $(cat said)"; }

for kernel in kernel.elf kernel.bin; do
    boot 69 -kernel $kernel -append 'a=1  b' -initrd 'one x y,two,,2'
    says 'magic 2badb002'
    says 'flags 0000024d'
    says 'state 00000001'                                            # protected mode, IF and VM clear
    says 'data 600dda7a'
    says "line $kernel a=1  b"
    says 'lower 0000027f'
    says 'upper 00007[ab][0-9a-f]{2}'                                # 32 MiB, without what the firmware keeps
    says 'map 0000000000000000 000000000009fc00 00000001'
    says 'map 0000000000100000 0000000001[ef][0-9a-f]{5} 00000001'
    says 'map 00000000fffc0000 0000000000040000 00000002'
    says 'module 0000000c'
    says 'aligned 00000000'
    says 'one x y: first module'
    says 'module 00000006'
    says 'two,2: second'
    says 'loader glassbox'
done
# Before any disk.
truncate -s 1M disk
boot 65 -hda disk -boot c -kernel kernel.elf
says 'line kernel.elf'

wrong() {       # wrong REGEX OPTIONS...
    want=$1
    shift
    status=0
    timeout 10 "$GLASSBOX" -display none "$@" > out 2> err < /dev/null || status=$?
    [ $status -eq 1 ] || die "$*: status $status: $(cat err)"
    grep -qE "^glassbox: $want" err || die "$* says: $(cat err)"
    [ "$(wc -l < err)" -eq 1 ] || die "$*: more than one line: $(cat err)"
}
head -c 3000 /dev/zero > zeros
head -c 4200 kernel.elf > cut
build demand.elf -DDEMAND=8
: > empty
wrong "-kernel: cannot open 'missing': No such file" -kernel missing
wrong "-kernel: 'zeros' is neither a Linux bzImage nor a multiboot kernel" -kernel zeros
wrong "-kernel: 'empty' is empty" -kernel empty
wrong "-kernel: 'cut' is cut short" -kernel cut
wrong "-kernel: '/bin/sh' is an ELF file without multiboot header" -kernel /bin/sh
wrong "-kernel: 'demand.elf' asks for multiboot features .*flags 0xb" -kernel demand.elf
wrong "-kernel: 'kernel.elf' needs memory at 0x200000.* not there \(-m\)" -kernel kernel.elf -m 3
wrong "-initrd: cannot open 'missing'" -kernel kernel.elf -initrd missing
wrong "-initrd: 'disk' does not fit into memory behind the kernel" -kernel kernel.elf -m 4 -initrd disk
wrong "-initrd: only with -kernel" -initrd one
wrong "-append: only with -kernel" -append x
