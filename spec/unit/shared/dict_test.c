// SPDX-License-Identifier: MIT
// Dictionaries: values, times to live, eviction, several processes at once, and processes killed inside.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include <math.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shared/dict.h"
#include "shared/dict_entry.h"
#include "shared/segment.h"
#include "shared/shard.h"
#include "shared/shm.h"

#define NOW 1000000

static char value_buf[PERI_DICT_VALUE_MAX];
static struct peri_shm *shm;
static int32_t dict;

static int open_memory(void **state)
{
    (void)state;
    shm = peri_shm_create(&(struct peri_shm_options){1, PERI_SHM_DICT_BYTES_MIN});
    assert_non_null(shm);
    dict = peri_dict_open(shm, PERI_SLICE("test"));
    assert_int_equal(dict, 0);
    return 0;
}

static int close_memory(void **state)
{
    (void)state;
    peri_shm_close(shm);
    return 0;
}

// ---- short forms

static struct peri_dict_at at_time(const char *key, uint64_t now_ms)
{
    return (struct peri_dict_at){shm, dict, peri_slice_from(key), now_ms};
}

static struct peri_dict_at at(const char *key)
{
    return at_time(key, NOW);
}

static struct peri_dict_value text(const char *value)
{
    return (struct peri_dict_value){.type = PERI_DICT_STRING, .string = peri_slice_from(value)};
}

static struct peri_dict_value number(double value)
{
    return (struct peri_dict_value){.type = PERI_DICT_NUMBER, .number = value};
}

static bool put(struct peri_dict_at place, struct peri_dict_value value, enum peri_dict_mode mode, uint64_t ttl_ms)
{
    bool is_stored;
    assert_int_equal(peri_dict_put(&place, &value, mode, ttl_ms, &is_stored), PERI_OK);
    return is_stored;
}

static struct peri_dict_value get(struct peri_dict_at place)
{
    struct peri_dict_value value;
    assert_int_equal(peri_dict_get(&place, &value, value_buf), PERI_OK);
    return value;
}

static void assert_text(struct peri_dict_at place, const char *expected)
{
    struct peri_dict_value value = get(place);
    assert_int_equal(value.type, PERI_DICT_STRING);
    assert_int_equal(value.string.len, strlen(expected));
    assert_memory_equal(value.string.ptr, expected, value.string.len);
}

static void assert_number(struct peri_dict_at place, double expected)
{
    struct peri_dict_value value = get(place);
    assert_int_equal(value.type, PERI_DICT_NUMBER);
    assert_true(value.number == expected);
}

static void assert_absent(struct peri_dict_at place)
{
    assert_int_equal(get(place).type, PERI_DICT_NONE);
}

static uint64_t used_bytes(void)
{
    struct peri_dict_stats stats;
    peri_dict_stats(shm, &stats);
    return stats.used;
}

// ---- values

static void gives_back_what_was_stored(void **state)
{
    (void)state;
    put(at("a"), text("hello"), PERI_DICT_SET, 0);
    put(at("b"), number(-2.5), PERI_DICT_SET, 0);
    put(at("c"), (struct peri_dict_value){.type = PERI_DICT_BOOLEAN, .number = 1}, PERI_DICT_SET, 0);
    put(at("d"), text(""), PERI_DICT_SET, 0);
    assert_text(at("a"), "hello");
    assert_number(at("b"), -2.5);
    assert_int_equal(get(at("c")).type, PERI_DICT_BOOLEAN);
    assert_true(get(at("c")).number == 1);
    assert_text(at("d"), "");
    assert_absent(at("e"));
}

static void stores_values_of_every_length_and_overwrites_them(void **state)
{
    (void)state;
    static char big[PERI_DICT_VALUE_MAX];
    for (size_t i = 0; i < sizeof(big); i++)
        big[i] = (char)(i * 31 + i / 256);
    const size_t lengths[] = {0, 1, 60, 61, 63, 64, 187, 188, 189, 312, 313, 5000, 65535, 65536, 100, 0, 64, 4096};
    for (size_t i = 0; i < PERI_COUNT(lengths); i++) {
        struct peri_dict_value value = {.type = PERI_DICT_STRING, .string = peri_slice(big, lengths[i])};
        put(at("key"), value, PERI_DICT_SET, 0);
        struct peri_dict_value back = get(at("key"));
        assert_int_equal(back.string.len, lengths[i]);
        assert_memory_equal(value_buf, big, lengths[i]);
    }
}

