// SPDX-License-Identifier: MIT
// The exchange and its bodies: a pool that gives back clean ones, legal changes of state only, bounded queues.
#include "exchange/exchange.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"
#include "fail_alloc.h"

static void end(struct peri_exchange *x)
{
    if (x->state != PERI_X_IDLE) {
        peri_exchange_set_state(x, PERI_X_LOG);
        peri_exchange_set_state(x, PERI_X_DONE);
    }
    peri_exchange_free(x);
}

static unsigned disposed;

static void dispose(void *data)
{
    disposed += *(unsigned *)data;
}

// Builds with the sanitizers keep no exchange: a use after the end is to be seen there.
#ifdef PERI_SANITIZE
static const bool has_pool = false;
#else
static const bool has_pool = true;
#endif

static void gives_a_clean_exchange_from_the_pool(void **state)
{
    (void)state;
    unsigned one = 1;
    struct peri_exchange *first = peri_exchange_new();
    uint64_t id = first->id;
    disposed = 0;
    peri_exchange_set_state(first, PERI_X_REQUEST);
    first->req.method = PERI_METHOD_POST;
    first->res.status = 200;
    first->facts.attempts = 3;
    first->consumer = PERI_SLICE("ada");
    first->captures[3] = PERI_SLICE("7");
    peri_headers_add(&first->req.headers, PERI_SLICE("authorization"), PERI_SLICE("secret"));
    peri_body_put(&first->req_body, PERI_SLICE("secret"));
    peri_body_put(&first->res_body, PERI_SLICE("secret"));
    peri_arena_on_reset(&first->arena, dispose, &one);
    end(first);
    assert_int_equal(disposed, 1);
    struct peri_exchange *again = peri_exchange_new();
    assert_true(again == first || !has_pool);
    assert_true(again->id > id);
    assert_int_equal(again->state, PERI_X_IDLE);
    assert_int_equal(again->req.method, PERI_METHOD_OTHER);
    assert_int_equal(again->req.headers.count, 0);
    assert_int_equal(again->req.content_length, PERI_LENGTH_NONE);
    assert_int_equal(again->req_body.queue.len, 0);
    assert_int_equal(again->res_body.queue.len, 0);
    assert_int_equal(again->res.status, 0);
    assert_int_equal(again->facts.attempts, 0);
    assert_int_equal(again->consumer.len, 0);
    assert_int_equal(again->captures[3].len, 0);
    end(again);
}

static void counts_those_in_use_and_bounds_the_pool(void **state)
{
    (void)state;
    static struct peri_exchange *many[600];
    for (unsigned i = 0; i < 600; i++)
        many[i] = peri_exchange_new();
    assert_int_equal(peri_exchange_count(), 600);
    for (unsigned i = 0; i < 600; i++)
        end(many[i]);
    assert_int_equal(peri_exchange_count(), 0);
    fail_alloc_at(0);
    for (unsigned i = 0; i < 300; i++)
        many[i] = peri_exchange_new();
    unsigned calls = fail_alloc.calls;
    fail_alloc_stop();
    assert_in_range(calls, has_pool ? 1 : 300, has_pool ? 299 : 300); // some were kept, not all
    for (unsigned i = 0; i < 300; i++)
        end(many[i]);
}

static void names_every_state(void **state)
{
    (void)state;
    for (unsigned i = 0; i < PERI_X_STATE_COUNT; i++)
        assert_non_null(peri_exchange_state_name((enum peri_exchange_state)i));
    assert_string_equal(peri_exchange_state_name(PERI_X_TUNNEL), "tunnel");
}

static const bool legal[PERI_X_STATE_COUNT][PERI_X_STATE_COUNT] = {
    [PERI_X_IDLE] = {[PERI_X_REQUEST] = true, [PERI_X_DONE] = true},
    [PERI_X_REQUEST] = {[PERI_X_FORWARD] = true, [PERI_X_RESPONSE] = true, [PERI_X_LOG] = true},
    [PERI_X_FORWARD] = {[PERI_X_RESPONSE] = true, [PERI_X_LOG] = true},
    [PERI_X_RESPONSE] = {[PERI_X_SENDING] = true, [PERI_X_TUNNEL] = true, [PERI_X_FORWARD] = true, [PERI_X_LOG] = true},
    [PERI_X_SENDING] = {[PERI_X_LOG] = true},
    [PERI_X_TUNNEL] = {[PERI_X_LOG] = true},
    [PERI_X_LOG] = {[PERI_X_DONE] = true},
};

