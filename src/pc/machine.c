// SPDX-License-Identifier: MIT
// A whole machine.
//
// Invariant: machine_free takes any half-built machine.
#include "pc/machine.h"

#include "cpu/mmu.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void machine_reset(void *self) {
    Machine *m = self;
    if (m->order_once) memcpy(m->pc->boot_order, m->boot_order, sizeof m->boot_order);
    m->order_once = false;
    m->powered_off = false;
    pc_reset(m->pc);
    cpu_reset(m->cpu);
}

static bool machine_boot_once(Machine *m, const char *order, char **err) {
    if (!order) return true;
    memcpy(m->boot_order, m->pc->boot_order, sizeof m->boot_order);
    m->order_once = true;
    if (!pc_set_boot(m->pc, order, err)) return false;
    pc_reset(m->pc);
    return true;
}

static bool machine_build(Machine *m, const MachineConfig *config, char **err) {
    m->bus = bus_new(config->ram_bytes, m->log);
    if (!m->bus) {
        *err = mem_printf("-m: no memory for %llu MiB: %s",
                          (unsigned long long)(config->ram_bytes >> 20), strerror(errno));
        return false;
    }
    const CpuModel *model = config->cpu.name ? &config->cpu : cpu_model_default();
    PcConfig pc = config->pc;
    pc.no_apic |= !(model->features & CPU_HAS_APIC);
    m->pc = pc_new(&pc, m->bus, m->log, err);
    if (!m->pc || !machine_boot_once(m, config->boot_once, err)) return false;
    if (!mmu_has_room()) {
        *err = mem_strdup("the host has no 9 GiB of addresses left for a processor's tables (ulimit -v?)");
        return false;
    }
    m->cpu = cpu_new(m->bus, m->log);
    cpu_set_model(m->cpu, model);
    if (m->pc->lapic) {
        m->cpu->apic_base_written = lapic_set_base;
        m->cpu->pmc.overflow = lapic_counters;
        m->cpu->apic_self = m->cpu->pmc.overflow_self = m->pc->lapic;
    }
    m->jit = jit_new(m->cpu, m->bus, m->log, &config->jit, err);
    if (!m->jit) return false;
    jit_set_reset(m->jit, machine_reset, m);
    cpu_reset(m->cpu);
    return true;
}

Machine *machine_new(const MachineConfig *config, Log *log, char **err) {
    Machine *m = mem_new(sizeof *m);
    m->log = log;
    m->no_shutdown = config->no_shutdown;
    m->paused = config->paused;
    m->snapshot = config->pc.snapshot;
    m->single_step = config->jit.max_insns == 1;
    if (machine_build(m, config, err)) return m;
    machine_free(m);
    return NULL;
}

void machine_free(Machine *m) {
    if (!m) return;
    if (m->jit) jit_free(m->jit);
    if (m->cpu) cpu_free(m->cpu);
    pc_free(m->pc);
    if (m->bus) bus_free(m->bus);
    free(m);
}

void machine_pause(Machine *m) {
    m->paused = true;
    bus_request(m->bus, BUS_REQ_STOP);
}

bool machine_resume(Machine *m) {
    if (m->powered_off) return false;
    m->paused = m->stopped = false;
    bus_clear_request(m->bus, BUS_REQ_STOP);
    return true;
}

// While it is paused: events, and a reset, are served. False: the machine is to end.
static bool machine_serve(Machine *m) {
    bus_wait(m->bus, UINT64_MAX);
    bus_run_events(m->bus);
    u32 requests = bus_requests(m->bus);
    if (requests & BUS_REQ_RESET) {
        bus_clear_request(m->bus, BUS_REQ_RESET);
        machine_reset(m);
    }
    bus_clear_request(m->bus, BUS_REQ_STOP);
    return !(requests & BUS_REQ_SHUTDOWN);
}

// The guest switched the machine off. True: it stays, paused.
static bool machine_stays(Machine *m) {
    if (!m->no_shutdown || !bus_is_powered_off(m->bus)) return false;
    bus_clear_request(m->bus, BUS_REQ_SHUTDOWN);
    m->paused = m->powered_off = true;
    return true;
}

static void machine_tell_stop(Machine *m, JitEnd why) {
    if (!m->stopped && m->on_stop) m->on_stop(m->on_stop_self, why);
    m->stopped = true;
}

int machine_run(Machine *m) {
    JitEnd end = JIT_END_STOP;
    for (;;) {
        if (m->paused) {
            machine_tell_stop(m, end);
            end = JIT_END_STOP;
            if (!machine_serve(m)) break;
            continue;
        }
        cpu_fpu_load_host(m->cpu);         // this thread's x87 is the guest's while it runs
        end = jit_run(m->jit);
        cpu_fpu_save_host(m->cpu);
        if (end == JIT_END_HUNG) return MACHINE_HUNG_STATUS;
        if (end == JIT_END_SHUTDOWN && !machine_stays(m)) break;
        if (end == JIT_END_BREAK) m->paused = true;
    }
    return bus_exit_status(m->bus);
}