static void tells_long_keys_apart_by_their_last_byte(void **state)
{
    (void)state;
    char key[PERI_DICT_KEY_MAX + 1];
    memset(key, 'k', sizeof(key));
    struct peri_dict_at one = {shm, dict, peri_slice(key, PERI_DICT_KEY_MAX), NOW};
    put(one, text("one"), PERI_DICT_SET, 0);
    char other_key[PERI_DICT_KEY_MAX];
    memcpy(other_key, key, sizeof(other_key));
    other_key[PERI_DICT_KEY_MAX - 1] = 'x';
    struct peri_dict_at other = {shm, dict, peri_slice(other_key, sizeof(other_key)), NOW};
    put(other, text("other"), PERI_DICT_SET, 0);
    assert_text(one, "one");
    assert_text(other, "other");
}

static void takes_keys_with_any_bytes_and_the_empty_key(void **state)
{
    (void)state;
    struct peri_dict_at zero = {shm, dict, peri_slice("a\0b", 3), NOW};
    put(zero, text("zero"), PERI_DICT_SET, 0);
    put(at(""), text("empty"), PERI_DICT_SET, 0);
    assert_text(zero, "zero");
    assert_text(at(""), "empty");
    assert_absent(at("a"));
}

static void refuses_keys_and_values_that_are_too_long(void **state)
{
    (void)state;
    static char big[PERI_DICT_VALUE_MAX + 1];
    struct peri_dict_value value = text("x");
    struct peri_dict_value too_long = {.type = PERI_DICT_STRING, .string = peri_slice(big, sizeof(big))};
    struct peri_dict_at long_key = {shm, dict, peri_slice(big, PERI_DICT_KEY_MAX + 1), NOW};
    struct peri_dict_at good = at("a");
    bool is_stored;
    double sum;
    assert_int_equal(peri_dict_put(&long_key, &value, PERI_DICT_SET, 0, &is_stored), PERI_ERR_INVALID);
    assert_false(is_stored);
    assert_int_equal(peri_dict_put(&good, &too_long, PERI_DICT_SET, 0, &is_stored), PERI_ERR_INVALID);
    assert_int_equal(peri_dict_get(&long_key, &value, value_buf), PERI_ERR_INVALID);
    assert_int_equal(peri_dict_incr(&long_key, 1, 0, 0, &sum), PERI_ERR_INVALID);
    assert_false(peri_dict_remove(&long_key));
    assert_absent(good);
}

static void refuses_a_dictionary_that_was_not_opened(void **state)
{
    (void)state;
    struct peri_dict_value value = text("x");
    struct peri_dict_at place = at("a");
    bool is_stored;
    place.dict = 1;
    assert_int_equal(peri_dict_put(&place, &value, PERI_DICT_SET, 0, &is_stored), PERI_ERR_INVALID);
    place.dict = -1;
    assert_int_equal(peri_dict_get(&place, &value, value_buf), PERI_ERR_INVALID);
    assert_int_equal(peri_dict_keys(shm, 7, NOW, 10, value_buf, sizeof(value_buf)), 0);
    peri_dict_flush(shm, 7);
}

static void keeps_dictionaries_apart(void **state)
{
    (void)state;
    struct peri_dict_at other = at("key");
    other.dict = peri_dict_open(shm, PERI_SLICE("other"));
    assert_int_not_equal(other.dict, dict);
    assert_int_equal(peri_dict_open(shm, PERI_SLICE("other")), other.dict);
    put(at("key"), number(1), PERI_DICT_SET, 0);
    put(other, number(2), PERI_DICT_SET, 0);
    peri_dict_flush(shm, dict);
    assert_absent(at("key"));
    assert_number(other, 2);
}

static void opens_a_bounded_number_of_dictionaries(void **state)
{
    (void)state;
    char name[16], long_name[PERI_DICT_NAME_MAX + 1];
    for (int i = 1; i < PERI_DICT_COUNT_MAX; i++) {
        snprintf(name, sizeof(name), "d%d", i);
        assert_int_equal(peri_dict_open(shm, peri_slice_from(name)), i);
    }
    assert_int_equal(peri_dict_open(shm, PERI_SLICE("one more")), -1);
    assert_int_equal(peri_dict_open(shm, PERI_SLICE("d7")), 7);
    memset(long_name, 'n', sizeof(long_name));
    assert_int_equal(peri_dict_open(shm, peri_slice(long_name, sizeof(long_name))), -1);
    assert_int_equal(peri_dict_open(shm, PERI_SLICE("")), -1);
}

