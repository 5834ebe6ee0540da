/* The lower limit: a message to every connection each 100 ms, by writev alone.

   usage: writev PORT MESSAGE_BYTES
   Every client is answered 101 without reading its request, and is sent WebSocket frames until it disconnects, so that
   listeners read them like those of the other servers. Prints "ready". */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <unistd.h>

#define MAX_CONNECTIONS 20000

static int links[MAX_CONNECTIONS];
static int count;

static void check(int result, const char *what) {
    if (result < 0) {
        perror(what);
        exit(1);
    }
}

int main(int argc, char **argv) {
    if (argc != 3) {
        fprintf(stderr, "usage: writev PORT MESSAGE_BYTES\n");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    size_t payload_bytes = (size_t)atol(argv[2]);
    char *payload = malloc(payload_bytes);
    memset(payload, 'a', payload_bytes);
    unsigned char header[4] = {0x82, 126, (unsigned char)(payload_bytes >> 8), (unsigned char)payload_bytes};

    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), on = 1;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[1]))};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    check(bind(listener, (struct sockaddr *)&address, sizeof address), "bind");
    check(listen(listener, 4096), "listen");
    int timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK), poll = epoll_create1(0);
    struct itimerspec every = {{0, 100000000}, {0, 100000000}};
    timerfd_settime(timer, 0, &every, NULL);
    struct epoll_event watch = {.events = EPOLLIN, .data.fd = listener};
    epoll_ctl(poll, EPOLL_CTL_ADD, listener, &watch);
    watch.data.fd = timer;
    epoll_ctl(poll, EPOLL_CTL_ADD, timer, &watch);
    puts("ready");
    fflush(stdout);
    for (;;) {
        struct epoll_event events[2];
        int ready = epoll_wait(poll, events, 2, -1);
        for (int index = 0; index < ready; index++) {
            if (events[index].data.fd == listener) {
                int link;
                while (count < MAX_CONNECTIONS && (link = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
                    setsockopt(link, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
                    static const char welcome[] = "HTTP/1.1 101 Switching Protocols\r\n\r\n";
                    if (write(link, welcome, sizeof welcome - 1) < 0) perror("welcome");
                    links[count++] = link;
                }
                continue;
            }
            uint64_t ticks;
            if (read(timer, &ticks, sizeof ticks) < 0) continue;
            struct iovec parts[2] = {{header, sizeof header}, {payload, payload_bytes}};
            for (int each = 0; each < count; each++) {
                /* Bytes that the kernel does not accept are dropped: this program has no queues. */
                if (writev(links[each], parts, 2) < 0 && errno != EAGAIN) {
                    close(links[each]);
                    links[each--] = links[--count];
                }
            }
        }
    }
}
