// SPDX-License-Identifier: MIT
// Circuit breakers: limits that all workers keep together.
#include "upstream/breaker.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <sys/wait.h>
#include <unistd.h>

#include "shared/metrics.h"
#include "shared/shm.h"

#define WORKERS 4

static struct peri_shm *shm;
static struct peri_breaker breakers[WORKERS];

static int open_breakers(void **state)
{
    (void)state;
    shm = peri_shm_create(&(struct peri_shm_options){WORKERS, 0});
    for (uint32_t i = 0; i < WORKERS; i++) {
        struct peri_metrics_page *page = peri_shm_metrics(shm, i);
        int32_t row = peri_endpoints_hold_upstream(shm, page, PERI_SLICE("users"));
        breakers[i] = (struct peri_breaker){.shm = shm, .cell = &page->breakers[row], .upstream = row};
        peri_breaker_defaults(&breakers[i]);
    }
    return 0;
}

static int close_breakers(void **state)
{
    (void)state;
    peri_shm_close(shm);
    return 0;
}

static void the_defaults_are_envoys(void **state)
{
    (void)state;
    assert_int_equal(breakers[0].limits[PERI_BREAKER_CONNECTIONS], 1024);
    assert_int_equal(breakers[0].limits[PERI_BREAKER_PENDING], 1024);
    assert_int_equal(breakers[0].limits[PERI_BREAKER_REQUESTS], 1024);
    assert_int_equal(breakers[0].limits[PERI_BREAKER_RETRIES], 3);
}

static void workers_share_a_limit(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < WORKERS; i++)
        breakers[i].limits[PERI_BREAKER_REQUESTS] = 10;
    for (unsigned i = 0; i < 10; i++)
        assert_true(peri_breaker_enter(&breakers[i % WORKERS], PERI_BREAKER_REQUESTS));
    assert_false(peri_breaker_enter(&breakers[0], PERI_BREAKER_REQUESTS));
    assert_false(peri_breaker_enter(&breakers[3], PERI_BREAKER_REQUESTS));
    assert_int_equal(peri_endpoints_gauge(shm, breakers[0].upstream, PERI_BREAKER_REQUESTS), 10);
    assert_int_equal(peri_endpoints_overflows(shm, breakers[0].upstream, PERI_BREAKER_REQUESTS), 2);
    peri_breaker_leave(&breakers[1], PERI_BREAKER_REQUESTS);
    assert_true(peri_breaker_enter(&breakers[2], PERI_BREAKER_REQUESTS));
}

static void limits_do_not_touch_each_other(void **state)
{
    (void)state;
    breakers[0].limits[PERI_BREAKER_RETRIES] = 0;
    assert_false(peri_breaker_enter(&breakers[0], PERI_BREAKER_RETRIES));
    assert_true(peri_breaker_enter(&breakers[0], PERI_BREAKER_PENDING));
}

static void a_dead_worker_gives_its_share_back(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < WORKERS; i++)
        breakers[i].limits[PERI_BREAKER_REQUESTS] = 2;
    assert_true(peri_breaker_enter(&breakers[1], PERI_BREAKER_REQUESTS));
    assert_true(peri_breaker_enter(&breakers[1], PERI_BREAKER_REQUESTS));
    assert_false(peri_breaker_enter(&breakers[0], PERI_BREAKER_REQUESTS));
    peri_shm_worker_end(shm, 1);
    assert_true(peri_breaker_enter(&breakers[0], PERI_BREAKER_REQUESTS));
}

// Four processes reach for the same places as fast as they can: never are more than the limit inside.
static void processes_never_exceed_a_limit(void **state)
{
    (void)state;
    pid_t pids[WORKERS];
    for (uint32_t i = 0; i < WORKERS; i++) {
        pids[i] = fork();
        if (pids[i] == 0) {
            struct peri_breaker *own = &breakers[i];
            own->limits[PERI_BREAKER_REQUESTS] = 2;
            for (unsigned n = 0; n < 20000; n++) {
                if (!peri_breaker_enter(own, PERI_BREAKER_REQUESTS))
                    continue;
                // Others may count themselves for a moment, but at most two have been let in.
                uint64_t *inside = &peri_endpoints_upstream(shm, own->upstream)->overflows;
                if (__atomic_add_fetch(inside, 1, __ATOMIC_SEQ_CST) > 2)
                    _exit(1);
                __atomic_sub_fetch(inside, 1, __ATOMIC_SEQ_CST);
                peri_breaker_leave(own, PERI_BREAKER_REQUESTS);
            }
            _exit(0);
        }
    }
    for (uint32_t i = 0; i < WORKERS; i++) {
        int status;
        assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
        assert_int_equal(status, 0);
    }
    assert_int_equal(peri_endpoints_gauge(shm, breakers[0].upstream, PERI_BREAKER_REQUESTS), 0);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, open_breakers, close_breakers)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(the_defaults_are_envoys),        CASE(workers_share_a_limit),
        CASE(limits_do_not_touch_each_other), CASE(a_dead_worker_gives_its_share_back),
        CASE(processes_never_exceed_a_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
