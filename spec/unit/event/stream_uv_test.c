// SPDX-License-Identifier: MIT
// Streams and acceptors on real sockets: loopback TCP and unix sockets. The other end is a plain descriptor of the test.
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/slice.h"
#include "event/acceptor.h"
#include "event/loop.h"
#include "event/loop_internal.h"
#include "event/stream.h"
#include "fail_alloc.h"

#define TURNS 2000 // of at most 10 ms each, before a test counts as hanging

/// A stream and what it was told.
struct seen {
    struct peri_stream *stream;
    char bytes[64];
    size_t len;
    size_t total;
    int ends;
    peri_err_t end;
    int drains;
    int connects;
    peri_err_t connected;
    bool is_closed;
};

static struct peri_loop *loop;
static struct peri_acceptor *acceptor;
static struct seen seen[4];
static unsigned accepted;
static peri_err_t begun; ///< what stood against a connection

static void on_read(struct peri_stream *stream, struct peri_slice data)
{
    struct seen *s = peri_stream_data(stream);
    for (size_t i = 0; i < data.len && s->len < sizeof(s->bytes) - 1; i++)
        s->bytes[s->len++] = data.ptr[i];
    s->total += data.len;
}

static void on_end(struct peri_stream *stream, peri_err_t err)
{
    struct seen *s = peri_stream_data(stream);
    s->ends++;
    s->end = err;
}

static void on_drain(struct peri_stream *stream)
{
    ((struct seen *)peri_stream_data(stream))->drains++;
}

static void on_connect(struct peri_stream *stream, peri_err_t err)
{
    struct seen *s = peri_stream_data(stream);
    s->connects++;
    s->connected = err;
}

static void on_close(struct peri_stream *stream)
{
    struct seen *s = peri_stream_data(stream);
    s->is_closed = true;
    s->stream = NULL;
}

static const struct peri_stream_events events = {
    .on_connect = on_connect, .on_read = on_read, .on_end = on_end, .on_drain = on_drain, .on_close = on_close};

static void on_accept(void *data, struct peri_stream *stream)
{
    struct seen *s = &seen[accepted++];
    assert_ptr_equal(data, &accepted);
    s->stream = stream;
    peri_stream_set_owner(stream, &events, s);
    peri_stream_read_start(stream);
}

#define RUN_UNTIL(condition)                                                                                           \
    do {                                                                                                               \
        int turns_ = 0;                                                                                                \
        while (!(condition) && turns_++ < TURNS)                                                                       \
            peri_loop_wait(loop, 10);                                                                                  \
        assert_true(condition);                                                                                        \
    } while (0)

static struct sockaddr_in listen_tcp(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, len), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    acceptor = peri_acceptor_open(loop, fd, on_accept, &accepted);
    assert_non_null(acceptor);
    return address;
}

static int connect_to(const struct sockaddr_in *address)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)address, sizeof(*address)), 0);
    return fd;
}

static int open_world(void **state)
{
    (void)state;
    signal(SIGPIPE, SIG_IGN); // as the program does
    loop = peri_loop_new(false);
    acceptor = NULL;
    memset(seen, 0, sizeof(seen));
    accepted = 0;
    return loop ? 0 : -1;
}

static int close_world(void **state)
{
    (void)state;
    if (acceptor)
        peri_acceptor_close(acceptor);
    for (unsigned i = 0; i < PERI_COUNT(seen); i++)
        if (seen[i].stream)
            peri_stream_close(seen[i].stream);
    while (peri_loop_streams(loop) > 0)
        peri_loop_wait(loop, 10);
    assert_int_equal(peri_loop_timers(loop), 0);
    peri_loop_free(loop);
    return 0;
}

static void reads_writes_and_knows_its_peer(void **state)
{
    (void)state;
    struct sockaddr_in address = listen_tcp();
    int fd = connect_to(&address);
    assert_int_equal(write(fd, "hello", 5), 5);
    RUN_UNTIL(seen[0].len == 5);
    char ip[46];
    uint16_t port;
    peri_stream_peer(seen[0].stream, ip, &port);
    assert_string_equal(ip, "127.0.0.1");
    assert_int_not_equal(port, 0);
    peri_stream_write(seen[0].stream, PERI_SLICE("world"));
    RUN_UNTIL(peri_stream_pending(seen[0].stream) == 0);
    char got[8] = {0};
    assert_int_equal(recv(fd, got, sizeof(got), 0), 5);
    assert_string_equal(got, "world");
    close(fd);
    RUN_UNTIL(seen[0].ends == 1);
    assert_int_equal(seen[0].end, PERI_OK);
}

