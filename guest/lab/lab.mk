# SPDX-License-Identifier: MIT
# Builds the page-fault lab; to be included by a GNU Makefile that sets BUILD, its output folder.
#
#     $(BUILD)/lab/lab.img    the floppy, 1474560 bytes, the same bytes on every build
#     $(BUILD)/lab/lab.elf    the kernel with symbols, and put_fs_byte and lab_fault_insn of fault
#     $(BUILD)/lab/PROGRAM.elf    each program with symbols
#
# Needs gcc (-m32 without any library), binutils, GNU tar. LAB_CC and LAB_BINUTILS choose others.

LAB_DIR := $(patsubst %/,%,$(dir $(lastword $(MAKEFILE_LIST))))
LAB_OUT := $(BUILD)/lab

LAB_CC ?= gcc
LAB_LD := $(LAB_BINUTILS)ld -m elf_i386 -nostdlib --no-warn-rwx-segments
LAB_OBJCOPY := $(LAB_BINUTILS)objcopy
LAB_NM := $(LAB_BINUTILS)nm

LAB_CFLAGS := -m32 -march=i386 -std=gnu11 -ffreestanding -fno-pic -fno-pie \
    -fno-stack-protector -fno-asynchronous-unwind-tables -fcf-protection=none \
    -mgeneral-regs-only -mpreferred-stack-boundary=2 -Wall -Wextra -g \
    -Wa,--noexecstack -ffile-prefix-map=$(CURDIR)=. -Wa,-I$(LAB_OUT)

LAB_FLOPPY_BYTES := 1474560

# In the order of ls. What lies in files/ goes onto the floppy as it is.
LAB_PROGRAMS := bench div fault gp limit shell wild
LAB_FILES := $(sort $(notdir $(wildcard $(LAB_DIR)/files/*)))
LAB_KERNEL := entry main segment trap paging process call archive console vga uart keyboard pic \
    timer power
LAB_HEADERS := $(wildcard $(LAB_DIR)/*/*.h)

LAB_KERNEL_OBJECTS := $(LAB_KERNEL:%=$(LAB_OUT)/kernel/%.o) $(LAB_OUT)/kernel/text.o
LAB_USER_COMMON := $(addprefix $(LAB_OUT)/user/,start.o lab.o text.o)

.PHONY: lab
lab: $(LAB_OUT)/lab.img $(LAB_OUT)/lab.elf

$(LAB_OUT)/kernel/%.o: $(LAB_DIR)/kernel/%.c $(LAB_HEADERS) $(LAB_DIR)/lab.mk
	@mkdir -p $(@D)
	$(LAB_CC) $(LAB_CFLAGS) -Os -c $< -o $@

$(LAB_OUT)/kernel/%.o: $(LAB_DIR)/kernel/%.S $(LAB_HEADERS) $(LAB_DIR)/lab.mk
	@mkdir -p $(@D)
	$(LAB_CC) $(LAB_CFLAGS) -c $< -o $@

$(LAB_OUT)/user/%.o: $(LAB_DIR)/user/%.c $(LAB_HEADERS) $(LAB_DIR)/lab.mk
	@mkdir -p $(@D)
	$(LAB_CC) $(LAB_CFLAGS) -O2 -c $< -o $@

$(LAB_OUT)/user/%.o: $(LAB_DIR)/user/%.S $(LAB_HEADERS) $(LAB_DIR)/lab.mk
	@mkdir -p $(@D)
	$(LAB_CC) $(LAB_CFLAGS) -c $< -o $@

$(LAB_OUT)/kernel/text.o $(LAB_OUT)/user/text.o: $(LAB_DIR)/shared/text.c $(LAB_HEADERS)
	@mkdir -p $(@D)
	$(LAB_CC) $(LAB_CFLAGS) -O2 -c $< -o $@

# The programs: an ELF file each to look at, a flat one for the floppy.
$(LAB_OUT)/fault.elf: $(LAB_OUT)/user/put_fs_byte.o
$(LAB_PROGRAMS:%=$(LAB_OUT)/%.elf): $(LAB_OUT)/%.elf: $(LAB_OUT)/user/%.o $(LAB_USER_COMMON) \
    $(LAB_DIR)/user/user.ld
	$(LAB_LD) -T $(LAB_DIR)/user/user.ld -o $@ $(filter %.o,$^)

$(LAB_PROGRAMS:%=$(LAB_OUT)/floppy/%): $(LAB_OUT)/floppy/%: $(LAB_OUT)/%.elf
	@mkdir -p $(@D)
	$(LAB_OBJCOPY) -O binary $< $@

$(LAB_FILES:%=$(LAB_OUT)/floppy/%): $(LAB_OUT)/floppy/%: $(LAB_DIR)/files/%
	@mkdir -p $(@D)
	cp $< $@

$(LAB_OUT)/archive.tar: $(addprefix $(LAB_OUT)/floppy/,$(LAB_FILES) $(LAB_PROGRAMS))
	tar --format=ustar --owner=0 --group=0 --numeric-owner --mode=0644 --mtime=@0 \
	    --blocking-factor=1 -C $(LAB_OUT)/floppy -cf $@ $(LAB_FILES) $(LAB_PROGRAMS)

$(LAB_OUT)/kernel/archive.o: $(LAB_OUT)/archive.tar

$(LAB_OUT)/kernel.elf: $(LAB_KERNEL_OBJECTS) $(LAB_DIR)/kernel/kernel.ld
	$(LAB_LD) -T $(LAB_DIR)/kernel/kernel.ld -o $@ $(filter %.o,$^)

$(LAB_OUT)/kernel.bin: $(LAB_OUT)/kernel.elf
	$(LAB_OBJCOPY) -O binary $< $@

$(LAB_OUT)/lab.elf: $(LAB_OUT)/kernel.elf $(LAB_OUT)/fault.elf
	$(LAB_OBJCOPY) $$($(LAB_NM) $(LAB_OUT)/fault.elf | \
	    sed -nE 's/^(\w+) T (put_fs_byte|lab_fault_insn)$$/--add-symbol \2=0x\1,global,function/p') \
	    $< $@

$(LAB_OUT)/boot.elf: $(LAB_DIR)/boot.S $(LAB_OUT)/kernel.bin $(LAB_DIR)/lab.mk
	$(LAB_CC) $(LAB_CFLAGS) -DLAB_KERNEL_BYTES=$$(stat -c %s $(LAB_OUT)/kernel.bin) \
	    -c $< -o $(LAB_OUT)/boot.o
	$(LAB_LD) -Ttext 0x7c00 -e boot_start -o $@ $(LAB_OUT)/boot.o

$(LAB_OUT)/lab.img: $(LAB_OUT)/boot.elf $(LAB_OUT)/kernel.bin
	$(LAB_OBJCOPY) -O binary -j .text $< $(LAB_OUT)/boot.bin
	cat $(LAB_OUT)/boot.bin $(LAB_OUT)/kernel.bin > $@.part
	truncate -s $(LAB_FLOPPY_BYTES) $@.part
	mv $@.part $@