// ---- conditions

static void adds_only_what_is_absent_and_replaces_only_what_is_there(void **state)
{
    (void)state;
    assert_false(put(at("a"), number(1), PERI_DICT_REPLACE, 0));
    assert_absent(at("a"));
    assert_true(put(at("a"), number(2), PERI_DICT_ADD, 0));
    assert_false(put(at("a"), number(3), PERI_DICT_ADD, 0));
    assert_number(at("a"), 2);
    assert_true(put(at("a"), text("four"), PERI_DICT_REPLACE, 0));
    assert_text(at("a"), "four");
}

static bool swap(const char *key, struct peri_dict_value expected, struct peri_dict_value value)
{
    struct peri_dict_at place = at(key);
    bool is_stored;
    assert_int_equal(peri_dict_swap(&place, &expected, &value, 0, &is_stored), PERI_OK);
    return is_stored;
}

static void swaps_only_when_the_entry_is_as_expected(void **state)
{
    (void)state;
    struct peri_dict_value none = {.type = PERI_DICT_NONE};
    struct peri_dict_value yes = {.type = PERI_DICT_BOOLEAN, .number = 1};
    assert_true(swap("a", none, text("one")));
    assert_false(swap("a", none, text("two")));
    assert_false(swap("a", text("on"), text("two")));
    assert_false(swap("a", number(1), text("two")));
    assert_true(swap("a", text("one"), number(2)));
    assert_false(swap("a", yes, number(3)));
    assert_true(swap("a", number(2), yes));
    assert_true(swap("a", yes, none));
    assert_absent(at("a"));
    assert_true(swap("a", none, none));
}

static void counts_from_the_initial_value(void **state)
{
    (void)state;
    struct peri_dict_at place = at("n");
    double sum;
    assert_int_equal(peri_dict_incr(&place, 5, 100, 0, &sum), PERI_OK);
    assert_true(sum == 105);
    assert_int_equal(peri_dict_incr(&place, -7.5, 100, 0, &sum), PERI_OK);
    assert_true(sum == 97.5);
    put(at("s"), text("5"), PERI_DICT_SET, 0);
    place = at("s");
    assert_int_equal(peri_dict_incr(&place, 1, 0, 0, &sum), PERI_ERR_INVALID);
    assert_text(at("s"), "5");
}

static void removes_and_says_whether_there_was_something(void **state)
{
    (void)state;
    struct peri_dict_at place = at("a");
    put(place, text("x"), PERI_DICT_SET, 0);
    assert_true(peri_dict_remove(&place));
    assert_false(peri_dict_remove(&place));
    assert_absent(place);
    assert_int_equal(used_bytes(), 0);
}

// ---- time

static void forgets_an_entry_when_its_time_is_over(void **state)
{
    (void)state;
    put(at("a"), text("x"), PERI_DICT_SET, 500);
    assert_text(at_time("a", NOW + 499), "x");
    assert_absent(at_time("a", NOW + 500));
    assert_int_equal(used_bytes(), 0);
    assert_true(put(at_time("a", NOW + 500), text("y"), PERI_DICT_ADD, 0));
    assert_text(at_time("a", UINT64_MAX), "y");
}

static void a_counter_keeps_the_time_it_began_with(void **state)
{
    (void)state;
    double sum;
    struct peri_dict_at place = at_time("n", NOW);
    peri_dict_incr(&place, 1, 0, 100, &sum);
    place = at_time("n", NOW + 99);
    peri_dict_incr(&place, 1, 0, 100, &sum);
    assert_true(sum == 2);
    place = at_time("n", NOW + 100);
    peri_dict_incr(&place, 1, 0, 100, &sum);
    assert_true(sum == 1);
}

static void tells_and_changes_the_time_to_live(void **state)
{
    (void)state;
    uint64_t ttl;
    struct peri_dict_at place = at("a");
    assert_false(peri_dict_ttl(&place, &ttl));
    assert_false(peri_dict_expire(&place, 10));
    put(place, text("x"), PERI_DICT_SET, 0);
    assert_true(peri_dict_ttl(&place, &ttl));
    assert_true(ttl == UINT64_MAX);
    assert_true(peri_dict_expire(&place, 250));
    place.now_ms += 50;
    assert_true(peri_dict_ttl(&place, &ttl));
    assert_int_equal(ttl, 200);
    assert_true(peri_dict_expire(&place, 0));
    assert_text(at_time("a", NOW + 1000000), "x");
}

