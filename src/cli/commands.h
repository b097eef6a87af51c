// SPDX-License-Identifier: MIT
// The subcommands: glassbox NAME [words]. They give the exit status.
#ifndef CLI_COMMANDS_H
#define CLI_COMMANDS_H

int command_dump(int count, char *const *words);   // every stage of a translation
int command_tour(int count, char *const *words);   // the story of one page fault

#endif
