# SPDX-License-Identifier: MIT
# The benchmark: include this from the top-level Makefile or use it alone from the top folder
# (make -f bench/bench.mk bench). Everything it makes is below $(BUILD)/bench.
#
#   make bench                    all programs, 5 rounds: the bare host, glassbox, QEMU
#   make bench P=fib,sieve N=3    these programs, 3 rounds
#   make bench T=60 C=cpu         60 s for each run, CPU seconds in place of wall-clock seconds
#   make bench GLASSBOX=path QEMU=path
#   make bench SYS=1              also the events of bare metal, the same loops in every mode, the programs as processes
#                                 under a Linux kernel, which is made from Debian packages (tests/guests/linux.sh), and
#                                 system programs under it
#   make bench SYS="user system"  only these (events, modes, user, system)
#                                 what was measured is judged by the aims in bench/aims.txt
#   make translator [FILE=PROGRAM]    where the instructions of a translation go (valgrind)
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
SYS ?=

BENCH_OUT := $(BUILD)/bench
BENCH_CC := $(CC) -m32
BENCH_CFLAGS := -std=gnu11 -O2 -march=i686 -mno-sse -mno-mmx -msoft-float -ffreestanding -fno-pic \
    -fno-pie -fno-stack-protector -fcf-protection=none -fno-asynchronous-unwind-tables -Wall -Wextra
BENCH_PROGRAMS := $(shell sed -n 's/^PROGRAM.\([a-z0-9]*\),.*/\1/p' bench/programs.def)
BENCH_SHARED := $(BENCH_PROGRAMS:%=$(BENCH_OUT)/%.o) $(BENCH_OUT)/mem.o $(BENCH_OUT)/runner.o
BENCH_HEADERS := bench/program.h bench/programs.def bench/runner.h bench/layout.h bench/bench.mk

BENCH_SUITES := $(if $(SYS),$(patsubst 1,programs events modes user system,$(SYS)),programs)
BENCH_RUN = $(BENCH_OUT)/bench $(if $(P),-p $(P)) $(if $(N),-n $(N)) $(if $(T),-t $(T)) $(if $(C),-c $(C)) \
    -g $(GLASSBOX) -q $(QEMU) -r $(BENCH_OUT)/results.txt

.PHONY: translator bench bench-begin bench-build bench-programs bench-events bench-modes bench-user bench-system

bench: $(BENCH_SUITES:%=bench-%)
	@sh bench/aims.sh $(BENCH_OUT)/results.txt

bench-begin:
	@mkdir -p $(BENCH_OUT)
	@rm -f $(BENCH_OUT)/results.txt
bench-programs bench-events bench-modes bench-user bench-system: bench-begin

bench-programs: bench-build
	$(BENCH_RUN) $(BENCH_OUT)/native $(BENCH_OUT)/bench.img
	@$(if $(P),,sh bench/extra.sh $(GLASSBOX) $(QEMU) $(BUILD)/tests/e2e/mon $(BENCH_OUT) $(BENCH_OUT)/results.txt)

bench-events: $(BENCH_OUT)/bench $(BENCH_OUT)/events.img
	$(BENCH_RUN) -s events $(BENCH_OUT)/events.img

bench-modes: $(BENCH_OUT)/bench $(BENCH_OUT)/modes.img
	$(BENCH_RUN) -s modes $(BENCH_OUT)/modes.img

bench-user bench-system: bench-%: $(BENCH_OUT)/bench $(BENCH_OUT)/linux/system.gz
	$(BENCH_RUN) -s $* $(BENCH_OUT)/linux/disk/bin/$* $(BENCH_OUT)/linux/bzImage $(BENCH_OUT)/linux/system.gz

bench-build: $(addprefix $(BENCH_OUT)/,bench native bench.img events.img modes.img)

$(BENCH_OUT)/bench: bench/bench.c bench/layout.h bench/programs.def bench/events/events.def bench/modes/modes.def \
    bench/system/system.def bench/bench.mk
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

# Guests with the same start and other programs: bench/NAME/NAME.def, and sources beside it.
define bench_guest
$(BENCH_OUT)/$(1)/%.o: BENCH_CFLAGS += -DPROGRAMS='"$(1)/$(1).def"' -mgeneral-regs-only
$(BENCH_OUT)/$(1)/%.o: bench/$(1)/%.c $(BENCH_HEADERS) bench/tables.h bench/$(1)/$(1).def $(2)
	@mkdir -p $$(@D)
	$$(BENCH_CC) $$(BENCH_CFLAGS) -c -o $$@ $$<
$(BENCH_OUT)/$(1)/%.o: bench/$(1)/%.S $(2)
	@mkdir -p $$(@D)
	$$(BENCH_CC) -c -o $$@ $$<
