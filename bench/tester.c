// SPDX-License-Identifier: MIT
//
// Client and origin of every measurement in one single-threaded epoll loop: no third process disturbs the proxy, and
// both ends read one clock. The client keeps N connections open with one request each; the origin answers every
// request with the same prepared response. It is told what to do by settings, on the command line (`--name value`) or
// one per line on standard input (`name value`), and prints one JSON line per run. See bench/README.md for the list.
//
// A run goes on the connections of the run before it if target and number are the same, so a warm-up is just a run.
//
//     client:  CLOSED -> CONNECTING -> IDLE -> HEAD -> BODY -> IDLE      (any state -> CLOSED when the peer goes away)

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    EVENTS = 256,
    HEAD_SIZE = 16 * 1024,
    SCRATCH_SIZE = 256 * 1024,
    VARIANTS_MAX = 1024,
    CONNECTIONS_MAX = 4096,
    BODY_MAX = 16 * 1024 * 1024,
    BUCKETS = 64 * 64,
};

#define SECOND_NS UINT64_C(1000000000)
#define RETRY_NS (SECOND_NS / 1000)
#define STALL_NS (10 * SECOND_NS)

static const char *const default_headers =
    "Host: shop.example.com\r\n"
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 "
    "Firefox/128.0\r\n"
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n"
    "Accept-Language: en-GB,en;q=0.7,de;q=0.3\r\n"
    "Accept-Encoding: gzip, deflate, br\r\n"
    "Referer: https://shop.example.com/catalogue/telescopes?page=2\r\n"
    "Cookie: session=7f3a9c0e51d84b62; theme=dark; basket=3; consent=essential; variant=c7f1\r\n"
    "Cache-Control: max-age=0\r\n";

enum source_kind { SOURCE_LISTENER, SOURCE_COMMANDS, SOURCE_ORIGIN, SOURCE_CLIENT };

// First member of everything that epoll knows.
struct source {
    enum source_kind kind;
    int fd;
};

struct origin {
    struct source source;
    size_t len;    // bytes of an unfinished request in `head`
    size_t offset; // bytes already sent of the response that is under way
    unsigned owed; // responses not yet sent whole
    bool is_blocked;
    char head[HEAD_SIZE];
};

enum client_state { CLIENT_CLOSED, CLIENT_CONNECTING, CLIENT_IDLE, CLIENT_HEAD, CLIENT_BODY };

struct client {
    struct source source;
    enum client_state state;
    bool is_last; // the peer said Connection: close
    bool is_expected;
    uint64_t began_ns;
    uint64_t retry_ns;
    size_t len; // bytes in `head`
    size_t body_left;
    char head[HEAD_SIZE];
};

struct settings {
    struct sockaddr_in target;
    bool has_target;
    unsigned connections;
    uint64_t requests; // 0: go by `seconds`
    double seconds;
    double rate; // requests per second on an open-loop schedule; 0: closed loop
    int status;
    char path[1024];
    char headers[8192];
};

struct variant {
    char *data;
    size_t len;
};

struct run {
    bool is_running;
    uint64_t began_ns, deadline_ns, progress_ns, scheduled;
    uint64_t issued, completed, failed, refused, unexpected, in_flight;
    uint64_t max_ns;
    uint32_t histogram[BUCKETS];
};

static int epoll_fd;
static struct source listener = {SOURCE_LISTENER, -1};
static struct source commands = {SOURCE_COMMANDS, STDIN_FILENO};
static struct settings settings = {.connections = 64, .status = 200, .path = "/catalogue/items"};
static struct variant variants[VARIANTS_MAX];
static size_t variants_len, variants_next;
static struct client *clients;
static unsigned clients_len;
static struct variant response;
static struct run run;
static char scratch[SCRATCH_SIZE];

static void fail(const char *what)
{
    fprintf(stderr, "tester: %s: %s\n", what, errno ? strerror(errno) : "bad value");
    exit(1);
}

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * SECOND_NS + (uint64_t)now.tv_nsec;
}

static void watch(struct source *source, int operation, unsigned events)
{
    struct epoll_event event = {.events = events, .data.ptr = source};
    if (epoll_ctl(epoll_fd, operation, source->fd, &event) != 0)
        fail("epoll_ctl");
}

// ---- latency histogram: 64 steps per power of two, so a value is off by less than 1.6 % ----

static unsigned bucket_of(uint64_t ns)
{
    if (ns < 64)
        return (unsigned)ns;
    unsigned shift = 57 - (unsigned)__builtin_clzll(ns);
    return (shift + 1) * 64 + (unsigned)((ns >> shift) & 63);
}

