/* load: plays so many smtpds to a policy service, and says in a line of JSON what it came to.
 *
 * Closed loop: every connection asks again as soon as it is answered. Open loop (--rate): requests
 * are due at even intervals, whatever the service does, and latency counts from when a request was
 * due; a service that pauses is charged for all that waited, and for what was never asked. The
 * service's CPU time is that of the processes under --watch over the timed span, and --grace
 * seconds longer, for what it does later about what it was asked. Any fault of the service ends
 * the run. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "latency.h"
#include "transaction.h"

enum { REPLY_MAX = 4096, HARD_LIMIT = 1800 };

struct connection {
    int fd;
    bool open; /* a transaction is under way */
    uint64_t since;
    struct transaction transaction;
    size_t got;
    char reply[REPLY_MAX];
};

static struct mix mix = {.accounts = 1000, .recipients = 3, .external = 0.8, .invented = 0.3,
                         .similar = 0.5};
static int port, connections = 1, shown, watched[64], n_watched;
static double seconds, rate, grace;
static uint64_t wanted, messages_wanted, warm; /* requests; 0 for no end */

static uint64_t serial, asked, answered, begun, recipients, passed, refused, ended, unasked;

static void fail(const char *what) {
    fprintf(stderr, "load: %s: %s\n", what, errno ? strerror(errno) : "unexpected");
    exit(1);
}

static uint64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* CPU time in seconds of what is watched, and of its children that have ended. */
static double cpu(void) {
    double ticks = 0;
    for (int i = 0; i < n_watched; i++) {
        char path[64], text[1024];
        snprintf(path, sizeof path, "/proc/%d/stat", watched[i]);
        FILE *file = fopen(path, "r");
        size_t length = file ? fread(text, 1, sizeof text - 1, file) : 0;
        if (!file)
            continue; /* ended: then its parent has it */
        fclose(file);
        text[length] = 0;
        unsigned long long user, system;
        long long child_user, child_system;
        char *rest = strrchr(text, ')');
        if (!rest || sscanf(rest + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu %lld %lld",
                            &user, &system, &child_user, &child_system) != 4)
            fail(path);
        ticks += (double)(user + system) + (double)(child_user + child_system);
    }
    return ticks / (double)sysconf(_SC_CLK_TCK);
}

static void dial(struct connection *c, int poll) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int yes = 1;
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&address, sizeof address))
        fail("connect");
    fcntl(c->fd, F_SETFL, O_NONBLOCK);
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
    if (epoll_ctl(poll, EPOLL_CTL_ADD, c->fd, &event))
        fail("epoll_ctl");
}

/* Ask the next request; return false if there is nothing to begin any more. */
static bool ask(struct connection *c, uint64_t since) {
    char request[REQUEST_MAX];
    if (!c->open) {
        if (messages_wanted && begun == messages_wanted)
            return false;
        transaction_begin(&c->transaction, &mix, serial++);
        c->open = true;
        begun++;
    }
    size_t length = transaction_ask(&c->transaction, &mix, request);
    c->since = since;
    c->got = 0;
    asked++;
    /* one request waits at most: there is always room for it */
    if (send(c->fd, request, length, MSG_NOSIGNAL) != (ssize_t)length)
        fail("send");
    return true;
}

/* Take what has come; return whether it completes the reply. */
static bool take(struct connection *c, bool timed) {
    ssize_t got = recv(c->fd, c->reply + c->got, REPLY_MAX - c->got, 0);
    if (got < 0 && errno == EAGAIN)
        return false;
    errno = got == 0 ? ECONNRESET : errno;
    if (got <= 0)
        fail("the service closed the connection");
    c->got += (size_t)got;
    if (c->got < 2 || memcmp(c->reply + c->got - 2, "\n\n", 2))
        return false;
    errno = EPROTO;
    if (c->got < 8 || memcmp(c->reply, "action=", 7))
        fail("no action in the reply");
    bool pass = c->got >= 12 && !strncasecmp(c->reply + 7, "DUNNO", 5);
    if (timed)
        latency_add(now() - c->since);
    answered++;
    *(pass ? &passed : &refused) += 1;
    recipients += !c->transaction.at_end && pass;
    ended += c->transaction.at_end && pass;
    c->open = transaction_answered(&c->transaction, pass);
    return true;
}

