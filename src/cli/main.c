// SPDX-License-Identifier: MIT
// glassbox: options to machine, or one of the subcommands.
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/run.h"

#include <string.h>

static int main_machine(int count, char *const *words) {
    Options o;
    int status = 0;
    options_init(&o, stdout, stderr);
    switch (options_parse(&o, count, words)) {
    case OPTIONS_RUN:
        status = run_options(&o);
        break;
    case OPTIONS_DONE:
        break;
    case OPTIONS_BAD:
        fprintf(stderr, "glassbox: %s\n", o.error);
        status = 1;
        break;
    }
    options_free(&o);
    return status;
}

int main(int argc, char **argv) {
    if (argc > 1 && !strcmp(argv[1], "dump")) return command_dump(argc - 2, argv + 2);
    if (argc > 1 && !strcmp(argv[1], "tour")) return command_tour(argc - 2, argv + 2);
    return main_machine(argc - 1, argv + 1);
}
