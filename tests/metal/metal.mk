# SPDX-License-Identifier: MIT
# The bare-metal tests' images: make -f tests/metal/metal.mk (from the top folder), or included there.
BUILD ?= build
METAL = $(patsubst tests/metal/%.c,%,$(filter-out tests/metal/rt.c,$(wildcard tests/metal/*.c)))
METAL_OUT = $(BUILD)/metal
METAL_CC = gcc -m32 -march=i486 -std=gnu11 -O1 -Wall -Wextra -ffreestanding -fno-pic -fno-pie \
    -fno-stack-protector -fno-asynchronous-unwind-tables -fcf-protection=none -mgeneral-regs-only \
    -fno-delete-null-pointer-checks -fno-tree-loop-distribute-patterns
metal: $(METAL:%=$(METAL_OUT)/%.img)

$(METAL_OUT)/%.o: tests/metal/%.c tests/metal/rt.h
	@mkdir -p $(@D)
	$(METAL_CC) -c $< -o $@
$(METAL_OUT)/%.o: tests/metal/%.S
	@mkdir -p $(@D)
	$(METAL_CC) -c $< -o $@
$(METAL_OUT)/%.elf: $(METAL_OUT)/%.o $(METAL_OUT)/rt.o $(METAL_OUT)/start.o $(METAL_OUT)/boot.o \
    tests/metal/metal.ld
	ld -m elf_i386 -nostdlib -T tests/metal/metal.ld $(filter %.o,$^) -o $@
$(METAL_OUT)/%.img: $(METAL_OUT)/%.elf
	objcopy -O binary $< $@
	truncate -s 1474560 $@
.PRECIOUS: $(METAL_OUT)/%.elf $(METAL_OUT)/%.o
.PHONY: metal