static void report(double took, double cpu_time) {
    printf("{\"connections\": %d, \"accounts\": %ld, \"requests\": %llu, \"recipients\": %llu, "
           "\"messages\": %llu, \"passed\": %llu, \"refused\": %llu, \"unasked\": %llu, \"seconds\": %.4f, "
           "\"rate\": %.0f, \"per_second\": %.0f, \"cpu_seconds\": %.3f, \"cpu_us\": %.3f, "
           "\"mean\": %.1f, \"p50\": %.1f, \"p90\": %.1f, \"p99\": %.1f, \"p999\": %.1f, "
           "\"max\": %.1f}\n",
           connections, mix.accounts, (unsigned long long)answered, (unsigned long long)recipients,
           (unsigned long long)ended, (unsigned long long)passed, (unsigned long long)refused,
           (unsigned long long)unasked, took,
           rate, (double)answered / took, cpu_time,
           answered ? cpu_time * 1e6 / (double)answered : 0, latency_mean(),
           latency_percentile(0.5), latency_percentile(0.9), latency_percentile(0.99),
           latency_percentile(0.999), latency_max());
}

/* Let *all* ask until there is an end; the timed span begins after the first *warm* requests. */
static void run(struct connection *all, int poll) {
    struct connection **idle = calloc((size_t)connections, sizeof *idle);
    int n_idle = 0, exhausted = 0;
    bool timed = !warm;
    uint64_t start = now(), end = seconds > 0 ? start + (uint64_t)(seconds * 1e9) : UINT64_MAX;
    uint64_t due = 0, untimed = 0;
    double before = cpu(), gap = rate > 0 ? 1e9 / rate : 0;
    for (int i = 0; i < connections; i++)
        idle[n_idle++] = &all[i];
    for (;;) {
        uint64_t t = now();
        bool over = t >= end || (wanted && asked >= wanted + warm);
        while (n_idle && !over) {
            uint64_t since = rate > 0 ? start + (uint64_t)((double)due * gap) : now();
            if (rate > 0 && since > t)
                break; /* not due yet */
            if (ask(idle[n_idle - 1], since))
                due++;
            else
                exhausted++;
            n_idle--;
            over = wanted && asked >= wanted + warm;
        }
        if (over ? asked == answered + untimed : exhausted == connections)
            break;
        /* an open loop waits for its next request by looking, as it is due in some microseconds */
        struct epoll_event events[256];
        int ready = epoll_wait(poll, events, 256, rate > 0 && !over ? 0 : 1000);
        for (int i = 0; i < ready; i++)
            if (take(events[i].data.ptr, timed))
                idle[n_idle++] = events[i].data.ptr;
        if (!timed && answered >= warm) {
            timed = true;
            untimed = answered;
            answered = recipients = passed = refused = ended = 0;
            start = now();
            due = 0;
            end = seconds > 0 ? start + (uint64_t)(seconds * 1e9) : UINT64_MAX;
            before = cpu();
        }
    }
    double took = (double)(now() - start) / 1e9;
    /* what was due and is still unasked has waited at least so long */
    for (uint64_t since; rate > 0 && seconds > 0; due++, unasked++) {
        since = start + (uint64_t)((double)due * gap);
        if (since >= end)
            break;
        latency_add(now() - since);
    }
    usleep((useconds_t)(grace * 1e6));
    report(took, cpu() - before);
    free(idle);
}

/* Print the first requests instead of asking them, as if all were answered DUNNO. */
static void show(void) {
    struct transaction t;
    char request[REQUEST_MAX];
    while (shown > 0) {
        transaction_begin(&t, &mix, serial++);
        do {
            fwrite(request, 1, transaction_ask(&t, &mix, request), stdout);
        } while (--shown > 0 && transaction_answered(&t, true));
    }
}