static void ends_one_direction_and_still_uses_the_other(void **state)
{
    (void)state;
    struct sockaddr_in address = listen_tcp();
    int fd = connect_to(&address);
    shutdown(fd, SHUT_WR);
    RUN_UNTIL(seen[0].ends == 1);
    peri_stream_write(seen[0].stream, PERI_SLICE("still here"));
    peri_stream_shutdown(seen[0].stream);
    RUN_UNTIL(peri_stream_pending(seen[0].stream) == 0);
    char got[16] = {0};
    assert_int_equal(recv(fd, got, sizeof(got), MSG_WAITALL), 10); // and then the end
    assert_string_equal(got, "still here");
    close(fd);
}

static void says_that_it_broke_also_after_an_orderly_end(void **state)
{
    (void)state;
    struct sockaddr_in address = listen_tcp();
    int fd = connect_to(&address);
    shutdown(fd, SHUT_WR);
    RUN_UNTIL(seen[0].ends == 1);
    close(fd);
    for (int i = 0; i < TURNS && seen[0].ends < 2; i++) { // the first write is answered by a reset, a later one fails
        peri_stream_write(seen[0].stream, PERI_SLICE("to nobody"));
        peri_loop_wait(loop, 10);
    }
    assert_int_equal(seen[0].ends, 2);
    assert_int_equal(seen[0].end, PERI_ERR_CLOSED);
}

static void says_that_the_peer_broke_off(void **state)
{
    (void)state;
    struct sockaddr_in address = listen_tcp();
    int fd = connect_to(&address);
    struct linger linger = {.l_onoff = 1};
    RUN_UNTIL(accepted == 1);
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
    close(fd);
    RUN_UNTIL(seen[0].ends == 1);
    assert_int_equal(seen[0].end, PERI_ERR_CLOSED);
}

static void holds_what_the_peer_does_not_read_and_says_when_there_is_room(void **state)
{
    (void)state;
    static char block[65536];
    struct sockaddr_in address = listen_tcp();
    int fd = connect_to(&address);
    RUN_UNTIL(accepted == 1);
    size_t sent = 0;
    while (peri_stream_pending(seen[0].stream) < PERI_STREAM_HIGH) {
        peri_stream_write(seen[0].stream, peri_slice(block, sizeof(block)));
        sent += sizeof(block);
        assert_true(sent < 1024u * 1024 * 1024);
    }
    assert_int_equal(seen[0].drains, 0);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    size_t got = 0;
    for (int i = 0; i < TURNS && got < sent; i++) {
        ssize_t n;
        while ((n = recv(fd, block, sizeof(block), 0)) > 0)
            got += (size_t)n;
        peri_loop_wait(loop, 10);
    }
    assert_int_equal(got, sent);
    assert_int_equal(seen[0].drains, 1);
    close(fd);
}

static void stops_reading_and_goes_on(void **state)
{
    (void)state;
    struct sockaddr_in address = listen_tcp();
    int fd = connect_to(&address);
    RUN_UNTIL(accepted == 1);
    peri_stream_read_stop(seen[0].stream);
    assert_int_equal(write(fd, "later", 5), 5);
    while (peri_loop_turn(loop))
        ;
    assert_int_equal(seen[0].len, 0);
    peri_stream_read_start(seen[0].stream);
    RUN_UNTIL(seen[0].len == 5);
    close(fd);
}

static void may_be_closed_with_a_write_under_way(void **state)
{
    (void)state;
    static char block[65536];
    struct sockaddr_in address = listen_tcp();
    int fd = connect_to(&address);
    RUN_UNTIL(accepted == 1);
    while (peri_stream_pending(seen[0].stream) < PERI_STREAM_HIGH)
        peri_stream_write(seen[0].stream, peri_slice(block, sizeof(block)));
    peri_stream_reset(seen[0].stream);
    peri_stream_close(seen[0].stream);
    RUN_UNTIL(seen[0].is_closed);
    assert_int_equal(seen[0].ends, 0);
    close(fd);
}

static void connects_or_says_why_not(void **state)
{
    (void)state;
    struct sockaddr_in address = listen_tcp();
    struct seen *client = &seen[3];
    client->stream = peri_stream_connect_tcp(loop, (struct sockaddr *)&address, &events, client, &begun);
    RUN_UNTIL(client->connects == 1 && accepted == 1);
    assert_int_equal(client->connected, PERI_OK);
    peri_acceptor_close(acceptor);
    acceptor = NULL;
    RUN_UNTIL(!peri_loop_turn(loop));
    struct seen *refused = &seen[2];
    refused->stream = peri_stream_connect_tcp(loop, (struct sockaddr *)&address, &events, refused, &begun);
    RUN_UNTIL(refused->connects == 1);
    assert_int_equal(refused->connected, PERI_ERR_CONNECT);
}