static double bucket_us(unsigned bucket)
{
    if (bucket < 64)
        return bucket / 1e3;
    return (double)((UINT64_C(64) | (bucket & 63)) << (bucket / 64 - 1)) / 1e3;
}

static double percentile_us(double share)
{
    uint64_t wanted = (uint64_t)((double)run.completed * share), seen = 0;
    for (unsigned i = 0; i < BUCKETS; i++) {
        seen += run.histogram[i];
        if (seen > wanted)
            return bucket_us(i);
    }
    return (double)run.max_ns / 1e3;
}

// ---- the origin ----

static void set_body(size_t size)
{
    if (size > BODY_MAX)
        fail("body");
    free(response.data);
    response.data = malloc(size + 128);
    if (!response.data)
        fail("body");
    response.len = (size_t)sprintf(response.data,
                                   "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %zu\r\n"
                                   "Server: origin\r\n\r\n",
                                   size);
    memset(response.data + response.len, 'x', size);
    response.len += size;
}

static void on_accept(void)
{
    int fd = accept4(listener.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0)
        return;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    struct origin *origin = malloc(sizeof *origin);
    if (!origin)
        fail("accept");
    origin->source = (struct source){SOURCE_ORIGIN, fd};
    origin->len = origin->offset = origin->owed = 0;
    origin->is_blocked = false;
    watch(&origin->source, EPOLL_CTL_ADD, EPOLLIN);
}

static bool origin_send(struct origin *origin)
{
    while (origin->owed > 0) {
        ssize_t sent =
            send(origin->source.fd, response.data + origin->offset, response.len - origin->offset, MSG_NOSIGNAL);
        if (sent < 0 && errno != EAGAIN)
            return false;
        if (sent > 0)
            origin->offset += (size_t)sent;
        bool is_blocked = origin->offset < response.len;
        if (is_blocked != origin->is_blocked) {
            watch(&origin->source, EPOLL_CTL_MOD, is_blocked ? EPOLLIN | EPOLLOUT : EPOLLIN);
            origin->is_blocked = is_blocked;
        }
        if (is_blocked)
            return true;
        origin->offset = 0;
        origin->owed--;
    }
    return true;
}

static bool origin_read(struct origin *origin)
{
    ssize_t got = recv(origin->source.fd, origin->head + origin->len, sizeof origin->head - origin->len, 0);
    if (got < 0)
        return errno == EAGAIN;
    if (got == 0)
        return false;
    origin->len += (size_t)got;
    size_t start = 0;
    char *end;
    while ((end = memmem(origin->head + start, origin->len - start, "\r\n\r\n", 4))) {
        start = (size_t)(end - origin->head) + 4;
        origin->owed++;
    }
    memmove(origin->head, origin->head + start, origin->len - start);
    origin->len -= start;
    return origin->len < sizeof origin->head && origin_send(origin);
}

