// SPDX-License-Identifier: MIT
// From the boot sector to the shell.
#include "kernel.h"

__attribute__((noreturn)) void kernel_main(uint32_t kib_above_1_mib);

void kernel_main(uint32_t kib_above_1_mib)
{
    segment_init();
    pic_init();
    console_init();
    console_print("glassbox page-fault lab\n");
    paging_init((kib_above_1_mib + 1024) * 1024);
    timer_init();
    cpu_enable_interrupts();
    console_print("Type help for the commands, fault to watch a page fault being served.\n\n");
    for (;;) {
        int status = process_run("shell");
        if (status < 0 && status != LAB_KILLED) {
            console_print("kernel: cannot start the shell (error %d)\n", status);
            trap_halt();
        }
        console_print("kernel: the shell ended, starting it again\n");
    }
}
