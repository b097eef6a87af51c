// SPDX-License-Identifier: MIT
// A monitor client for tests: sends commands to a Unix socket one after the other, each when the prompt
// has come, and prints the answers without prompts and echoes.
//
//     mon SOCKET COMMAND...          "!MS" in place of a command waits MS milliseconds
//
// Exit status: 0, or 1 with one line on stderr. No answer may take longer than 20 seconds.
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define PROMPT "(qemu) "
enum { LIMIT_MS = 20000, TRIES = 100 };

static int mon_connect(const char *path) {
    struct sockaddr_un a = { .sun_family = AF_UNIX };
    if (strlen(path) >= sizeof a.sun_path) return -1;
    strcpy(a.sun_path, path);
    for (int i = 0; i < TRIES; i++) {              // it may just be starting
        int fd = socket(AF_UNIX, SOCK_STREAM, 0);
        if (!connect(fd, (struct sockaddr *)&a, sizeof a)) return fd;
        close(fd);
        usleep(100000);
    }
    return -1;
}

// Reads up to the prompt or the end; prints what comes after the echo. 0, or -1: no answer.
static int mon_answer(int fd, const char *echo, int *ended) {
    static char text[1 << 20];
    size_t n = 0;
    for (;;) {
        struct pollfd p = { fd, POLLIN, 0 };
        if (poll(&p, 1, LIMIT_MS) <= 0) return -1;
        ssize_t got = read(fd, text + n, sizeof text - n - 1);
        if (got <= 0) {
            *ended = 1;
            break;
        }
        n += (size_t)got;
        if (n >= strlen(PROMPT) && !memcmp(text + n - strlen(PROMPT), PROMPT, strlen(PROMPT))) {
            n -= strlen(PROMPT);
            break;
        }
    }
    text[n] = 0;
    char *at = text;
    if (!strncmp(at, echo, strlen(echo))) at += strlen(echo);
    for (at += strspn(at, "\r\n"); *at; at++)
        if (*at != '\r') putchar(*at);
    fflush(stdout);
    return 0;
}

int main(int argc, char **argv) {
    int ended = 0, fd = argc > 1 ? mon_connect(argv[1]) : -1;
    if (fd < 0) {
        fprintf(stderr, "mon: cannot connect to '%s': %s\n", argc > 1 ? argv[1] : "", strerror(errno));
        return 1;
    }
    int failed = mon_answer(fd, "", &ended);
    for (int i = 2; i < argc && !failed && !ended; i++) {
        if (argv[i][0] == '!') {
            usleep((useconds_t)atoi(argv[i] + 1) * 1000);
            continue;
        }
        failed = dprintf(fd, "%s\n", argv[i]) < 0 || mon_answer(fd, argv[i], &ended);
    }
    close(fd);
    if (failed) fprintf(stderr, "mon: no answer\n");
    return failed != 0;
}