static void on_origin(struct origin *origin, unsigned events)
{
    bool is_alive = true;
    if (events & EPOLLOUT)
        is_alive = origin_send(origin);
    if (is_alive && (events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
        is_alive = origin_read(origin);
    if (is_alive)
        return;
    close(origin->source.fd);
    free(origin);
}

// ---- the client ----

static bool may_issue(uint64_t now)
{
    if (!run.is_running)
        return false;
    return settings.requests ? run.issued < settings.requests : now < run.deadline_ns;
}

static void client_close(struct client *client, uint64_t retry_ns)
{
    if (client->state == CLIENT_CLOSED)
        return;
    close(client->source.fd);
    client->state = CLIENT_CLOSED;
    client->retry_ns = retry_ns;
}

// The peer went away. Whatever was asked and not answered in full has failed.
static void client_lose(struct client *client)
{
    if (client->state == CLIENT_CONNECTING)
        run.refused++;
    if (client->state >= CLIENT_HEAD) {
        run.in_flight--;
        run.failed++;
    }
    client_close(client, now_ns() + (client->state == CLIENT_CONNECTING ? RETRY_NS : 0));
}

static void client_connect(struct client *client)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        fail("socket");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    client->source = (struct source){SOURCE_CLIENT, fd};
    client->state = CLIENT_CONNECTING;
    int rc = connect(fd, (struct sockaddr *)&settings.target, sizeof settings.target);
    if (rc != 0 && errno != EINPROGRESS) {
        client_lose(client);
        return;
    }
    watch(&client->source, EPOLL_CTL_ADD, EPOLLIN | EPOLLOUT);
}

static void client_send(struct client *client, uint64_t began_ns)
{
    const struct variant *request = &variants[variants_next];
    variants_next = (variants_next + 1) % variants_len;
    client->state = CLIENT_HEAD;
    client->began_ns = began_ns;
    client->len = 0;
    run.issued++;
    run.in_flight++;
    if (send(client->source.fd, request->data, request->len, MSG_NOSIGNAL) != (ssize_t)request->len)
        client_lose(client);
}

static void client_idle(struct client *client)
{
    client->state = CLIENT_IDLE;
    uint64_t now = now_ns();
    if (settings.rate == 0 && may_issue(now))
        client_send(client, now);
}

static void client_complete(struct client *client)
{
    uint64_t now = now_ns(), took = now - client->began_ns;
    run.in_flight--;
    run.progress_ns = now;
    run.completed++;
    if (!client->is_expected)
        run.unexpected++;
    run.histogram[bucket_of(took)]++;
    if (took > run.max_ns)
        run.max_ns = took;
    client->state = CLIENT_IDLE;
    if (client->is_last)
        client_close(client, now);
    else
        client_idle(client);
}

// Reads status, Content-Length and Connection out of a complete response head. False: not a response we can follow.
static bool client_parse(struct client *client, size_t head_len)
{
    client->head[head_len - 1] = '\0';
    if (strncmp(client->head, "HTTP/1.1 ", 9) != 0)
        return false;
    client->is_expected = atoi(client->head + 9) == settings.status;
    client->is_last = false;
    bool has_length = false;
    for (char *line = strchr(client->head, '\n'); line; line = strchr(line, '\n')) {
        line++;
        if ((*line | 32) != 'c')
            continue;
        if (strncasecmp(line, "content-length:", 15) == 0) {
            client->body_left = strtoul(line + 15, NULL, 10);
            has_length = true;
        } else if (strncasecmp(line, "connection: close", 17) == 0) {
            client->is_last = true;
        }
    }
    return has_length;
}

static bool client_take_body(struct client *client, size_t got)
{
    if (got > client->body_left)
        return false;
    client->body_left -= got;
    if (client->body_left == 0)
        client_complete(client);
    return true;
}

static bool client_take_head(struct client *client, size_t got)
{
    client->len += got;
    char *end = memmem(client->head, client->len, "\r\n\r\n", 4);
    if (!end)
        return client->len < sizeof client->head;
    size_t head_len = (size_t)(end - client->head) + 4;
    if (!client_parse(client, head_len))
        return false;
    client->state = CLIENT_BODY;
    return client_take_body(client, client->len - head_len);
}

static bool client_read(struct client *client)
{
    bool is_head = client->state == CLIENT_HEAD;
    char *into = is_head ? client->head + client->len : scratch;
    size_t room = is_head ? sizeof client->head - client->len : sizeof scratch;
    ssize_t got = recv(client->source.fd, into, room, 0);
    if (got < 0)
        return errno == EAGAIN;
    if (got == 0 || client->state < CLIENT_HEAD)
        return false;
    return is_head ? client_take_head(client, (size_t)got) : client_take_body(client, (size_t)got);
}

static void on_client(struct client *client, unsigned events)
{
    if (client->state == CLIENT_CLOSED)
        return;
    if (client->state == CLIENT_CONNECTING) {
        if (events & (EPOLLERR | EPOLLHUP)) {
            client_lose(client);
            return;
        }
        watch(&client->source, EPOLL_CTL_MOD, EPOLLIN);
        client_idle(client);
        return;
    }
    if (!client_read(client))
        client_lose(client);
}

// ---- a run ----

static void add_variant(void)
{
    if (variants_len == VARIANTS_MAX)
        fail("request");
    struct variant *variant = &variants[variants_len++];
    const char *headers = settings.headers[0] ? settings.headers : default_headers;
    variant->data = malloc(strlen(settings.path) + strlen(headers) + 32);
    if (!variant->data)
        fail("request");
    variant->len = (size_t)sprintf(variant->data, "GET %s HTTP/1.1\r\n%s\r\n", settings.path, headers);
}

static void clear_variants(void)
{
    while (variants_len > 0)
        free(variants[--variants_len].data);
    variants_next = 0;
}

static void close_clients(void)
{
    for (unsigned i = 0; i < clients_len; i++)
        client_close(&clients[i], 0);
    free(clients);
    clients = NULL;
    clients_len = 0;
}

static void start_run(void)
{
    if (!settings.has_target)
        fail("go without a target");
    if (!settings.requests && settings.seconds == 0)
        fail("go without requests or seconds");
    if (clients_len != settings.connections) {
        close_clients();
        clients_len = settings.connections;
        clients = calloc(clients_len, sizeof *clients);
        if (!clients)
            fail("connections");
    }
    if (variants_len == 0)
        add_variant();
    memset(&run, 0, sizeof run);
    run.is_running = true;
    run.began_ns = run.progress_ns = now_ns();
    run.deadline_ns = run.began_ns + (uint64_t)(settings.seconds * 1e9);
    for (unsigned i = 0; i < clients_len; i++) {
        if (clients[i].state == CLIENT_IDLE)
            client_idle(&clients[i]);
    }
}

static void finish_run(bool is_stalled)
{
    double seconds = (double)(run.progress_ns - run.began_ns) / 1e9;
    run.is_running = false;
    printf(
        "{\"requests\": %llu, \"failed\": %llu, \"refused\": %llu, \"unexpected\": %llu, \"stalled\": %s, "
        "\"seconds\": %.6f, \"rps\": %.1f, \"p50_us\": %.1f, \"p99_us\": %.1f, \"p999_us\": %.1f, \"max_us\": %.1f}\n",
        (unsigned long long)run.completed, (unsigned long long)run.failed, (unsigned long long)run.refused,
        (unsigned long long)run.unexpected, is_stalled ? "true" : "false", seconds,
        seconds > 0 ? (double)run.completed / seconds : 0, percentile_us(0.5), percentile_us(0.99),
        percentile_us(0.999), (double)run.max_ns / 1e3);
    fflush(stdout);
    if (is_stalled)
        close_clients();
}

// Opens what is closed. True if something has to be tried again later.
static bool revive_clients(uint64_t now)
{
    bool is_waiting = false;
    for (unsigned i = 0; i < clients_len; i++) {
        if (clients[i].state != CLIENT_CLOSED)
            continue;
        if (now >= clients[i].retry_ns)
            client_connect(&clients[i]);
        is_waiting |= clients[i].state == CLIENT_CLOSED;
    }
    return is_waiting;
}

// Open loop: sends what is due. A request that finds no idle connection waits, and its latency counts from its due time.
static void pace(uint64_t now)
{
    for (unsigned i = 0; i < clients_len && may_issue(now); i++) {
        uint64_t due = run.began_ns + (uint64_t)((double)run.scheduled * 1e9 / settings.rate);
        if (due > now)
            return;
        if (clients[i].state != CLIENT_IDLE)
            continue;
        run.scheduled++;
        client_send(&clients[i], due);
    }
}

// Advances the run after a batch of events. Returns how long epoll may sleep, in milliseconds.
static int advance_run(void)
{
    if (!run.is_running)
        return -1;
    uint64_t now = now_ns();
    if (run.in_flight == 0 && !may_issue(now))
        finish_run(false);
    else if (now - run.progress_ns > STALL_NS)
        finish_run(true);
    if (!run.is_running)
        return -1;
    bool is_waiting = revive_clients(now);
    if (settings.rate > 0)
        pace(now);
    return settings.rate > 0 ? 0 : is_waiting ? 1 : 100;
}

// ---- settings ----

static void set_target(const char *value)
{
    char host[64];
    const char *colon = strrchr(value, ':');
    if (!colon || (size_t)(colon - value) >= sizeof host)
        fail(value);
    memcpy(host, value, (size_t)(colon - value));
    host[colon - value] = '\0';
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(colon + 1))};
    if (inet_pton(AF_INET, host, &address.sin_addr) != 1)
        fail(value);
    if (memcmp(&address, &settings.target, sizeof address) != 0)
        close_clients();
    settings.target = address;
    settings.has_target = true;
}

