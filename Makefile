# glassbox: GNU make, no configure step. Targets: all test check lint rooms bless fuzz bench debug clean.
BUILD ?= build
CC = gcc
CSTD = -std=gnu11 -Isrc
WARN = -Wall -Wextra
OPT ?= -O2 -g
VNC ?= 1
CFLAGS = $(CSTD) $(WARN) $(OPT) -MMD -MP
LDLIBS = -lpthread -lm

# Libraries: found by pkg-config; a missing one is named with its Debian package.
define need
$(if $(shell pkg-config --exists $(1) && echo yes),,$(error $(1) is missing: apt-get install $(2)))
endef

all: $(BUILD)/glassbox

ROOMS = base isa ir x64 bus cpu lift jit dev pc ui cli
SRC := $(foreach r,$(ROOMS),$(wildcard src/$(r)/*.c src/$(r)/*.S))
OBJ = $(patsubst src/%,$(BUILD)/%.o,$(SRC))
LIBOBJ = $(filter-out $(BUILD)/cli/main.c.o,$(OBJ))

ifneq ($(MAKECMDGOALS),clean)
$(call need,capstone,libcapstone-dev)
$(call need,libpng,libpng-dev)
ifeq ($(VNC),1)
$(call need,libvncserver,libvncserver-dev)
CFLAGS += -DGLASSBOX_VNC=1
LDLIBS += $(shell pkg-config --libs libvncserver)
else
CFLAGS += -DGLASSBOX_VNC=0
endif
LDLIBS += $(shell pkg-config --libs capstone libpng)
endif

# Reached from generated code without a save of guest FPU state: no vector registers, no x87.
GENERAL = base/flags.c cpu/access.c cpu/mmu.c
$(GENERAL:%=$(BUILD)/%.o): CFLAGS += -mgeneral-regs-only

include guest/lab/lab.mk
include bench/bench.mk

$(BUILD)/%.c.o: src/%.c
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -c $< -o $@

$(BUILD)/%.S.o: src/%.S
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(SFLAGS) -c $< -o $@

$(BUILD)/libglassbox.a: $(LIBOBJ)
	rm -f $@
	ar rcs $@ $^

$(BUILD)/glassbox: $(BUILD)/cli/main.c.o $(BUILD)/libglassbox.a
	$(CC) $(OPT) $^ -o $@ $(LDLIBS)

bench: $(BUILD)/glassbox

-include $(OBJ:.o=.d)
