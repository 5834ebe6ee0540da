/* Listeners that cost as little as possible, the same for every server: they connect, send a request, and discard what
   they receive. They answer pings of WebSocket servers, which would otherwise disconnect them.

   usage: listeners PORT COUNT REQUEST_FILE [SECOND_FILE]
   Each connection sends the request, and after the first bytes of the answer the second file, if there is one. Every
   100 ms the program prints a line "connections bytes cpu_seconds": the connections that have received something, and
   totals since the start. It ends when stdin is closed. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define MAX_CONNECTIONS 20000
#define MAX_UNANSWERED 256 /* connections without an answer so far: a server's backlog is finite */
#define SPACING_US 2000 /* between two connections: each costs a second when the backlog is full (Icecast's is short) */

static unsigned char requested[MAX_CONNECTIONS + 64], answered_once[MAX_CONNECTIONS + 64];

/* The state of a connection's frame parser; for WebSocket servers only. */
static struct reader {
    unsigned char framed;
    unsigned char head[10];
    unsigned char have;
    unsigned char ping[125];
    unsigned char wanted;
    uint64_t rest;
} readers[MAX_CONNECTIONS + 64];

static void read_frames(int link, const unsigned char *data, size_t bytes) {
    struct reader *reader = &readers[link];
    while (bytes > 0) {
        if (reader->rest > 0) {
            size_t part = bytes < reader->rest ? bytes : (size_t)reader->rest;
            if (reader->wanted > 0) memcpy(reader->ping + (reader->wanted - reader->rest), data, part);
            reader->rest -= part;
            data += part;
            bytes -= part;
        } else {
            reader->head[reader->have++] = *data++;
            bytes--;
            if (reader->have < 2) continue;
            unsigned char length = reader->head[1] & 127;
            int whole = length == 126 ? 4 : length == 127 ? 10 : 2;
            if (reader->have < whole) continue;
            reader->rest = length;
            if (whole > 2) reader->rest = 0;
            for (int each = 2; each < whole; each++) reader->rest = reader->rest << 8 | reader->head[each];
            reader->wanted = reader->head[0] == 0x89 && length < 126 ? length : 0;
            reader->have = 0;
        }
        if (reader->rest == 0 && reader->wanted > 0) {
            /* The mask is zero, so that the payload stays unchanged. */
            unsigned char pong[6 + 125] = {0x8A, 0x80 | reader->wanted};
            memcpy(pong + 6, reader->ping, reader->wanted);
            if (write(link, pong, 6u + reader->wanted) < 0) perror("pong");
            reader->wanted = 0;
        }
    }
}

static int64_t now_us(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000LL + now.tv_nsec / 1000;
}

static char *slurp(const char *path, size_t *bytes) {
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        perror(path);
        exit(1);
    }
    char *data = malloc(65536);
    *bytes = fread(data, 1, 65536, file);
    fclose(file);
    return data;
}

int main(int argc, char **argv) {
    if (argc < 4) {
        fprintf(stderr, "usage: listeners PORT COUNT REQUEST_FILE [SECOND_FILE]\n");
        return 2;
    }
    int wanted = atoi(argv[2]), made = 0, answered = 0;
    size_t first_bytes, second_bytes = 0;
    char *first = slurp(argv[3], &first_bytes), *second = argc > 4 ? slurp(argv[4], &second_bytes) : NULL;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[1]))};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int poll_fd = epoll_create1(0), timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
    struct itimerspec every = {{0, 100000000}, {0, 100000000}};
    timerfd_settime(timer, 0, &every, NULL);
    struct epoll_event watch = {.events = EPOLLIN, .data.fd = timer};
    epoll_ctl(poll_fd, EPOLL_CTL_ADD, timer, &watch);
    watch.data.fd = 0;
    epoll_ctl(poll_fd, EPOLL_CTL_ADD, 0, &watch);
    uint64_t bytes = 0, lost = 0;
    int64_t next_us = 0;
    for (;;) {
        for (; made < wanted && made - answered < MAX_UNANSWERED && now_us() >= next_us; made++) {
            next_us = now_us() + SPACING_US;
            int link = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
            if (link < 0 || (connect(link, (struct sockaddr *)&address, sizeof address) < 0 && errno != EINPROGRESS)) {
                perror("connect");
                return 1;
            }
            /* Writable once it is connected. */
            watch.events = EPOLLIN | EPOLLOUT;
            watch.data.fd = link;
            epoll_ctl(poll_fd, EPOLL_CTL_ADD, link, &watch);
        }
        struct epoll_event events[256];
        int ready = epoll_wait(poll_fd, events, 256, made < wanted ? 1 : -1);
        for (int index = 0; index < ready; index++) {
            int link = events[index].data.fd;
            if (link == 0) return 0;
            if (link == timer) {
                uint64_t ticks;
                struct rusage usage;
                if (read(timer, &ticks, sizeof ticks) < 0) continue;
                getrusage(RUSAGE_SELF, &usage);
                double seconds = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                                 (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
                printf("%d %llu %.3f\n", answered - (int)lost, (unsigned long long)bytes, seconds);
                fflush(stdout);
                continue;
            }
            ssize_t got;
            if (!requested[link] && (events[index].events & EPOLLOUT)) {
                requested[link] = 1;
                if (write(link, first, first_bytes) != (ssize_t)first_bytes) {
                    perror("request");
                    return 1;
                }
                watch.events = EPOLLIN;
                watch.data.fd = link;
                epoll_ctl(poll_fd, EPOLL_CTL_MOD, link, &watch);
                continue;
            }
            if (!answered_once[link]) {
                answered_once[link] = 1;
                answered++;
                /* The first answer is copied and parsed, because the second request follows it. */
                static char answer[4097];
                got = recv(link, answer, sizeof answer - 1, 0);
                answer[got > 0 ? got : 0] = 0;
                char *end = strstr(answer, "\r\n\r\n");
                memset(&readers[link], 0, sizeof readers[link]);
                if (end != NULL && strncmp(answer, "HTTP/1.1 101", 12) == 0) {
                    readers[link].framed = 1;
                    read_frames(link, (unsigned char *)end + 4, (size_t)(answer + got - end - 4));
                }
                if (got > 0 && second != NULL && write(link, second, second_bytes) != (ssize_t)second_bytes) return 1;
            } else if (readers[link].framed) {
                static unsigned char buffer[4096];
                struct reader *reader = &readers[link];
                got = recv(link, buffer, sizeof buffer, 0);
                if (got > 0) {
                    read_frames(link, buffer, (size_t)got);
                    if (reader->rest > sizeof buffer && reader->wanted == 0) {
                        /* The payload of a large message is not copied. */
                        ssize_t skipped = recv(link, NULL, reader->rest, MSG_TRUNC);
                        if (skipped > 0) {
                            reader->rest -= (uint64_t)skipped;
                            got += skipped;
                        }
                    }
                }
            } else {
                got = recv(link, NULL, 1 << 20, MSG_TRUNC);
            }
            if (got > 0) {
                bytes += (uint64_t)got;
            } else if (got == 0 || errno != EAGAIN) {
                close(link);
                lost++;
            }
        }
    }
}