static void is_not_told_of_a_connection_that_it_closed_meanwhile(void **state)
{
    (void)state;
    struct sockaddr_in address = listen_tcp();
    struct seen *client = &seen[3];
    client->stream = peri_stream_connect_tcp(loop, (struct sockaddr *)&address, &events, client, &begun);
    peri_stream_close(client->stream);
    RUN_UNTIL(client->is_closed);
    assert_int_equal(client->connects, 0);
}

// A listening unix socket below `folder`, whose path it fills.
static struct sockaddr_un listen_unix(char *folder)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    assert_non_null(mkdtemp(folder));
    snprintf(un.sun_path, sizeof(un.sun_path), "%s/socket", folder);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&un, sizeof(un)), 0);
    acceptor = peri_acceptor_open(loop, fd, on_accept, &accepted);
    return un;
}

static void speaks_over_unix_sockets(void **state)
{
    (void)state;
    char folder[] = "/tmp/perigee-stream-XXXXXX";
    struct sockaddr_un un = listen_unix(folder);
    struct seen *client = &seen[3];
    client->stream = peri_stream_connect_unix(loop, un.sun_path, &events, client, &begun);
    RUN_UNTIL(client->connects == 1 && accepted == 1);
    peri_stream_write(client->stream, PERI_SLICE("hello"));
    RUN_UNTIL(seen[0].len == 5);
    char ip[46];
    uint16_t port;
    peri_stream_peer(seen[0].stream, ip, &port);
    assert_string_equal(ip, "unix");
    unlink(un.sun_path);
    rmdir(folder);
}

static void reads_one_buffer_of_a_stream_in_a_turn(void **state)
{
    static char block[65536];
    (void)state;
    char folder[] = "/tmp/perigee-stream-XXXXXX";
    struct sockaddr_un un = listen_unix(folder);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), size = 1 << 20;
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
    assert_int_equal(connect(fd, (struct sockaddr *)&un, sizeof(un)), 0);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    size_t sent = 0;
    for (ssize_t n; (n = write(fd, block, sizeof(block))) > 0;)
        sent += (size_t)n;
    assert_true(sent > (size_t)PERI_READ_BUFFER);
    size_t turns = 0;
    while (seen[0].total < sent) {
        size_t before = seen[0].total;
        peri_loop_wait(loop, 10);
        assert_true(seen[0].total - before <= PERI_READ_BUFFER);
        assert_true(turns++ < TURNS);
    }
    close(fd);
    RUN_UNTIL(seen[0].ends == 1);
    assert_int_equal(seen[0].total, sent);
    unlink(un.sun_path);
    rmdir(folder);
}

static void accepts_what_waited_when_it_goes_on(void **state)
{
    (void)state;
    struct sockaddr_in address = listen_tcp();
    peri_acceptor_pause(acceptor, true);
    int first = connect_to(&address), second = connect_to(&address);
    for (int i = 0; i < 3; i++)
        peri_loop_turn(loop);
    assert_int_equal(accepted, 0);
    peri_acceptor_pause(acceptor, false);
    RUN_UNTIL(accepted == 2);
    close(first);
    close(second);
}

static void goes_on_accepting_after_memory_was_out(void **state)
{
    (void)state;
    struct sockaddr_in address = listen_tcp();
    int first = connect_to(&address), second = connect_to(&address);
    fail_alloc_at(1);
    for (int i = 0; i < 3; i++)
        peri_loop_turn(loop);
    assert_true(fail_alloc_stop());
    assert_int_equal(accepted, 0);
    RUN_UNTIL(accepted == 2);
    close(first);
    close(second);
}

static void closes_while_it_rests_for_want_of_memory(void **state)
{
    (void)state;
    struct sockaddr_in address = listen_tcp();
    int first = connect_to(&address);
    fail_alloc_at(1);
    for (int i = 0; i < 3; i++)
        peri_loop_turn(loop);
    assert_true(fail_alloc_stop());
    peri_acceptor_close(acceptor);
    acceptor = NULL;
    assert_int_equal(peri_loop_timers(loop), 0);
    close(first);
}

// From now on the process has no descriptor left. Returns how many it might have had.
static rlim_t take_descriptors(void)
{
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    int next = dup(0);
    rlim_t soft = limit.rlim_cur;
    close(next);
    limit.rlim_cur = (rlim_t)next;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    return soft;
}