static void set_origin(const char *value)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(value))};
    socklen_t len = sizeof address;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (listener.fd >= 0)
        fail("origin");
    listener.fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    setsockopt(listener.fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
    if (bind(listener.fd, (struct sockaddr *)&address, len) != 0 || listen(listener.fd, 1024) != 0)
        fail("origin");
    getsockname(listener.fd, (struct sockaddr *)&address, &len);
    watch(&listener, EPOLL_CTL_ADD, EPOLLIN);
    printf("origin 127.0.0.1:%d\n", ntohs(address.sin_port));
    fflush(stdout);
}

static void add_header(const char *line)
{
    if (!settings.headers[0])
        strcpy(settings.headers, default_headers);
    size_t len = strlen(settings.headers);
    if (len + strlen(line) + 3 > sizeof settings.headers)
        fail("header");
    sprintf(settings.headers + len, "%s\r\n", line);
}

static void set_token(const char *token)
{
    char line[4096];
    if (snprintf(line, sizeof line, "Authorization: Bearer %s", token) >= (int)sizeof line)
        fail("token");
    settings.headers[0] = '\0';
    add_header(line);
}

static void set_path(const char *path)
{
    if (strlen(path) >= sizeof settings.path)
        fail("path");
    strcpy(settings.path, path);
}