static void a_set_replaces_the_time_to_live(void **state)
{
    (void)state;
    put(at("a"), text("x"), PERI_DICT_SET, 10);
    put(at("a"), text("y"), PERI_DICT_SET, 0);
    assert_text(at_time("a", NOW + 1000), "y");
}

// ---- keys

static int compare_keys(const void *a, const void *b)
{
    return strcmp(a, b);
}

static void lists_the_keys_that_live(void **state)
{
    (void)state;
    char buf[4096], found[3][8] = {{0}};
    put(at("one"), number(1), PERI_DICT_SET, 0);
    put(at("two"), number(1), PERI_DICT_SET, 0);
    put(at("gone"), number(1), PERI_DICT_SET, 5);
    uint32_t count = peri_dict_keys(shm, dict, NOW + 5, 100, buf, sizeof(buf));
    assert_int_equal(count, 2);
    const char *p = buf;
    for (uint32_t i = 0; i < count; i++) {
        uint16_t len;
        memcpy(&len, p, sizeof(len));
        memcpy(found[i], p + 2, len);
        p += 2 + len;
    }
    qsort(found, count, sizeof(found[0]), compare_keys);
    assert_string_equal(found[0], "one");
    assert_string_equal(found[1], "two");
    assert_int_equal(peri_dict_keys(shm, dict, NOW, 1, buf, sizeof(buf)), 1);
    assert_int_equal(peri_dict_keys(shm, dict, NOW, 9, buf, 4), 0);
}

// ---- memory

static void evicts_what_was_used_least_recently(void **state)
{
    (void)state;
    char key[16];
    static char big[1000];
    struct peri_dict_value value = {.type = PERI_DICT_STRING, .string = peri_slice(big, sizeof(big))};
    struct peri_dict_stats stats;
    put(at("keep"), text("kept"), PERI_DICT_SET, 0);
    for (int i = 0; i < 5000; i++) {
        snprintf(key, sizeof(key), "k%d", i);
        put(at(key), value, PERI_DICT_SET, 0);
        assert_text(at("keep"), "kept");
    }
    assert_absent(at("k0"));
    assert_int_equal(get(at("k4999")).string.len, sizeof(big));
    peri_dict_stats(shm, &stats);
    assert_true(stats.evictions > 3000);
    assert_true(stats.used <= stats.bytes);
    assert_true(stats.entries + stats.evictions == 5001);
    assert_int_equal(stats.resets, 0);
}

static void expired_entries_give_way_uncounted(void **state)
{
    (void)state;
    char key[16];
    struct peri_dict_stats stats;
    for (int i = 0; i < 20000; i++) {
        snprintf(key, sizeof(key), "k%d", i);
        put(at_time(key, NOW + (uint64_t)i), number(i), PERI_DICT_SET, 1);
    }
    peri_dict_stats(shm, &stats);
    assert_int_equal(stats.evictions, 0);
    assert_true(stats.entries < 10);
}

// Every operation at random against a model, then everything is removed: no chunk is lost and none is given twice.
static void agrees_with_a_model_under_random_operations(void **state)
{
    (void)state;
    enum { KEYS = 40 };
    size_t lengths[KEYS];
    bool is_there[KEYS] = {false};
    char key[16];
    static char big[20000];
    unsigned seed = 7;
    memset(big, 'v', sizeof(big));
    for (int i = 0; i < 20000; i++) {
        int k = rand_r(&seed) % KEYS;
        snprintf(key, sizeof(key), "key-%d", k);
        struct peri_dict_at place = at(key);
        switch (rand_r(&seed) % 3) {
        case 0:
            lengths[k] = (size_t)rand_r(&seed) % (i % 10 ? 300 : sizeof(big) / 2);
            put(place, (struct peri_dict_value){.type = PERI_DICT_STRING, .string = peri_slice(big, lengths[k])},
                PERI_DICT_SET, 0);
            is_there[k] = true;
            break;
        case 1:
            assert_int_equal(peri_dict_remove(&place), is_there[k]);
            is_there[k] = false;
            break;
        default:
            assert_int_equal(get(place).type, is_there[k] ? PERI_DICT_STRING : PERI_DICT_NONE);
            if (is_there[k])
                assert_int_equal(get(place).string.len, lengths[k]);
        }
    }
    peri_dict_flush(shm, dict);
    struct peri_dict_stats stats;
    peri_dict_stats(shm, &stats);
    assert_int_equal(stats.used, 0);
    assert_int_equal(stats.entries, 0);
    assert_int_equal(stats.evictions, 0);
}

