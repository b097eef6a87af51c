// SPDX-License-Identifier: MIT
// Guest time without jumps: what a calibrating loop sees, what becomes of the time that was taken out.
#include "bus/flow.h"

#include "fuzz.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define MS 1000000ull

typedef struct World {
    Flow flow;
    u64 wall_ns, insns, now_ns;
    u64 least_ns, most_ns;     // steps between two looks
} World;

static void look(World *w, u64 wall_step_ns, u64 insns) {
    w->wall_ns += wall_step_ns;
    w->insns += insns;
    u64 before = w->now_ns;
    w->now_ns = flow_look(&w->flow, w->wall_ns, w->insns);
    u64 step = w->now_ns - before;
    assert_true(w->now_ns >= before);
    assert_true(w->now_ns <= w->wall_ns);
    if (step < w->least_ns) w->least_ns = step;
    if (step > w->most_ns) w->most_ns = step;
}

static World world(u64 at_ns) {
    World w = { .wall_ns = at_ns, .insns = 1000, .now_ns = at_ns, .least_ns = UINT64_MAX };
    flow_start(&w.flow, at_ns, w.insns);
    return w;
}

// A loop of a port access and a look at the clock. Its first round is translated, in others the host runs
// somebody else: no step may be ten times the least, as Linux asks of it.
static void test_calibration(void **state) {
    (void)state;
    World w = world(5000 * MS);
    for (int i = 0; i < 100000; i++) {
        u64 gone = i == 0 ? 80000 : i % 9973 == 500 ? 20 * MS : i % 1201 == 7 ? 30000 : 0;
        look(&w, 150 + gone, 5);
        look(&w, 120, 4);
    }
    assert_true(w.most_ns < 10 * w.least_ns);
    assert_true(w.wall_ns - w.now_ns < 200 * MS);
}

// What is missing comes back while the processor works: soon when it is little, at once beyond a second.
static void test_catching_up(void **state) {
    (void)state;
    World w = world(0);
    look(&w, 20 * MS, 0);
    assert_true(w.now_ns < MS);
    u64 start_ns = w.wall_ns;
    while (w.now_ns < w.wall_ns) look(&w, 20000, 10000);
    assert_true(w.wall_ns - start_ns < 100 * MS && w.wall_ns - start_ns > 20 * MS);
    look(&w, 3600000 * MS, 0);
    assert_true(w.wall_ns - w.now_ns <= FLOW_FAR_NS);
    assert_true(w.wall_ns - w.now_ns > FLOW_FAR_NS / 2);
}

// Most of the wall is somebody else's, for ever: guest time follows at the wall's speed all the same.
static void test_loaded_host(void **state) {
    (void)state;
    World w = world(0);
    for (int i = 0; i < 200000; i++) look(&w, i % 100 ? 20000 : 6 * MS, 1000);
    u64 wall_ns = w.wall_ns, now_ns = w.now_ns;
    for (int i = 0; i < 100000; i++) look(&w, i % 100 ? 20000 : 6 * MS, 1000);
    u64 wall_step = w.wall_ns - wall_ns, now_step = w.now_ns - now_ns;
    assert_true(now_step > wall_step - 50 * MS && now_step < wall_step + 50 * MS);
    assert_true(w.wall_ns - w.now_ns < 1000 * MS);
}

// A halted processor is brought up to the wall, deadline by deadline, so that no tick is missed.
static void test_idle(void **state) {
    (void)state;
    World w = world(100 * MS);
    look(&w, 30 * MS, 0);
    for (u64 tick = 104 * MS; tick <= 128 * MS; tick += 4 * MS)
        assert_int_equal(flow_idle(&w.flow, w.wall_ns, tick), tick);
    assert_int_equal(flow_idle(&w.flow, w.wall_ns, 132 * MS), 130 * MS);
    assert_int_equal(flow_idle(&w.flow, w.wall_ns, 120 * MS), 130 * MS);       // never back
    assert_int_equal(flow_idle(&w.flow, 131 * MS, UINT64_MAX), 131 * MS);
    assert_int_equal(flow_look(&w.flow, 131 * MS + 50, w.insns + 10), 131 * MS + 50);
}

static void test_random(void **state) {
    (void)state;
    u64 x = fuzz_state(0x853c49e6748fea9b);
    for (u64 n = fuzz_count(50); n; n--) {
        World w = world(x >> 30);
        for (int i = 0; i < 5000; i++) {
            x = x * 6364136223846793005u + 1442695040888963407u;
            u64 step = x >> 40 << (x >> 34 & 15), insns = x >> 50;
            if (x >> 32 & 3) look(&w, step >> 8, insns);
            else w.wall_ns += step, w.now_ns = flow_idle(&w.flow, w.wall_ns, w.now_ns + insns);
            assert_true(w.now_ns <= w.wall_ns);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_calibration), cmocka_unit_test(test_catching_up),
        cmocka_unit_test(test_loaded_host), cmocka_unit_test(test_idle), cmocka_unit_test(test_random),
    };
    return cmocka_run_group_tests_name("flow", tests, NULL, NULL);
}
