# SPDX-License-Identifier: MIT
# The benchmark: include this from the top-level Makefile or use it alone from the top folder
# (make -f bench/bench.mk bench). Everything it makes is below $(BUILD)/bench.
#
#   make bench                    all programs, 5 rounds: the bare host, glassbox, QEMU
#   make bench P=fib,sieve N=3    these programs, 3 rounds
#   make bench T=60 C=cpu         60 s for each run, CPU seconds in place of wall-clock seconds
#   make bench GLASSBOX=path QEMU=path
#   make bench LINUX_IMAGE=Image LINUX_DISK=hd.img    also times Linux 0.11 to its prompt (bench/extra.sh)
#
# Both the native process and the guest are linked from the same program objects.

BUILD ?= build
GLASSBOX ?= $(BUILD)/glassbox
QEMU ?= qemu-system-i386
P ?=
N ?=
T ?=
C ?=

BENCH_OUT := $(BUILD)/bench
BENCH_CC := $(CC) -m32
BENCH_CFLAGS := -std=gnu11 -O2 -march=i686 -mno-sse -mno-mmx -msoft-float -ffreestanding -fno-pic \
    -fno-pie -fno-stack-protector -fcf-protection=none -fno-asynchronous-unwind-tables -Wall -Wextra
BENCH_PROGRAMS := $(shell sed -n 's/^PROGRAM.\([a-z0-9]*\),.*/\1/p' bench/programs.def)
BENCH_SHARED := $(BENCH_PROGRAMS:%=$(BENCH_OUT)/%.o) $(BENCH_OUT)/mem.o $(BENCH_OUT)/runner.o
BENCH_HEADERS := bench/program.h bench/programs.def bench/runner.h bench/layout.h bench/bench.mk

.PHONY: bench bench-build

bench: bench-build
	$(BENCH_OUT)/bench $(if $(P),-p $(P)) $(if $(N),-n $(N)) $(if $(T),-t $(T)) $(if $(C),-c $(C)) \
	    -g $(GLASSBOX) -q $(QEMU) $(BENCH_OUT)/native $(BENCH_OUT)/bench.img
	@$(if $(P),,sh bench/extra.sh $(GLASSBOX) $(QEMU) $(BUILD)/tests/e2e/mon $(BENCH_OUT))

bench-build: $(BENCH_OUT)/bench $(BENCH_OUT)/native $(BENCH_OUT)/bench.img

$(BENCH_OUT)/bench: bench/bench.c bench/layout.h bench/bench.mk
	@mkdir -p $(@D)
	$(CC) -std=gnu11 -O2 -Wall -Wextra -o $@ $< -lm

$(BENCH_OUT)/mem.o: BENCH_CFLAGS += -fno-tree-loop-distribute-patterns
$(BENCH_OUT)/x87.o: BENCH_CFLAGS += -mhard-float -mfpmath=387
$(BENCH_OUT)/sse2.o: BENCH_CFLAGS += -mhard-float -msse2 -mfpmath=sse
$(BENCH_OUT)/x87.o $(BENCH_OUT)/sse2.o: bench/floats.h
$(BENCH_OUT)/%.o: bench/%.c $(BENCH_HEADERS)
	@mkdir -p $(@D)
	$(BENCH_CC) $(BENCH_CFLAGS) -c -o $@ $<
$(BENCH_OUT)/start.o: bench/start.S
	@mkdir -p $(@D)
	$(BENCH_CC) -c -o $@ $<

$(BENCH_OUT)/native: $(BENCH_OUT)/native.o $(BENCH_SHARED)
	$(BENCH_CC) -static -no-pie -nostdlib -Wl,--build-id=none -o $@ $^

$(BENCH_OUT)/guest.elf: bench/guest.ld $(BENCH_OUT)/start.o $(BENCH_OUT)/guest.o $(BENCH_SHARED)
	$(CC) -E -P -x c -o $(BENCH_OUT)/guest.lds $<
	$(LD) -m elf_i386 --build-id=none -T $(BENCH_OUT)/guest.lds -o $@ $(filter %.o,$^)

$(BENCH_OUT)/guest.bin: $(BENCH_OUT)/guest.elf
	objcopy -O binary $< $@

# Boot sector, an empty sector of names, the guest; filled up to a floppy of 1.44 MB.
$(BENCH_OUT)/bench.img: $(BENCH_OUT)/guest.bin bench/boot.S bench/layout.h
	sectors=$$(( ($$(wc -c < $<) + 511) / 512 )) && \
	$(BENCH_CC) -DGUEST_SECTORS=$$sectors -c -o $(BENCH_OUT)/boot.o bench/boot.S
	$(LD) -m elf_i386 -Ttext 0x7c00 -e boot_start --oformat binary -o $(BENCH_OUT)/boot.bin \
	    $(BENCH_OUT)/boot.o
	head -c 512 /dev/zero | cat $(BENCH_OUT)/boot.bin - $< > $@.new
	truncate -s 1474560 $@.new
	mv $@.new $@