static void set_connections(unsigned long count)
{
    if (count == 0 || count > CONNECTIONS_MAX)
        fail("connections");
    settings.connections = (unsigned)count;
}

static void reset_request(void)
{
    clear_variants();
    settings.headers[0] = '\0';
    set_path("/catalogue/items");
}

static void apply(const char *name, const char *value)
{
    if (run.is_running)
        fail("a run is under way");
    if (strcmp(name, "target") == 0)
        set_target(value);
    else if (strcmp(name, "origin") == 0)
        set_origin(value);
    else if (strcmp(name, "connections") == 0)
        set_connections(strtoul(value, NULL, 10));
    else if (strcmp(name, "requests") == 0)
        settings.requests = strtoull(value, NULL, 10);
    else if (strcmp(name, "seconds") == 0)
        settings.seconds = strtod(value, NULL);
    else if (strcmp(name, "rate") == 0)
        settings.rate = strtod(value, NULL);
    else if (strcmp(name, "status") == 0)
        settings.status = atoi(value);
    else if (strcmp(name, "body") == 0)
        set_body(strtoul(value, NULL, 10));
    else if (strcmp(name, "path") == 0)
        set_path(value);
    else if (strcmp(name, "header") == 0)
        add_header(value);
    else if (strcmp(name, "token") == 0)
        set_token(value);
    else if (strcmp(name, "request") == 0)
        add_variant();
    else if (strcmp(name, "reset") == 0)
        reset_request();
    else if (strcmp(name, "close") == 0)
        close_clients();
    else if (strcmp(name, "go") == 0)
        start_run();
    else
        fail(name);
}

// Reads whole lines as they come; exits at the end of input, which is how a caller that died stops this program.
static void on_commands(void)
{
    static char lines[65536];
    static size_t len;
    ssize_t got = read(STDIN_FILENO, lines + len, sizeof lines - 1 - len);
    if (got <= 0)
        exit(0);
    len += (size_t)got;
    lines[len] = '\0';
    char *start = lines, *end;
    while ((end = strchr(start, '\n'))) {
        *end = '\0';
        char *space = strchr(start, ' ');
        if (space)
            *space = '\0';
        apply(start, space ? space + 1 : "");
        start = end + 1;
    }
    len -= (size_t)(start - lines);
    memmove(lines, start, len);
}

static void apply_arguments(int argc, char **argv)
{
    for (int i = 1; i < argc; i += 2) {
        errno = 0;
        if (strncmp(argv[i], "--", 2) != 0 || i + 1 == argc)
            fail(argv[i]);
        apply(argv[i] + 2, argv[i + 1]);
    }
}

// False: these are commands, left to the caller.
static bool dispatch(struct source *source, unsigned events)
{
    switch (source->kind) {
    case SOURCE_LISTENER: on_accept(); break;
    case SOURCE_ORIGIN: on_origin((struct origin *)source, events); break;
    case SOURCE_CLIENT: on_client((struct client *)source, events); break;
    case SOURCE_COMMANDS: return false;
    }
    return true;
}

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN);
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    set_body(64);
    apply_arguments(argc, argv);
    bool is_single = settings.has_target;
    if (is_single)
        start_run();
    else
        watch(&commands, EPOLL_CTL_ADD, EPOLLIN);
    for (;;) {
        int timeout = advance_run();
        if (is_single && !run.is_running)
            return run.failed + run.unexpected > 0;
        struct epoll_event events[EVENTS];
        int count = epoll_wait(epoll_fd, events, EVENTS, timeout);
        bool has_commands = false;
        for (int i = 0; i < count; i++)
            has_commands |= !dispatch(events[i].data.ptr, events[i].events);
        if (has_commands)
            on_commands(); // last: a setting may free clients that this batch names
    }
}
