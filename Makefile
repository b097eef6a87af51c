# SPDX-License-Identifier: MIT
# glassbox: GNU make, no configure step. docs/testing.md tells the tests' story.
#
#   make                     build/glassbox            make debug      build/debug/glassbox, with sanitisers and
#   make test [T=unit/isa]   all tests, or some        make fuzz       random tests: T=fuzz/cpu SEED=7 N=100000
#   make check               what CI runs              make bless      renews tests/golden
#   make rooms | lint        layer rules | style       make bench      beside QEMU and the bare host
#   make lab                 the lab's floppy          make install PREFIX=/usr/local | make clean
#
# `make test DEBUG=1` tests the debug build, CHECK=1 runs guests under -check.
# Options: BUILD=folder VNC=0 OPT=-O0 SEABIOS=folder.
BUILD ?= build
CC = gcc
CSTD = -std=gnu11 -Isrc
WARN = -Wall -Wextra
VNC ?= 1
DEBUG ?= 0
FUZZ ?= 0
SEABIOS ?= /usr/share/seabios
PREFIX ?= /usr/local
SANITIZE = -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=undefined -DGLASSBOX_DEBUG
FUZZ_BUILD := $(BUILD)/fuzz
ifeq ($(FUZZ),1)
override BUILD := $(FUZZ_BUILD)
OPT ?= $(SANITIZE) -fsanitize-coverage=trace-pc
else ifeq ($(DEBUG),1)
override BUILD := $(BUILD)/debug
OPT ?= $(SANITIZE)
else
OPT ?= -O2 -g
endif
CFLAGS = $(CSTD) $(WARN) $(OPT) -DGLASSBOX_VNC=$(VNC) -MMD -MP
LDLIBS = -lpthread -lm

.PHONY: all debug clean install
.SECONDARY:
.DELETE_ON_ERROR:
all: $(BUILD)/glassbox
debug:
	+$(MAKE) DEBUG=1 all

# Libraries and firmware: a missing one is named with its Debian package.
define need
$(if $(shell pkg-config --exists $(1) && echo yes),,$(error $(1) is missing: apt-get install $(2)))
endef

ifneq ($(filter-out clean rooms,$(or $(MAKECMDGOALS),all)),)
$(if $(shell command -v pkg-config),,$(error pkg-config is missing: apt-get install pkg-config))
$(call need,capstone,libcapstone-dev)
$(call need,libpng,libpng-dev)
ifeq ($(VNC),1)
$(call need,libvncserver,libvncserver-dev)
LDLIBS += $(shell pkg-config --libs libvncserver)
endif
LDLIBS += $(shell pkg-config --libs capstone libpng)
$(if $(wildcard $(SEABIOS)/bios-256k.bin),,$(error SeaBIOS is missing: apt-get install seabios))
endif

# ---- the emulator -------------------------------------------------------------------------------------------
ROOMS = base isa ir x64 bus cpu lift jit dev pc ui cli
SRC := $(foreach r,$(ROOMS),$(wildcard src/$(r)/*.c src/$(r)/*.S))
OBJ = $(patsubst src/%,$(BUILD)/%.o,$(SRC))
LIBOBJ = $(filter-out $(BUILD)/cli/main.c.o,$(OBJ))

# Reached from generated code without a save of guest FPU state: no vector registers, no x87, no libc.
GENERAL = base/flags.c cpu/access.c cpu/mmu.c cpu/space.c cpu/walk.c cpu/window.c
$(GENERAL:%=$(BUILD)/%.o): CFLAGS += -mgeneral-regs-only
# Structs of the processor are copied and cleared by moves: a REP takes the host longer to start than to do.
SHORT := unrolled_loop:256:noalign,rep_8byte:-1:noalign
$(BUILD)/cpu/%.c.o: CFLAGS += -mmemcpy-strategy=$(SHORT) -mmemset-strategy=$(SHORT)

FIRMWARE = $(SEABIOS)/bios-256k.bin $(SEABIOS)/vgabios-stdvga.bin $(SEABIOS)/vgabios-isavga.bin
$(BUILD)/pc/firmware.S.o: SFLAGS += -DFIRMWARE_BIOS='"$(word 1,$(FIRMWARE))"' \
    -DFIRMWARE_STDVGA='"$(word 2,$(FIRMWARE))"' -DFIRMWARE_ISAVGA='"$(word 3,$(FIRMWARE))"'
$(BUILD)/pc/firmware.S.o: $(FIRMWARE)
# The lab's floppy, in every binary.
$(BUILD)/pc/lab.S.o: SFLAGS += -DLAB_IMAGE='"$(BUILD)/lab/lab.img"'
$(BUILD)/pc/lab.S.o: $(BUILD)/lab/lab.img

include guest/lab/lab.mk
include bench/bench.mk
include tests/tests.mk

# Rebuilt when their text changes: everything depends on the flags, the library on the list of its parts.
define stamp
$(shell mkdir -p $(dir $(1)); printf '%s\n' '$(2)' | cmp -s - $(1) || printf '%s\n' '$(2)' > $(1))
endef
ifneq ($(filter-out clean rooms,$(or $(MAKECMDGOALS),all)),)
$(call stamp,$(BUILD)/flags.txt,$(CC) $(CFLAGS) $(GENERAL) $(FIRMWARE))
$(call stamp,$(BUILD)/parts.txt,$(LIBOBJ))
endif

$(BUILD)/%.c.o: src/%.c $(BUILD)/flags.txt
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -c $< -o $@

$(BUILD)/%.S.o: src/%.S $(BUILD)/flags.txt
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(SFLAGS) -c $< -o $@

$(BUILD)/libglassbox.a: $(LIBOBJ) $(BUILD)/parts.txt
	rm -f $@
	ar rcs $@ $(LIBOBJ)

$(BUILD)/glassbox: $(BUILD)/cli/main.c.o $(BUILD)/libglassbox.a
	$(CC) $(OPT) $^ -o $@ $(LDLIBS)

bench-programs bench-events bench-user bench-system: $(BUILD)/glassbox $(BUILD)/tests/e2e/mon

install: $(BUILD)/glassbox
	install -D -m 755 $< $(DESTDIR)$(PREFIX)/bin/glassbox

clean:
	rm -rf $(BUILD)

-include $(OBJ:.o=.d)
