# SPDX-License-Identifier: MIT
# Building and running the tests; included by the top Makefile. docs/testing.md explains the kinds.
#
# A test's name is its path below tests/ without the ending: unit/test_isa, golden/alu, metal/exc,
# e2e/boot_grub, static/rooms. T=NAME takes all names that begin so; `test_` may be left out (T=unit/isa).
include tests/metal/metal.mk
TEST_OUT := $(BUILD)/tests

TEST_UNIT := $(patsubst tests/%.c,%,$(wildcard tests/unit/test_*.c))
TEST_KIT := $(patsubst tests/%.c,$(TEST_OUT)/%.c.o,$(filter-out tests/unit/test_%,$(wildcard tests/unit/*.c)))
TEST_GOLDEN := $(patsubst tests/%.s,%,$(wildcard tests/golden/*.s))
TEST_METAL := $(METAL:%=metal/%)
TEST_E2E := $(filter-out e2e/lib e2e/debian,$(patsubst tests/%.sh,%,$(wildcard tests/e2e/*.sh)))
TEST_TOOLS := $(patsubst tests/e2e/%.c,$(TEST_OUT)/e2e/%,$(wildcard tests/e2e/*.c))
TEST_STATIC := static/rooms static/lint
TEST_SILICON := silicon/slice
TEST_FUZZ := $(patsubst tests/%.c,%,$(filter-out %/driver.c %/guest.c,$(wildcard tests/fuzz/*.c)))
ifneq ($(VNC),1)
TEST_UNIT := $(filter-out %/test_vnc,$(TEST_UNIT))
TEST_TOOLS := $(filter-out %/vncdo,$(TEST_TOOLS))
TEST_FUZZ := $(filter-out %/vnc,$(TEST_FUZZ))
endif

# CHECK=1: guests run with -check -restore check.
CHECK ?= 0
T ?=
TEST_T := $(basename $(patsubst tests/%,%,$(T)))
TEST_ALL := $(TEST_STATIC) $(TEST_UNIT) $(TEST_SILICON) $(TEST_GOLDEN) $(TEST_METAL) $(TEST_FUZZ) $(TEST_E2E)
TEST_CHOSEN := $(if $(TEST_T),$(filter $(TEST_T)% $(patsubst unit/%,unit/test_%,$(TEST_T))%,$(TEST_ALL)),$(TEST_ALL))

TEST_NEED := $(patsubst %,$(TEST_OUT)/%,$(filter unit/%,$(TEST_CHOSEN))) \
    $(if $(filter golden/%,$(TEST_CHOSEN)),$(TEST_OUT)/golden/golden) \
    $(if $(filter silicon/%,$(TEST_CHOSEN)),$(TEST_OUT)/silicon/silicon) \
    $(if $(filter metal/%,$(TEST_CHOSEN)),$(BUILD)/glassbox) \
    $(patsubst metal/%,$(METAL_OUT)/%.img,$(filter metal/%,$(TEST_CHOSEN))) \
    $(if $(filter static/lint,$(TEST_CHOSEN)),$(BUILD)/libglassbox.a) \
    $(patsubst %,$(TEST_OUT)/%,$(filter fuzz/%,$(TEST_CHOSEN))) \
    $(if $(filter e2e/%,$(TEST_CHOSEN)),$(BUILD)/glassbox $(TEST_TOOLS) lab bench-build)

.PHONY: test test-build test-names general-names check rooms lint bless fuzz fuzz-build fuzz-programs silicon
test: test-build
	@$(if $(TEST_CHOSEN),,echo "no test is called '$(T)'"; exit 1;) \
	    BUILD=$(BUILD) GENERAL='$(GENERAL)' CHECK=$(CHECK) sh tests/run.sh $(TEST_CHOSEN)
test-build: $(TEST_NEED)
test-names:
	@printf '%s\n' $(TEST_CHOSEN)
general-names:
	@echo $(GENERAL)
check:
	./check

rooms:
	@sh tests/static/rooms.sh
lint: $(BUILD)/libglassbox.a
	@BUILD=$(BUILD) GENERAL='$(GENERAL)' sh tests/static/lint.sh
# Renews golden files; with T=fuzz/NAME a corpus.
bless: $(if $(filter fuzz%,$(TEST_T)),fuzz-build,$(TEST_OUT)/golden/golden)
	@$(if $(filter fuzz%,$(TEST_T)),BUILD=$(BUILD) FUZZ_BUILD=$(FUZZ_BUILD) sh tests/fuzz.sh --bless $(TEST_CHOSEN),\
	    BUILD=$(BUILD) sh tests/golden.sh --bless $(filter golden/%,$(TEST_CHOSEN)))

# Random tests: N cases from number SEED on, T chooses programs. Fuzz targets are built once more for it, with
# sanitisers and the calls that count what a case reaches (FUZZ=1).
SEED ?= 1
FUZZ_N := $(or $(N),2000)
N ?= 200000
fuzz: $(patsubst %,$(TEST_OUT)/%,$(filter unit/%,$(TEST_CHOSEN))) $(if $(filter fuzz/%,$(TEST_CHOSEN)),fuzz-build)
	@BUILD=$(BUILD) FUZZ_BUILD=$(FUZZ_BUILD) SEED=$(SEED) N=$(N) FUZZ_N=$(FUZZ_N) sh tests/fuzz.sh \
	    $(filter unit/% fuzz/%,$(TEST_CHOSEN))
fuzz-build:
	+@$(MAKE) -s FUZZ=1 DEBUG=0 fuzz-programs
fuzz-programs: $(patsubst %,$(TEST_OUT)/%,$(filter fuzz/%,$(TEST_CHOSEN)))

# The host's processor against the emulator: N cases from number SEED on; ROW=id takes one row of i386.def,
# REPORT=file writes the table, LOG=int,op_opt logs like -d.
ROW ?=
REPORT ?=
silicon: $(TEST_OUT)/silicon/silicon
	@SEED=$(SEED) N=$(N) ROW=$(ROW) REPORT=$(REPORT) $<

# ---- how they are built ---------------------------------------------------------------------------------------
TEST_CFLAGS = $(CFLAGS) -Itests/unit

$(TEST_OUT)/%.c.o: tests/%.c $(BUILD)/flags.txt
	@mkdir -p $(@D)
	$(CC) $(TEST_CFLAGS) -c $< -o $@

$(TEST_OUT)/libkit.a: $(TEST_KIT)
	rm -f $@
	ar rcs $@ $^

$(TEST_OUT)/unit/%: $(TEST_OUT)/unit/%.c.o $(TEST_OUT)/libkit.a $(BUILD)/libglassbox.a
	$(CC) $(OPT) $^ -o $@ -lcmocka $(LDLIBS)

SILICON_OBJ = $(patsubst tests/%.c,$(TEST_OUT)/%.c.o,$(wildcard tests/silicon/*.c))
$(TEST_OUT)/silicon/silicon: $(SILICON_OBJ) $(BUILD)/libglassbox.a
	$(CC) $(OPT) $^ -o $@ -lcmocka $(LDLIBS)

# What a target does itself does not count as reached.
$(TEST_OUT)/fuzz/%.c.o: tests/fuzz/%.c $(BUILD)/flags.txt
	@mkdir -p $(@D)
	$(CC) $(filter-out -fsanitize-coverage=%,$(TEST_CFLAGS)) -c $< -o $@
FUZZ_KIT = $(TEST_OUT)/fuzz/driver.c.o $(TEST_OUT)/fuzz/guest.c.o
$(TEST_OUT)/fuzz/%: $(TEST_OUT)/fuzz/%.c.o $(FUZZ_KIT) $(BUILD)/libglassbox.a
	$(CC) $(OPT) $^ -o $@ $(LDLIBS)

$(TEST_OUT)/golden/golden: $(TEST_OUT)/golden/golden.c.o $(BUILD)/libglassbox.a
	$(CC) $(OPT) $^ -o $@ $(LDLIBS)

# Programs that e2e tests use: $(TEST_OUT)/e2e/NAME from tests/e2e/NAME.c.
$(TEST_OUT)/e2e/%: $(TEST_OUT)/e2e/%.c.o $(BUILD)/libglassbox.a
	$(CC) $(OPT) $^ -o $@ $(LDLIBS) $(shell pkg-config --libs libvncclient)

-include $(wildcard $(TEST_OUT)/*/*.d)