$(BENCH_OUT)/$(1)/%.o: bench/%.c $(BENCH_HEADERS) bench/$(1)/$(1).def
	@mkdir -p $$(@D)
	$$(BENCH_CC) $$(BENCH_CFLAGS) -c -o $$@ $$<
endef
$(eval $(call bench_guest,events,bench/events/entries.h))
$(eval $(call bench_guest,modes,bench/modes/loops.h))

$(BENCH_OUT)/guest.elf: $(BENCH_OUT)/guest.o $(BENCH_SHARED)
$(BENCH_OUT)/events.elf: $(patsubst %,$(BENCH_OUT)/events/%.o,events entries guest runner mem)
$(BENCH_OUT)/modes.elf: $(patsubst %,$(BENCH_OUT)/modes/%.o,modes loops guest runner mem)
$(BENCH_OUT)/%.elf: bench/guest.ld $(BENCH_OUT)/start.o
	$(CC) -E -P -x c -o $@.lds $<
	$(LD) -m elf_i386 --build-id=none -T $@.lds -o $@ $(filter %.o,$^)

$(BENCH_OUT)/%.bin: $(BENCH_OUT)/%.elf
	objcopy -O binary $< $@

# Boot sector, an empty sector of names, the guest; filled up to a floppy of 1.44 MB.
$(BENCH_OUT)/bench.img: $(BENCH_OUT)/guest.bin
$(BENCH_OUT)/events.img: $(BENCH_OUT)/events.bin
$(BENCH_OUT)/modes.img: $(BENCH_OUT)/modes.bin
$(BENCH_OUT)/%.img: bench/boot.S bench/layout.h
	sectors=$$(( ($$(wc -c < $(filter %.bin,$^)) + 511) / 512 )) && \
	$(BENCH_CC) -DGUEST_SECTORS=$$sectors -c -o $@.boot.o bench/boot.S
	$(LD) -m elf_i386 -Ttext 0x7c00 -e boot_start --oformat binary -o $@.boot $@.boot.o
	head -c 512 /dev/zero | cat $@.boot - $(filter %.bin,$^) > $@.new
	truncate -s 1474560 $@.new
	mv $@.new $@

# The translator alone, on a program's code.
FILE ?= $(BENCH_OUT)/native
translator: $(BENCH_OUT)/translator $(if $(filter $(BENCH_OUT)/%,$(FILE)),$(FILE))
	sh bench/translator.sh $< $(FILE)
$(BENCH_OUT)/translator: bench/translator.c $(BUILD)/libglassbox.a
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $^ -o $@ $(LDLIBS)

# A RAM disk for Debian's kernel: the native process as bin/user; the system programs, static, with libc; busybox.
BENCH_LINUX := $(BENCH_OUT)/linux
$(BENCH_LINUX)/bzImage:
	sh tests/guests/linux.sh $(BENCH_LINUX)
$(BENCH_LINUX)/disk/bin/busybox: $(BENCH_LINUX)/bzImage
	@mkdir -p $(@D)
	dpkg --fsys-tarfile $(BENCH_LINUX)/packages/busybox-static_*_i386.deb | tar -xO ./bin/busybox > $@.new
	chmod 755 $@.new
	mv $@.new $@
$(BENCH_LINUX)/disk/bin/system: $(wildcard bench/system/*.c) bench/runner.c bench/runner.h bench/program.h \
    bench/system/sys.h bench/system/system.def bench/bench.mk
	@mkdir -p $(@D)
	$(BENCH_CC) -std=gnu11 -O2 -march=i686 -fcf-protection=none -Wall -Wextra -static -DRUNNER_ACCOUNTS \
	    -DPROGRAMS='"system/system.def"' -o $@ $(filter %.c,$^)
$(BENCH_LINUX)/disk/bin/nothing: bench/system/nothing.S
	@mkdir -p $(@D)
	$(BENCH_CC) -static -nostdlib -Wl,--build-id=none -o $@ $<
$(BENCH_LINUX)/disk/bin/user: $(BENCH_OUT)/native
	@mkdir -p $(@D)
	cp $< $@
$(BENCH_LINUX)/system.gz: bench/system/init.sh $(addprefix $(BENCH_LINUX)/disk/bin/,user system nothing busybox)
	@mkdir -p $(BENCH_LINUX)/disk/proc $(BENCH_LINUX)/disk/dev
	cp $< $(BENCH_LINUX)/disk/init
	chmod 755 $(BENCH_LINUX)/disk/init
	(cd $(BENCH_LINUX)/disk && find . | LC_ALL=C sort | cpio -o -H newc -R 0:0 --quiet) | gzip -9n > $@.new
	mv $@.new $@
