/* responder PORT: answers DUNNO to whatever ends in an empty line. No policy service costs less. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { TIME_LIMIT = 3600 };

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static void watch(int poll, int socket) {
    struct epoll_event event = {.events = EPOLLIN, .data.fd = socket};
    if (epoll_ctl(poll, EPOLL_CTL_ADD, socket, &event))
        fail("epoll_ctl");
}

static int listening(const char *port) {
    int yes = 1, fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port))};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (bind(fd, (struct sockaddr *)&address, sizeof address) || listen(fd, 4096))
        fail("listen");
    return fd;
}

/* A request comes in one piece on loopback: what matters is how it ends. */
static void answer(int fd) {
    static const char pass[] = "action=DUNNO\n\n";
    static char request[65536];
    ssize_t got = recv(fd, request, sizeof request, 0);
    if (got <= 0)
        close(fd);
    else if (got >= 2 && !memcmp(request + got - 2, "\n\n", 2))
        send(fd, pass, sizeof pass - 1, MSG_NOSIGNAL);
}

int main(int argc, char **argv) {
    if (argc != 2) {
        fprintf(stderr, "usage: responder PORT\n");
        return 2;
    }
    alarm(TIME_LIMIT);
    int door = listening(argv[1]), poll = epoll_create1(0), yes = 1;
    watch(poll, door);
    for (;;) {
        struct epoll_event events[256];
        int ready = epoll_wait(poll, events, 256, -1);
        for (int i = 0; i < ready; i++) {
            if (events[i].data.fd != door) {
                answer(events[i].data.fd);
                continue;
            }
            int fd = accept(door, NULL, NULL);
            if (fd < 0)
                fail("accept");
            setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
            watch(poll, fd);
        }
    }
}