/// Does the change end the process?
static bool is_refused(enum peri_exchange_state from, enum peri_exchange_state to)
{
    int status;
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        signal(SIGABRT, SIG_DFL);
        if (!freopen("/dev/null", "w", stderr))
            _exit(2);
        struct peri_exchange x = {.state = from};
        peri_exchange_set_state(&x, to);
        _exit(x.state == to ? 0 : 3);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true((WIFEXITED(status) && WEXITSTATUS(status) == 0) || WIFSIGNALED(status));
    return WIFSIGNALED(status);
}

static void allows_legal_changes_of_state_only(void **state)
{
    (void)state;
    for (unsigned from = 0; from < PERI_X_STATE_COUNT; from++)
        for (unsigned to = 0; to < PERI_X_STATE_COUNT; to++)
            if (is_refused((enum peri_exchange_state)from, (enum peri_exchange_state)to) == legal[from][to])
                fail_msg("%s -> %s", peri_exchange_state_name((enum peri_exchange_state)from),
                         peri_exchange_state_name((enum peri_exchange_state)to));
}

static void says_so_when_memory_is_out(void **state)
{
    (void)state;
    peri_exchange_pool_close();
    fail_alloc_all();
    struct peri_exchange *x = peri_exchange_new();
    fail_alloc_stop();
    assert_null(x);
    assert_int_equal(peri_exchange_count(), 0);
}

static void bounds_the_memory_of_one_exchange(void **state)
{
    (void)state;
    struct peri_exchange *x = peri_exchange_new();
    size_t given = 0;
    while (peri_arena_alloc(&x->arena, 10000))
        given += 10000;
    assert_in_range(given, 3 << 20, 5 << 20);
    end(x);
}

// ---- bodies ----

static void says_when_a_body_is_full_and_when_it_is_low(void **state)
{
    (void)state;
    struct peri_body body;
    static char part[PERI_BODY_LOW];
    peri_body_init(&body);
    assert_true(peri_body_is_low(&body));
    assert_int_equal(peri_body_put(&body, peri_slice(part, sizeof(part))), PERI_OK);
    assert_true(peri_body_is_low(&body));
    assert_int_equal(peri_body_put(&body, peri_slice(part, 1)), PERI_OK);
    assert_false(peri_body_is_low(&body));
    while (body.queue.len < PERI_BODY_HIGH - 1)
        peri_body_put(&body, peri_slice(part, PERI_BODY_HIGH - 1 - body.queue.len < sizeof(part)
                                                  ? PERI_BODY_HIGH - 1 - body.queue.len
                                                  : sizeof(part)));
    assert_false(peri_body_is_full(&body));
    peri_body_put(&body, peri_slice(part, 1));
    assert_true(peri_body_is_full(&body));
    assert_int_equal(body.total, PERI_BODY_HIGH);
    peri_body_take(&body, 1);
    assert_false(peri_body_is_full(&body));
    assert_int_equal(body.total, PERI_BODY_HIGH);
    peri_body_close(&body);
}

static void replaces_a_body_as_a_whole(void **state)
{
    (void)state;
    struct peri_body body;
    char out[8];
    peri_body_init(&body);
    peri_body_put(&body, PERI_SLICE("old one"));
    assert_int_equal(peri_body_set(&body, PERI_SLICE("new")), PERI_OK);
    assert_true(body.is_ended);
    assert_int_equal(body.queue.len, 3);
    peri_body_copy(&body, out);
    assert_memory_equal(out, "new", 3);
    fail_alloc_all();
    peri_err_t err = peri_body_set(&body, PERI_SLICE("newer"));
    fail_alloc_stop();
    assert_int_equal(err, PERI_ERR_NOMEM);
    assert_true(peri_slice_eq(peri_body_peek(&body), PERI_SLICE("new")));
    assert_int_equal(peri_body_set(&body, peri_slice(NULL, 0)), PERI_OK);
    assert_int_equal(body.queue.len, 0);
    peri_body_close(&body);
}

static int close_pool(void **state)
{
    (void)state;
    peri_exchange_pool_close();
    return 0;
}

int main(void)
{
#define TEST(name) cmocka_unit_test_teardown(name, close_pool)
    const struct CMUnitTest tests[] = {
        TEST(gives_a_clean_exchange_from_the_pool),
        TEST(counts_those_in_use_and_bounds_the_pool),
        TEST(names_every_state),
        TEST(allows_legal_changes_of_state_only),
        TEST(says_so_when_memory_is_out),
        TEST(bounds_the_memory_of_one_exchange),
        TEST(says_when_a_body_is_full_and_when_it_is_low),
        TEST(replaces_a_body_as_a_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
