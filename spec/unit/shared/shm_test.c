// SPDX-License-Identifier: MIT
// The memory itself: what it costs, who may attach, and the workers' slots.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "shared/dict.h"
#include "shared/metrics.h"
#include "shared/segment.h"
#include "shared/shm.h"

static struct peri_shm *shm;

static void ignore_line(void *data, enum peri_log_level level, const char *line, size_t len)
{
    (void)data, (void)level, (void)line, (void)len;
}

static int open_memory(void **state)
{
    (void)state;
    peri_log_set_sink(ignore_line, NULL);
    shm = peri_shm_create(&(struct peri_shm_options){3, 0});
    assert_non_null(shm);
    return 0;
}

static int close_memory(void **state)
{
    (void)state;
    peri_shm_close(shm);
    return 0;
}

static uint64_t bytes_allocated(void)
{
    struct stat info;
    assert_int_equal(fstat(peri_shm_fd(shm), &info), 0);
    return (uint64_t)info.st_blocks * 512;
}

// ---- the memory

static void costs_little_until_it_is_used(void **state)
{
    (void)state;
    assert_true(bytes_allocated() < 128 * 1024);
    struct peri_metrics_page *page = peri_shm_metrics(shm, 0);
    peri_metrics_request(page, peri_metrics_route(shm, PERI_SLICE("r")), 200, 1000);
    assert_true(bytes_allocated() < 256 * 1024);
}

static void summing_does_not_allocate_the_pages_of_idle_workers(void **state)
{
    (void)state;
    struct peri_metrics_sum sum;
    struct peri_worker_info info;
    peri_shm_worker_get(shm, 0, &info); // the slots share one page, which this allocates
    uint64_t before = bytes_allocated();
    for (uint32_t i = 0; i < PERI_METRICS_ROUTES; i++)
        peri_metrics_sum_route(shm, i, &sum, NULL);
    assert_int_equal(bytes_allocated(), before);
}

static void refuses_options_that_are_not_possible(void **state)
{
    (void)state;
    assert_null(peri_shm_create(&(struct peri_shm_options){0, 0}));
    assert_null(peri_shm_create(&(struct peri_shm_options){PERI_SHM_WORKERS_MAX + 1, 0}));
    assert_null(peri_shm_create(&(struct peri_shm_options){1, PERI_SHM_DICT_BYTES_MAX + 1}));
}

static void its_size_is_sealed_and_its_descriptor_is_not_inherited(void **state)
{
    (void)state;
    assert_int_equal(ftruncate(peri_shm_fd(shm), 4096), -1);
    assert_true(fcntl(peri_shm_fd(shm), F_GETFD) & FD_CLOEXEC);
}

static void another_mapping_sees_the_same_memory(void **state)
{
    (void)state;
    struct peri_shm *other = peri_shm_attach(dup(peri_shm_fd(shm)));
    assert_non_null(other);
    assert_int_equal(peri_shm_workers(other), 3);
    int32_t dict = peri_dict_open(shm, PERI_SLICE("d"));
    struct peri_dict_at at = {shm, dict, PERI_SLICE("k"), 1}, same = {other, dict, PERI_SLICE("k"), 1};
    double sum;
    peri_dict_incr(&at, 41, 0, 0, &sum);
    peri_dict_incr(&same, 1, 0, 0, &sum);
    assert_true(sum == 42);
    assert_int_equal(peri_dict_open(other, PERI_SLICE("d")), dict);
    peri_shm_close(other);
}

static void a_child_attaches_by_the_descriptor(void **state)
{
    (void)state;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct peri_shm *own = peri_shm_attach(dup(peri_shm_fd(shm)));
        if (!own)
            _exit(1);
        peri_shm_worker_begin(own, 2, 77, 1234);
        peri_metrics_request(peri_shm_metrics(own, 2), peri_metrics_route(own, PERI_SLICE("r")), 201, 5);
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    struct peri_worker_info info;
    struct peri_metrics_sum sum;
    peri_shm_worker_get(shm, 2, &info);
    assert_int_equal(info.pid, 77);
    assert_int_equal(info.state, PERI_WORKER_STARTING);
    peri_metrics_sum_route(shm, (uint32_t)peri_metrics_route(shm, PERI_SLICE("r")), &sum, NULL);
    assert_int_equal(sum.by_class[2], 1);
}

// ---- attaching to something else

static int copy_of_memory(void)
{
    int fd = memfd_create("copy", 0);
    char page[4096];
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, (off_t)shm->size), 0);
    assert_int_equal(pread(peri_shm_fd(shm), page, sizeof(page), 0), sizeof(page));
    assert_int_equal(pwrite(fd, page, sizeof(page), 0), sizeof(page));
    return fd;
}

static void assert_refused_with(size_t offset, const void *bytes, size_t len)
{
    int fd = copy_of_memory();
    assert_int_equal(pwrite(fd, bytes, len, (off_t)offset), len);
    assert_null(peri_shm_attach(fd));
}

static void attaches_to_an_unchanged_copy(void **state)
{
    (void)state;
    struct peri_shm *copy = peri_shm_attach(copy_of_memory());
    assert_non_null(copy);
    peri_shm_close(copy);
}