static void usage(void) {
    fputs("usage: load --port PORT [--connections N] [--requests N | --messages N | --seconds S]\n"
          "  [--warm REQUESTS] [--rate PER_SECOND] [--watch PID,...] [--grace S] [--show REQUESTS]\n"
          "  [--accounts N] [--first ACCOUNT] [--domains N] [--in-order] [--seed N]\n"
          "  [--recipients N] [--spread N] [--external SHARE] [--invented SHARE]\n"
          "  [--similar SHARE] [--size BYTES] [--serial FIRST] [--end-only]\n",
          stderr);
    exit(2);
}

static void read_options(int argc, char **argv) {
    static const struct option options[] = {
        {"port", 1, 0, 'p'}, {"connections", 1, 0, 'c'}, {"requests", 1, 0, 'n'},
        {"messages", 1, 0, 'm'}, {"seconds", 1, 0, 't'}, {"warm", 1, 0, 'w'},
        {"rate", 1, 0, 'o'}, {"watch", 1, 0, 'P'}, {"grace", 1, 0, 'g'}, {"show", 1, 0, 'd'},
        {"accounts", 1, 0, 'u'}, {"first", 1, 0, 'f'}, {"domains", 1, 0, 'D'},
        {"in-order", 0, 0, 'O'}, {"seed", 1, 0, 'S'}, {"recipients", 1, 0, 'r'},
        {"spread", 1, 0, 'v'}, {"external", 1, 0, 'e'}, {"invented", 1, 0, 'i'},
        {"similar", 1, 0, 's'}, {"size", 1, 0, 'z'}, {"serial", 1, 0, 'q'},
        {"end-only", 0, 0, 'E'}, {0, 0, 0, 0}};
    for (int o; (o = getopt_long(argc, argv, "", options, NULL)) != -1;)
        switch (o) {
        case 'p': port = atoi(optarg); break;
        case 'c': connections = atoi(optarg); break;
        case 'n': wanted = strtoull(optarg, NULL, 10); break;
        case 'm': messages_wanted = strtoull(optarg, NULL, 10); break;
        case 't': seconds = atof(optarg); break;
        case 'w': warm = strtoull(optarg, NULL, 10); break;
        case 'o': rate = atof(optarg); break;
        case 'g': grace = atof(optarg); break;
        case 'd': shown = atoi(optarg); break;
        case 'u': mix.accounts = atol(optarg); break;
        case 'f': mix.first = atol(optarg); break;
        case 'D': mix.domains = atol(optarg); break;
        case 'O': mix.in_order = true; break;
        case 'S': chance_seed(strtoull(optarg, NULL, 10)); break;
        case 'r': mix.recipients = atoi(optarg); break;
        case 'v': mix.spread = atoi(optarg); break;
        case 'e': mix.external = atof(optarg); break;
        case 'i': mix.invented = atof(optarg); break;
        case 's': mix.similar = atof(optarg); break;
        case 'z': mix.size = atol(optarg); break;
        case 'q': serial = strtoull(optarg, NULL, 10); break;
        case 'E': mix.end_only = true; break;
        case 'P':
            for (char *pid = strtok(optarg, ","); pid && n_watched < 64; pid = strtok(NULL, ","))
                watched[n_watched++] = atoi(pid);
            break;
        default: usage();
        }
    if (mix.domains < 1)
        mix.domains = mix.accounts / 20 + 1;
    if (connections < 1 || mix.accounts < 1 || mix.recipients < 1 || (!port && !shown) ||
        (!shown && !wanted && !messages_wanted && seconds <= 0))
        usage();
}

int main(int argc, char **argv) {
    read_options(argc, argv);
    if (shown) {
        show();
        return 0;
    }
    alarm(HARD_LIMIT);
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    int poll = epoll_create1(0);
    struct connection *all = calloc((size_t)connections, sizeof *all);
    if (!all || poll < 0)
        fail("start");
    for (int i = 0; i < connections; i++)
        dial(&all[i], poll);
    run(all, poll);
    return 0;
}