// ---- several processes

static pid_t start(void (*run)(int), int argument)
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        run(argument);
        _exit(0);
    }
    return pid;
}

static int wait_for(pid_t pid)
{
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static void count_ten_thousand(int worker)
{
    struct peri_dict_at shared = at("shared"), own = at(worker % 2 ? "odd" : "even");
    double sum;
    for (int i = 0; i < 10000; i++) {
        peri_dict_incr(&shared, 1, 0, 0, &sum);
        peri_dict_incr(&own, 2, 0, 0, &sum);
    }
}

static void four_processes_lose_no_increment(void **state)
{
    (void)state;
    pid_t pids[4];
    for (int i = 0; i < 4; i++)
        pids[i] = start(count_ten_thousand, i);
    for (int i = 0; i < 4; i++)
        assert_int_equal(wait_for(pids[i]), 0);
    assert_number(at("shared"), 40000);
    assert_number(at("odd"), 40000);
    assert_number(at("even"), 40000);
}

static void add_once_each(int worker)
{
    char key[16];
    struct peri_dict_at wins = at("wins");
    double sum;
    for (int i = 0; i < 2000; i++) {
        snprintf(key, sizeof(key), "job-%d", i);
        if (put(at(key), number(worker), PERI_DICT_ADD, 0))
            peri_dict_incr(&wins, 1, 0, 0, &sum);
    }
}

static void exactly_one_process_adds_a_key(void **state)
{
    (void)state;
    pid_t pids[4];
    for (int i = 0; i < 4; i++)
        pids[i] = start(add_once_each, i);
    for (int i = 0; i < 4; i++)
        assert_int_equal(wait_for(pids[i]), 0);
    assert_number(at("wins"), 2000);
}

static void die_with_the_lock(int is_midway)
{
    struct peri_dict_at place = at("victim");
    struct peri_dict_place held;
    if (!peri_dict_acquire(&place, &held))
        _exit(1);
    if (is_midway) { // the worst case: the shard's numbers are nonsense
        held.shard.head->free = 0xfffffff0u;
        held.shard.head->newest = 12345678;
        held.shard.index[held.key.hash & held.shard.mask] = 0xffffffffu;
    }
    raise(SIGKILL);
}

static void a_process_killed_inside_costs_one_shard_and_no_deadlock(void **state)
{
    (void)state;
    char key[16];
    struct peri_dict_stats stats;
    for (int i = 0; i < 100; i++) {
        snprintf(key, sizeof(key), "k%d", i);
        put(at(key), number(i), PERI_DICT_SET, 0);
    }
    put(at("victim"), text("x"), PERI_DICT_SET, 0);
    for (int is_midway = 0; is_midway < 2; is_midway++) {
        int status = wait_for(start(die_with_the_lock, is_midway));
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        assert_absent(at("victim"));
        assert_true(put(at("victim"), text("again"), PERI_DICT_ADD, 0));
        assert_text(at("victim"), "again");
    }
    peri_dict_stats(shm, &stats);
    assert_int_equal(stats.resets, 2);
    assert_true(stats.entries > 1 && stats.entries < 101); // the other shards kept theirs
}

static void die_with_the_registry(int unused)
{
    (void)unused;
    peri_shm_registry_acquire(shm);
    raise(SIGKILL);
}

static void a_process_killed_in_the_registry_leaves_it_usable(void **state)
{
    (void)state;
    int status = wait_for(start(die_with_the_registry, 0));
    assert_true(WIFSIGNALED(status));
    assert_int_equal(peri_dict_open(shm, PERI_SLICE("next")), 1);
}

// Children write at random until they are killed; whatever they leave behind, the memory goes on working.
static void write_for_ever(int seed)
{
    char key[16];
    static char big[3000];
    unsigned random = (unsigned)seed;
    for (;;) {
        snprintf(key, sizeof(key), "k%d", rand_r(&random) % 500);
        struct peri_dict_value value = {.type = PERI_DICT_STRING,
                                        .string = peri_slice(big, (size_t)rand_r(&random) % sizeof(big))};
        struct peri_dict_at place = at(key);
        bool is_stored;
        if (rand_r(&random) % 3)
            peri_dict_put(&place, &value, PERI_DICT_SET, 0, &is_stored);
        else
            peri_dict_remove(&place);
    }
}

static void survives_killing_writers_at_any_moment(void **state)
{
    (void)state;
    for (int round = 0; round < 30; round++) {
        pid_t pids[3];
        double sum = 0;
        struct peri_dict_at place = at("parent");
        for (int i = 0; i < 3; i++)
            pids[i] = start(write_for_ever, round * 3 + i);
        for (int i = 0; i < 2000; i++)
            assert_int_equal(peri_dict_incr(&place, 1, 0, 0, &sum), PERI_OK);
        for (int i = 0; i < 3; i++) {
            kill(pids[i], SIGKILL);
            wait_for(pids[i]);
        }
    }
    peri_dict_flush(shm, dict);
    assert_true(put(at("a"), text("x"), PERI_DICT_ADD, 0));
    assert_text(at("a"), "x");
    assert_int_equal(used_bytes(), 128);
}

// ---- memory that another process wrote astray

static void damage(int unused)
{
    (void)unused;
    unsigned seed = 3;
    uint32_t *words = (uint32_t *)(void *)shm->shard_data;
    for (uint64_t i = 0; i < shm->shard_bytes * shm->shards / 4; i++) {
        if (rand_r(&seed) % 7 == 0)
            words[i] = (uint32_t)rand_r(&seed) % 2 ? (uint32_t)rand_r(&seed) : (uint32_t)rand_r(&seed) % 5000;
    }
    for (uint32_t i = 0; i < shm->shards; i++) {
        shm->shard_heads[i].free = 4000 + i;
        shm->shard_heads[i].used = 3000;
        shm->shard_heads[i].oldest = 17;
    }
}

static void nonsense_in_the_memory_is_never_followed_out_of_it(void **state)
{
    (void)state;
    char key[16];
    bool is_stored;
    for (int i = 0; i < 1000; i++) {
        snprintf(key, sizeof(key), "k%d", i);
        put(at(key), text("some text that is a little longer than nothing"), PERI_DICT_SET, 0);
    }
    damage(0);
    for (int i = 0; i < 3000; i++) {
        snprintf(key, sizeof(key), "k%d", i);
        struct peri_dict_at place = at(key);
        struct peri_dict_value value = i % 2 ? number(i) : text(key);
        get(place);
        peri_err_t err = peri_dict_put(&place, &value, PERI_DICT_SET, 0, &is_stored);
        assert_true(err == PERI_OK || err == PERI_ERR_NOMEM);
    }
    peri_dict_keys(shm, dict, NOW, PERI_DICT_KEYS_MAX, value_buf, sizeof(value_buf));
    peri_dict_flush(shm, dict);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_memory, close_memory)
    const struct CMUnitTest tests[] = {
        TEST(gives_back_what_was_stored),
        TEST(stores_values_of_every_length_and_overwrites_them),
        TEST(tells_long_keys_apart_by_their_last_byte),
        TEST(takes_keys_with_any_bytes_and_the_empty_key),
        TEST(refuses_keys_and_values_that_are_too_long),
        TEST(refuses_a_dictionary_that_was_not_opened),
        TEST(keeps_dictionaries_apart),
        TEST(opens_a_bounded_number_of_dictionaries),
        TEST(adds_only_what_is_absent_and_replaces_only_what_is_there),
        TEST(swaps_only_when_the_entry_is_as_expected),
        TEST(counts_from_the_initial_value),
        TEST(removes_and_says_whether_there_was_something),
        TEST(forgets_an_entry_when_its_time_is_over),
        TEST(a_counter_keeps_the_time_it_began_with),
        TEST(tells_and_changes_the_time_to_live),
        TEST(a_set_replaces_the_time_to_live),
        TEST(lists_the_keys_that_live),
        TEST(evicts_what_was_used_least_recently),
        TEST(expired_entries_give_way_uncounted),
        TEST(agrees_with_a_model_under_random_operations),
        TEST(four_processes_lose_no_increment),
        TEST(exactly_one_process_adds_a_key),
        TEST(a_process_killed_inside_costs_one_shard_and_no_deadlock),
        TEST(a_process_killed_in_the_registry_leaves_it_usable),
        TEST(survives_killing_writers_at_any_moment),
        TEST(nonsense_in_the_memory_is_never_followed_out_of_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