static void refuses_memory_of_another_kind_version_or_size(void **state)
{
    (void)state;
    const uint32_t layout = PERI_SHM_LAYOUT + 1, workers[] = {0, 2, 4, PERI_SHM_WORKERS_MAX + 1, 0xffffffffu};
    const uint64_t sizes[] = {0, 1, 1ull << 40, UINT64_MAX};
    assert_refused_with(offsetof(struct peri_shm_head, magic), "x", 1);
    assert_refused_with(offsetof(struct peri_shm_head, layout), &layout, sizeof(layout));
    for (size_t i = 0; i < PERI_COUNT(workers); i++)
        assert_refused_with(offsetof(struct peri_shm_head, workers), &workers[i], sizeof(workers[i]));
    for (size_t i = 0; i < PERI_COUNT(sizes); i++) {
        assert_refused_with(offsetof(struct peri_shm_head, dict_bytes), &sizes[i], sizeof(sizes[i]));
        assert_refused_with(offsetof(struct peri_shm_head, size), &sizes[i], sizeof(sizes[i]));
    }
}

static void refuses_files_that_are_too_short_and_things_that_are_no_files(void **state)
{
    (void)state;
    int fds[2];
    int fd = copy_of_memory();
    assert_int_equal(ftruncate(fd, (off_t)shm->size - 4096), 0);
    assert_null(peri_shm_attach(fd));
    fd = memfd_create("empty", 0);
    assert_null(peri_shm_attach(fd));
    assert_int_equal(pipe(fds), 0);
    assert_null(peri_shm_attach(fds[0]));
    assert_int_equal(fcntl(fds[0], F_GETFD), -1); // taken: closed
    close(fds[1]);
    assert_null(peri_shm_attach(-1));
}

// ---- workers

static void a_slot_tells_what_its_worker_stored(void **state)
{
    (void)state;
    struct peri_worker_info info;
    peri_shm_worker_get(shm, 1, &info);
    assert_int_equal(info.state, PERI_WORKER_EMPTY);
    peri_shm_worker_begin(shm, 1, 4711, 100);
    peri_shm_worker_beat(shm, 1, 250);
    peri_shm_worker_set_generation(shm, 1, 7);
    peri_shm_worker_set_lua_bytes(shm, 1, 12345);
    peri_shm_worker_set_state(shm, 1, PERI_WORKER_READY);
    peri_shm_metrics(shm, 1)->connections = 9;
    peri_shm_worker_get(shm, 1, &info);
    assert_int_equal(info.state, PERI_WORKER_READY);
    assert_int_equal(info.pid, 4711);
    assert_int_equal(info.started_ms, 100);
    assert_int_equal(info.heartbeat_ms, 250);
    assert_int_equal(info.generation, 7);
    assert_int_equal(info.lua_bytes, 12345);
    assert_int_equal(info.connections, 9);
    assert_int_equal(info.restarts, 0);
    assert_string_equal(peri_worker_state_name(info.state), "ready");
}

static void a_replacement_carries_counters_on_and_begins_with_empty_gauges(void **state)
{
    (void)state;
    struct peri_worker_info info;
    struct peri_metrics_upstream upstream;
    int32_t row = peri_metrics_upstream(shm, PERI_SLICE("u"));
    peri_shm_worker_begin(shm, 0, 1, 100);
    struct peri_metrics_page *page = peri_shm_metrics(shm, 0);
    page->connections = 5;
    page->accepted = 50;
    page->upstream_connections[row].connections = 4;
    page->upstream_connections[row].connects = 40;
    peri_shm_worker_end(shm, 0);
    peri_shm_worker_get(shm, 0, &info);
    assert_int_equal(info.state, PERI_WORKER_DEAD);
    assert_int_equal(info.connections, 0);
    peri_shm_worker_begin(shm, 0, 2, 200);
    peri_shm_worker_get(shm, 0, &info);
    assert_int_equal(info.restarts, 1);
    assert_int_equal(info.pid, 2);
    assert_int_equal(page->accepted, 50);
    peri_metrics_sum_connections(shm, (uint32_t)row, &upstream);
    assert_int_equal(upstream.connections, 0);
    assert_int_equal(upstream.connects, 40);
}

static void a_reset_keeps_names_and_forgets_the_rest(void **state)
{
    (void)state;
    struct peri_metrics_sum sum;
    struct peri_dict_value value;
    char buf[PERI_DICT_VALUE_MAX];
    int32_t row = peri_metrics_route(shm, PERI_SLICE("r"));
    int32_t dict = peri_dict_open(shm, PERI_SLICE("d"));
    struct peri_dict_at at = {shm, dict, PERI_SLICE("k"), 1};
    double n;
    peri_metrics_request(peri_shm_metrics(shm, 0), row, 200, 1);
    peri_dict_incr(&at, 1, 0, 0, &n);
    peri_shm_reset(shm);
    peri_metrics_sum_route(shm, (uint32_t)row, &sum, NULL);
    assert_int_equal(sum.requests, 0);
    peri_dict_get(&at, &value, buf);
    assert_int_equal(value.type, PERI_DICT_NONE);
    assert_int_equal(peri_metrics_route(shm, PERI_SLICE("r")), row);
    assert_int_equal(peri_dict_open(shm, PERI_SLICE("d")), dict);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_memory, close_memory)
    const struct CMUnitTest tests[] = {
        TEST(costs_little_until_it_is_used),
        TEST(summing_does_not_allocate_the_pages_of_idle_workers),
        TEST(refuses_options_that_are_not_possible),
        TEST(its_size_is_sealed_and_its_descriptor_is_not_inherited),
        TEST(another_mapping_sees_the_same_memory),
        TEST(a_child_attaches_by_the_descriptor),
        TEST(attaches_to_an_unchanged_copy),
        TEST(refuses_memory_of_another_kind_version_or_size),
        TEST(refuses_files_that_are_too_short_and_things_that_are_no_files),
        TEST(a_slot_tells_what_its_worker_stored),
        TEST(a_replacement_carries_counters_on_and_begins_with_empty_gauges),
        TEST(a_reset_keeps_names_and_forgets_the_rest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
