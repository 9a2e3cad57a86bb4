// SPDX-License-Identifier: MIT
//
// The smallest thing that can stand between a client and an origin: it accepts, connects, and copies bytes both ways
// without looking at them. What it costs per request is what the kernel costs, so the distance of a proxy to this
// program is the price of being a proxy. One thread, level-triggered epoll, four socket calls per relayed exchange.

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PENDING_SIZE = 256 * 1024, EVENTS = 256 };

struct pair;

// One side of a relayed connection. `pending` holds what its socket did not take yet; while there is any, the other
// side is not read, so the memory of a pair is bounded.
struct side {
    int fd;
    bool is_connected;
    unsigned events;
    size_t pending_len;
    char *pending;
    struct side *peer;
    struct pair *pair;
};

struct pair {
    struct side client;
    struct side origin;
    bool is_dead;
    struct pair *next_dead;
};

static int epoll_fd;
static int listen_fd;
static struct sockaddr_in origin_address;
static struct pair *dead_pairs;
static char scratch[PENDING_SIZE];

static void fail(const char *what)
{
    fprintf(stderr, "relay: %s: %s\n", what, strerror(errno));
    exit(1);
}

static struct sockaddr_in parse_address(const char *text)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    char host[64];
    const char *colon = strrchr(text, ':');
    if (!colon || (size_t)(colon - text) >= sizeof host)
        fail(text);
    memcpy(host, text, (size_t)(colon - text));
    host[colon - text] = '\0';
    address.sin_port = htons((unsigned short)atoi(colon + 1));
    if (inet_pton(AF_INET, host, &address.sin_addr) != 1)
        fail(text);
    return address;
}

static void watch(struct side *side, unsigned events)
{
    if (side->events == events)
        return;
    struct epoll_event event = {.events = events, .data.ptr = side};
    if (epoll_ctl(epoll_fd, side->events ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, side->fd, &event) != 0)
        fail("epoll_ctl");
    side->events = events;
}

static void update(struct side *side)
{
    unsigned events = EPOLLRDHUP;
    if (side->peer->is_connected && side->peer->pending_len == 0)
        events |= EPOLLIN;
    if (!side->is_connected || side->pending_len > 0)
        events |= EPOLLOUT;
    watch(side, events);
}

// Closes both sockets now; the memory lives until the end of the event batch, which may still name it.
static void close_pair(struct pair *pair)
{
    if (pair->is_dead)
        return;
    pair->is_dead = true;
    close(pair->client.fd);
    close(pair->origin.fd);
    pair->next_dead = dead_pairs;
    dead_pairs = pair;
}

static void free_dead(void)
{
    while (dead_pairs) {
        struct pair *pair = dead_pairs;
        dead_pairs = pair->next_dead;
        free(pair->client.pending);
        free(pair->origin.pending);
        free(pair);
    }
}

static void init_side(struct side *side, struct pair *pair, struct side *peer, int fd, bool is_connected)
{
    *side = (struct side){.fd = fd, .is_connected = is_connected, .peer = peer, .pair = pair};
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
}

static void on_accept(void)
{
    int client = accept4(listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (client < 0)
        return;
    int origin = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct pair *pair = calloc(1, sizeof *pair);
    if (origin < 0 || !pair)
        fail("new connection");
    int rc = connect(origin, (struct sockaddr *)&origin_address, sizeof origin_address);
    init_side(&pair->client, pair, &pair->origin, client, true);
    init_side(&pair->origin, pair, &pair->client, origin, rc == 0);
    if (rc != 0 && errno != EINPROGRESS) {
        close_pair(pair);
        return;
    }
    update(&pair->client);
    update(&pair->origin);
}

static bool keep_rest(struct side *side, const char *data, size_t len)
{
    if (!side->pending)
        side->pending = malloc(PENDING_SIZE);
    if (!side->pending)
        return false;
    memcpy(side->pending, data, len);
    side->pending_len = len;
    update(side);
    update(side->peer);
    return true;
}

static bool copy_from(struct side *side)
{
    ssize_t got = recv(side->fd, scratch, sizeof scratch, 0);
    if (got < 0)
        return errno == EAGAIN;
    if (got == 0)
        return false;
    ssize_t sent = send(side->peer->fd, scratch, (size_t)got, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN)
        return false;
    if (sent == got)
        return true;
    size_t done = sent > 0 ? (size_t)sent : 0;
    return keep_rest(side->peer, scratch + done, (size_t)got - done);
}

static bool flush_to(struct side *side)
{
    side->is_connected = true;
    if (side->pending_len > 0) {
        ssize_t sent = send(side->fd, side->pending, side->pending_len, MSG_NOSIGNAL);
        if (sent < 0)
            return errno == EAGAIN;
        memmove(side->pending, side->pending + sent, side->pending_len - (size_t)sent);
        side->pending_len -= (size_t)sent;
    }
    update(side);
    update(side->peer);
    return true;
}

static void on_event(struct side *side, unsigned events)
{
    if (side->pair->is_dead)
        return;
    bool is_alive = !(events & EPOLLERR);
    if (is_alive && (events & EPOLLOUT))
        is_alive = flush_to(side);
    if (is_alive && (events & EPOLLIN))
        is_alive = copy_from(side);
    else if (events & (EPOLLHUP | EPOLLRDHUP))
        is_alive = false;
    if (!is_alive)
        close_pair(side->pair);
}

static void start_listening(const char *text)
{
    struct sockaddr_in address = parse_address(text);
    listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    setsockopt(listen_fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
    if (bind(listen_fd, (struct sockaddr *)&address, sizeof address) != 0)
        fail("bind");
    if (listen(listen_fd, 1024) != 0)
        fail("listen");
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listen_fd, &event) != 0)
        fail("epoll_ctl");
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: relay LISTEN:PORT ORIGIN:PORT\n");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    origin_address = parse_address(argv[2]);
    start_listening(argv[1]);
    for (;;) {
        struct epoll_event events[EVENTS];
        int count = epoll_wait(epoll_fd, events, EVENTS, -1);
        for (int i = 0; i < count; i++) {
            if (events[i].data.ptr)
                on_event(events[i].data.ptr, events[i].events);
            else
                on_accept();
        }
        free_dead();
    }
}