static void give_descriptors(rlim_t soft)
{
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = soft;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

static void rests_while_there_are_no_descriptors(void **state)
{
    (void)state;
    struct sockaddr_in address = listen_tcp();
    int first = connect_to(&address), second = connect_to(&address);
    rlim_t soft = take_descriptors();
    RUN_UNTIL(peri_loop_refused_sockets(loop) == 1);
    for (int i = 0; i < 20; i++)
        peri_loop_turn(loop);
    assert_int_equal(peri_loop_refused_sockets(loop), 1); // it is not told again and again
    assert_int_equal(accepted, 0);
    give_descriptors(soft);
    RUN_UNTIL(accepted == 2);
    assert_int_equal(peri_loop_sockets(loop), 2);
    close(first);
    close(second);
}

static void says_that_it_has_no_descriptor_to_connect_with(void **state)
{
    (void)state;
    struct sockaddr_in address = listen_tcp();
    struct seen *client = &seen[3];
    rlim_t soft = take_descriptors();
    assert_null(peri_stream_connect_tcp(loop, (struct sockaddr *)&address, &events, client, &begun));
    give_descriptors(soft);
    assert_int_equal(begun, PERI_ERR_OVERLOADED);
    RUN_UNTIL(peri_loop_streams(loop) == 0);
    assert_int_equal(peri_loop_sockets(loop), 0);
}

static void begins_no_connection_beyond_the_limit_of_sockets(void **state)
{
    (void)state;
    struct sockaddr_in address = listen_tcp();
    struct seen *client = &seen[3];
    peri_loop_limit_sockets(loop, 1);
    client->stream = peri_stream_connect_tcp(loop, (struct sockaddr *)&address, &events, client, &begun);
    assert_non_null(client->stream);
    assert_null(peri_stream_connect_unix(loop, "/nowhere", &events, &seen[2], &begun));
    assert_int_equal(begun, PERI_ERR_OVERLOADED);
    RUN_UNTIL(accepted == 1); // others decide how many of those there are
    assert_int_equal(peri_loop_sockets(loop), 2);
}

static unsigned looks;

static void on_intake(void *data)
{
    assert_ptr_equal(data, &looks);
    looks++;
}

static void tells_each_time_that_enough_has_come_in(void **state)
{
    (void)state;
    struct sockaddr_in address = listen_tcp();
    char text[40 * 1024] = {0};
    int fd = connect_to(&address);
    RUN_UNTIL(accepted == 1);
    peri_loop_watch_intake(loop, 40 * 1024, on_intake, &looks);
    assert_int_equal(write(fd, text, 8), 8);
    RUN_UNTIL(seen[0].total == 8);
    assert_int_equal(looks, 0);
    assert_int_equal(write(fd, text, sizeof(text)), sizeof(text));
    RUN_UNTIL(seen[0].total == 8 + sizeof(text));
    assert_int_equal(looks, 1);
    peri_loop_watch_intake(loop, 0, NULL, NULL);
    assert_int_equal(write(fd, text, sizeof(text)), sizeof(text));
    RUN_UNTIL(seen[0].total == 8 + 2 * sizeof(text));
    assert_int_equal(looks, 1);
    close(fd);
}

static void closes_a_descriptor_that_it_cannot_listen_on(void **state)
{
    (void)state;
    int pipes[2];
    assert_int_equal(pipe(pipes), 0);
    assert_null(peri_acceptor_open(loop, pipes[0], on_accept, &accepted));
    assert_int_equal(fcntl(pipes[0], F_GETFD), -1);
    close(pipes[1]);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_world, close_world)
    const struct CMUnitTest tests[] = {
        TEST(reads_writes_and_knows_its_peer),
        TEST(ends_one_direction_and_still_uses_the_other),
        TEST(says_that_it_broke_also_after_an_orderly_end),
        TEST(says_that_the_peer_broke_off),
        TEST(holds_what_the_peer_does_not_read_and_says_when_there_is_room),
        TEST(stops_reading_and_goes_on),
        TEST(may_be_closed_with_a_write_under_way),
        TEST(connects_or_says_why_not),
        TEST(is_not_told_of_a_connection_that_it_closed_meanwhile),
        TEST(speaks_over_unix_sockets),
        TEST(reads_one_buffer_of_a_stream_in_a_turn),
        TEST(accepts_what_waited_when_it_goes_on),
        TEST(goes_on_accepting_after_memory_was_out),
        TEST(closes_while_it_rests_for_want_of_memory),
        TEST(rests_while_there_are_no_descriptors),
        TEST(says_that_it_has_no_descriptor_to_connect_with),
        TEST(tells_each_time_that_enough_has_come_in),
        TEST(begins_no_connection_beyond_the_limit_of_sockets),
        TEST(closes_a_descriptor_that_it_cannot_listen_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
