// SPDX-License-Identifier: MIT
// Discovery by names, services and scripts, with a resolver that says what the test wants and a clock that stands still: when it asks again, what it makes of the
// answers, and what stays while there are none. The linker puts __wrap_ functions in the place of event/dns (CMakeLists.txt).
#include "proxy/discovery.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "codec/json.h"
#include "event/dns.h"
#include "event/dns_srv.h"
#include "event/loop.h"
#include "proxy/forward.h"
#include "proxy/server_internal.h"
#include "shared/dict.h"
#include "shared/shm.h"
#include "upstream/keeper.h"
#include "upstream/pool.h"
#include "upstream/upstream.h"

#define QUESTIONS 128

static struct {
    struct peri_loop *loop;
    struct peri_shm *shm;
    struct peri_server server;
    struct peri_generation *generation;
    struct {
        char host[256];
        struct peri_dns_query *query; ///< NULL: answered, or given up
    } names[QUESTIONS];
    unsigned name_count;                 ///< questions for names, since the last time that a test looked
    struct peri_dns_srv_query *services; ///< the question for a service; NULL: none
    unsigned service_count;
    unsigned given_up;
    bool is_busy; ///< no name can be asked
} world;

void __wrap_peri_dns_resolve(struct peri_dns *dns, struct peri_slice host, struct peri_dns_query *query);
void __wrap_peri_dns_cancel(struct peri_dns_query *query);
peri_err_t __wrap_peri_dns_srv_ask(struct peri_dns *dns, struct peri_slice name, struct peri_dns_srv_query *query);
void __wrap_peri_dns_srv_cancel(struct peri_dns_srv_query *query);

void __wrap_peri_dns_resolve(struct peri_dns *dns, struct peri_slice host, struct peri_dns_query *query)
{
    assert_ptr_equal(dns, world.server.dns);
    assert_true(world.name_count < QUESTIONS);
    if (world.is_busy) {
        query->left_ms = 1000;
        query->on_done(query, PERI_ERR_RESOLVE, NULL, 0);
        return;
    }
    snprintf(world.names[world.name_count].host, 256, "%.*s", (int)host.len, host.ptr);
    world.names[world.name_count++].query = query;
}

void __wrap_peri_dns_cancel(struct peri_dns_query *query)
{
    for (unsigned i = 0; i < world.name_count; i++)
        if (world.names[i].query == query) {
            world.names[i].query = NULL;
            world.given_up++;
        }
}

peri_err_t __wrap_peri_dns_srv_ask(struct peri_dns *dns, struct peri_slice name, struct peri_dns_srv_query *query)
{
    assert_ptr_equal(dns, world.server.dns);
    assert_null(world.services);
    assert_true(peri_slice_eq(name, PERI_SLICE("_a._tcp.b")));
    world.services = query;
    world.service_count++;
    return PERI_OK;
}

void __wrap_peri_dns_srv_cancel(struct peri_dns_srv_query *query)
{
    if (world.services != query)
        return;
    world.services = NULL;
    world.given_up++;
}

// ---- the resolver's answers

static void answer(const char *host, const char *addresses, uint64_t left_ms, bool is_stale)
{
    struct sockaddr_storage list[PERI_DNS_ADDRESSES];
    struct peri_slice rest = peri_slice_from(addresses), one;
    struct peri_dns_query *query = NULL;
    unsigned count = 0;
    while (peri_slice_next(&rest, &one))
        if (one.len > 0)
            assert_true(peri_dns_parse_literal(one, 0, &list[count++]));
    for (unsigned i = 0; i < world.name_count && !query; i++)
        if (world.names[i].query && strcmp(world.names[i].host, host) == 0) {
            query = world.names[i].query;
            world.names[i].query = NULL;
        }
    if (!query)
        fail_msg("nobody asks for %s", host);
    query->left_ms = left_ms;
    query->is_stale = is_stale;
    query->on_done(query, count > 0 ? PERI_OK : PERI_ERR_RESOLVE, list, count);
}

static void answer_service(peri_err_t err, const struct peri_dns_service *service)
{
    struct peri_dns_srv_query *query = world.services;
    assert_non_null(query);
    world.services = NULL;
    query->on_done(query, err, service);
}

// Moves on until somebody asks: the milliseconds that took.
static uint64_t wait_question(unsigned *count)
{
    uint64_t begin = peri_loop_now_ms(world.loop);
    *count = 0;
    while (*count == 0 && peri_loop_now_ms(world.loop) - begin < 1000000)
        peri_loop_advance(world.loop, 1);
    return peri_loop_now_ms(world.loop) - begin;
}

static void assert_between(uint64_t value, uint64_t least, uint64_t most)
{
    if (value < least || value > most)
        fail_msg("%llu is not between %llu and %llu", (unsigned long long)value, (unsigned long long)least,
                 (unsigned long long)most);
}

// ---- the world

static void start(const char *discovery, const char *endpoints)
{
    char *config = NULL, *errors = NULL;
    assert_true(asprintf(&config, "{\"upstreams\":[{\"name\":\"u\",\"discovery\":%s%s%s}]}", discovery,
                         endpoints ? ",\"endpoints\":" : "", endpoints ? endpoints : "") > 0);
    world.generation = peri_generation_new(NULL, config, NULL, 1, PERI_SLICE("digest"), world.server.pools, world.shm,
                                           world.server.page, &errors);
    if (!world.generation)
        fail_msg("%s", errors);
    world.generation->server = &world.server;
    world.server.current = world.generation;
    peri_discovery_recall_all(world.generation);
    peri_discovery_start_all(world.generation);
    peri_loop_advance(world.loop, 1);
}

static void start_name(void)
{
    start("{\"dns\":\"a:80\",\"host\":\"a\",\"port\":80}", "[{\"address\":\"a:80\"}]");
}

static void start_service(void)
{
    start("{\"srv\":\"_a._tcp.b\"}", NULL);
}

static void stop(void)
{
    peri_keeper_set(world.server.keeper, NULL, 0);
    world.server.current = NULL;
    peri_generation_unref(world.generation);
    world.generation = NULL;
}

static struct peri_stream *refuse(void *data, struct peri_slice address)
{
    (void)data;
    (void)address;
    return NULL;
}

static int open_world(void **state)
{
    (void)state;
    memset(&world, 0, sizeof(world));
    world.loop = peri_loop_new(true);
    world.shm = peri_shm_create(&(struct peri_shm_options){.workers = 1});
    world.server = (struct peri_server){
        .loop = world.loop,
        .shm = world.shm,
        .dns = (struct peri_dns *)&world,
        .page = peri_shm_metrics(world.shm, 0),
        .pools = peri_pools_new(&(struct peri_pools_options){.loop = world.loop, .connect = refuse}),
        .keeper = peri_keeper_new(world.loop, NULL, world.shm, 0),
    };
    peri_list_init(&world.server.exchanges);
    return 0;
}

static int close_world(void **state)
{
    (void)state;
    if (world.generation)
        stop();
    assert_int_equal(peri_loop_timers(world.loop), 0);
    peri_keeper_free(world.server.keeper);
    peri_pools_free(world.server.pools);
    peri_loop_free(world.loop);
    peri_shm_close(world.shm);
    return 0;
}

// The present endpoints as "address*weight/priority …".
static const char *endpoints(void)
{
    static char text[16384];
    const struct peri_upstream *upstream = world.generation->upstreams[0];
    size_t len = 0;
    text[0] = '\0';
    for (uint32_t i = 0; i < upstream->count; i++) {
        const struct peri_endpoint *endpoint = &upstream->endpoints[i];
        struct peri_slice address = peri_pool_address(endpoint->pool);
        len +=
            (size_t)snprintf(text + len, sizeof(text) - len, "%s%.*s", i > 0 ? " " : "", (int)address.len, address.ptr);
        if (endpoint->weight != 1 || endpoint->priority != 0)
            len += (size_t)snprintf(text + len, sizeof(text) - len, "*%u/%u", endpoint->weight, endpoint->priority);
    }
    return text;
}

// ---- names

static void asks_again_when_the_time_is_over_and_up_to_a_tenth_later(void **state)
{
    (void)state;
    uint64_t least = UINT64_MAX, most = 0;
    start_name();
    assert_int_equal(world.name_count, 1);
    for (int i = 0; i < 200; i++) {
        answer("a", "10.0.0.1", 10000, false);
        uint64_t ms = wait_question(&world.name_count);
        least = ms < least ? ms : least;
        most = ms > most ? ms : most;
    }
    assert_between(least, 10000, 10100);
    assert_between(most, 10900, 11001);
}

static void uses_the_name_until_the_first_answer_and_then_its_addresses(void **state)
{
    (void)state;
    start_name();
    assert_string_equal(endpoints(), "a:80");
    answer("a", "10.0.0.2,10.0.0.1,10.0.0.2", 1000, false);
    assert_string_equal(endpoints(), "10.0.0.1:80 10.0.0.2:80");
    wait_question(&world.name_count);
    answer("a", "10.0.0.3,2001:db8::1", 1000, false);
    assert_string_equal(endpoints(), "10.0.0.3:80");
    wait_question(&world.name_count);
    answer("a", "2001:db8::1", 1000, false);
    assert_string_equal(endpoints(), "[2001:db8::1]:80");
}

static void makes_no_new_set_of_the_same_addresses(void **state)
{
    (void)state;
    start_name();
    answer("a", "10.0.0.1,10.0.0.2", 1000, false);
    const struct peri_upstream *before = world.generation->upstreams[0];
    wait_question(&world.name_count);
    answer("a", "10.0.0.2,10.0.0.1", 1000, false);
    assert_ptr_equal(world.generation->upstreams[0], before);
}

static void keeps_the_endpoints_while_the_servers_fail_or_do_not_know_the_name(void **state)
{
    (void)state;
    start_name();
    answer("a", "", 1000, false); // from the beginning
    assert_string_equal(endpoints(), "a:80");
    assert_between(wait_question(&world.name_count), 1000, 1101);
    answer("a", "10.0.0.1", 1000, false);
    for (int i = 0; i < 5; i++) {
        wait_question(&world.name_count);
        answer("a", i % 2 == 0 ? "10.0.0.9" : "", 1000, true); // the resolver remembers something older, or nothing
        assert_string_equal(endpoints(), "10.0.0.1:80");
    }
    assert_between(wait_question(&world.name_count), 1000, 1101);
    answer("a", "10.0.0.2", 1000, false);
    assert_string_equal(endpoints(), "10.0.0.2:80");
}

static void gives_its_question_up_at_the_end(void **state)
{
    (void)state;
    start_name();
    stop();
    assert_int_equal(world.given_up, 1);
    start_name();
    answer("a", "10.0.0.1", 1000, false);
    peri_discovery_stop_all(world.generation);
    world.name_count = 0;
    peri_loop_advance(world.loop, 60000);
    assert_int_equal(world.name_count, 0);
}

static void frees_a_set_when_nobody_uses_it_any_more(void **state)
{
    (void)state;
    start_name();
    struct peri_forward f = {.upstream = world.generation->upstreams[0]};
    peri_list_append(&world.server.exchanges, &f.link);
    world.generation->upstreams[0]->reaches = 1;
    answer("a", "10.0.0.1", 300000, false);
    peri_loop_advance(world.loop, 10000);
    assert_int_equal(peri_loop_timers(world.loop), 2); // the next look, and the one at the old set
    f.upstream->reaches = 0;
    peri_loop_advance(world.loop, 10000);
    assert_int_equal(peri_loop_timers(world.loop), 2);
    peri_list_remove(&f.link);
    peri_loop_advance(world.loop, 1000);
    assert_int_equal(peri_loop_timers(world.loop), 1);
}

static void counts_requests_to_an_address_through_changes_of_the_set(void **state)
{
    (void)state;
    start_name();
    answer("a", "10.0.0.1,10.0.0.2", 1000, false);
    struct peri_upstream *first = world.generation->upstreams[0];
    first->reaches = 1;
    *first->endpoints[1].active = 2;
    wait_question(&world.name_count);
    answer("a", "10.0.0.2,10.0.0.3", 1000, false);
    struct peri_upstream *second = world.generation->upstreams[0];
    assert_int_equal(*second->endpoints[0].active, 2);
    assert_int_equal(*second->endpoints[1].active, 0);
    ++*second->endpoints[0].active;
    wait_question(&world.name_count);
    answer("a", "10.0.0.9", 1000, false);
    wait_question(&world.name_count); // those in the middle are freed
    answer("a", "10.0.0.2", 300000, false);
    struct peri_upstream *last = world.generation->upstreams[0];
    assert_int_equal(*last->endpoints[0].active, 3);
    --*first->endpoints[1].active;
    first->reaches = 0;
    peri_loop_advance(world.loop, 2000);
    assert_int_equal(*last->endpoints[0].active, 2);
}

static void begins_with_what_the_worker_before_knew(void **state)
{
    (void)state;
    start_name();
    answer("a", "10.0.0.1,10.0.0.2", 1000, false);
    stop();
    start_name();
    assert_string_equal(endpoints(), "10.0.0.1:80 10.0.0.2:80");
    stop();
    start("{\"dns\":\"a:81\",\"host\":\"a\",\"port\":81}", "[{\"address\":\"a:81\"}]"); // another source
    assert_string_equal(endpoints(), "a:81");
}

// ---- scripts

static const char *set(const char *list)
{
    static char problem[128];
    problem[0] = '\0';
    peri_discovery_set(world.generation, PERI_SLICE("u"), peri_slice_from(list), problem, sizeof(problem));
    return problem;
}

static void start_dynamic(void)
{
    start("{\"dynamic\":true}", "[{\"address\":\"a:80\"}]");
}

static void shares_what_a_script_sets_also_when_the_memory_has_lost_it(void **state)
{
    (void)state;
    start_dynamic();
    assert_string_equal(endpoints(), "a:80");
    assert_string_equal(set("[\"10.0.0.1:80\"]"), "");
    stop();
    start_dynamic();
    assert_string_equal(endpoints(), "10.0.0.1:80");
    peri_dict_flush(world.shm, peri_dict_open(world.shm, PERI_SLICE("perigee:endpoints")));
    peri_loop_advance(world.loop, 200);
    stop();
    start_dynamic();
    assert_string_equal(endpoints(), "10.0.0.1:80");
    assert_string_equal(set("[]"), "");
    assert_string_equal(endpoints(), "");
    stop();
    start_dynamic();
    assert_string_equal(endpoints(), "");
}

static void takes_over_what_another_worker_sets(void **state)
{
    (void)state;
    start_dynamic();
    struct peri_generation *other = world.generation;
    start_dynamic(); // as another worker does: over the same memory
    assert_string_equal(set("[\"10.0.0.1:80\"]"), "");
    struct peri_generation *own = world.generation;
    world.generation = other;
    assert_string_equal(endpoints(), "a:80");
    peri_loop_advance(world.loop, 111);
    assert_string_equal(endpoints(), "10.0.0.1:80");
    peri_keeper_set(world.server.keeper, NULL, 0);
    peri_generation_unref(own);
}

static void keeps_to_itself_what_a_generation_sets_that_does_not_serve(void **state)
{
    (void)state;
    start_dynamic();
    world.server.current = NULL;
    assert_string_equal(set("[\"10.0.0.1:80\"]"), "");
    peri_loop_advance(world.loop, 1000);
    assert_string_equal(endpoints(), "10.0.0.1:80");
    stop();
    start_dynamic();
    assert_string_equal(endpoints(), "a:80");
    world.server.current = NULL;
    set("[\"10.0.0.2:80\"]");
    world.server.current = world.generation;
    peri_discovery_switch_all(world.generation);
    stop();
    start_dynamic();
    assert_string_equal(endpoints(), "10.0.0.2:80");
}

// ---- services

static struct peri_dns_service service;

static void add(const char *host, unsigned port, unsigned priority, unsigned weight)
{
    struct peri_dns_target *target = &service.targets[service.count++];
    *target =
        (struct peri_dns_target){.port = (uint16_t)port, .priority = (uint16_t)priority, .weight = (uint16_t)weight};
    snprintf(target->host, sizeof(target->host), "%s", host);
}

static void answer_targets(uint64_t ttl_ms)
{
    service.ttl_ms = ttl_ms;
    world.name_count = 0;
    answer_service(PERI_OK, &service);
}

static int open_service_world(void **state)
{
    service = (struct peri_dns_service){0};
    return open_world(state);
}

static void makes_endpoints_of_targets_with_weights_and_tiers(void **state)
{
    (void)state;
    start_service();
    assert_string_equal(endpoints(), "");
    add("a", 80, 10, 5);
    add("b", 81, 10, 0);
    add("a", 82, 700, 65535);
    answer_targets(60000);
    answer("a", "10.0.0.1,10.0.0.2", 60000, false);
    assert_string_equal(endpoints(), ""); // not before all are known
    answer("b", "2001:db8::1", 60000, false);
    answer("a", "10.0.0.1", 60000, false);
    assert_string_equal(endpoints(), "10.0.0.1:80*5/0 10.0.0.1:82*65535/1 10.0.0.2:80*5/0 [2001:db8::1]:81");
}

static void asks_for_records_and_addresses_when_their_own_time_is_over(void **state)
{
    (void)state;
    start_service();
    add("a", 80, 0, 1);
    answer_targets(10000);
    answer("a", "10.0.0.1", 3000, false);
    for (int i = 0; i < 3; i++) {
        assert_between(wait_question(&world.name_count), 3000, 3301);
        assert_int_equal(world.service_count, 1);
        answer("a", i == 1 ? "10.0.0.2" : "10.0.0.1", 3000, false);
        assert_string_equal(endpoints(), i == 1 ? "10.0.0.2:80" : "10.0.0.1:80");
    }
    assert_between(wait_question(&world.service_count), 1, 1201);
}

static void keeps_the_records_while_the_servers_fail_and_asks_for_the_addresses(void **state)
{
    (void)state;
    start_service();
    answer_service(PERI_ERR_RESOLVE, NULL);
    assert_between(wait_question(&world.service_count), 1000, 1101);
    add("a", 80, 0, 1);
    answer_targets(1000);
    answer("a", "10.0.0.1", 300000, false);
    assert_between(wait_question(&world.service_count), 1000, 1101);
    world.name_count = 0;
    answer_service(PERI_ERR_RESOLVE, NULL);
    answer("a", "10.0.0.2", 300000, true);
    assert_string_equal(endpoints(), "10.0.0.2:80");
    assert_between(wait_question(&world.service_count), 1000, 1101);
}

static void leaves_out_targets_without_an_address_and_keeps_all_when_none_has_one(void **state)
{
    (void)state;
    start_service();
    add("a", 80, 1, 1);
    add("b", 80, 2, 1);
    answer_targets(1000);
    answer("a", "", 1000, false);
    answer("b", "10.0.0.2", 1000, false);
    assert_string_equal(endpoints(), "10.0.0.2:80"); // the first tier that there is
    wait_question(&world.service_count);
    answer_targets(1000);
    answer("b", "", 1000, false);
    answer("a", "", 1000, false);
    assert_string_equal(endpoints(), "10.0.0.2:80");
    wait_question(&world.service_count);
    world.is_busy = true;
    answer_targets(1000);
    assert_string_equal(endpoints(), "10.0.0.2:80");
    assert_between(wait_question(&world.service_count), 1000, 1101);
}

static void has_no_endpoints_where_there_is_no_service(void **state)
{
    (void)state;
    start_service();
    add("a", 80, 0, 1);
    answer_targets(1000);
    answer("a", "10.0.0.1", 1000, false);
    wait_question(&world.service_count);
    service.count = 0;
    answer_targets(1000);
    assert_string_equal(endpoints(), "");
    assert_int_equal(world.name_count, 0);
}

static void keeps_its_tiers_and_endpoints_within_bounds(void **state)
{
    (void)state;
    char many[2048] = "";
    start_service();
    for (unsigned i = 0; i < PERI_DNS_TARGETS; i++)
        add("a", 1 + i, i, 1);
    for (unsigned i = 0; i < PERI_DNS_ADDRESSES; i++)
        snprintf(many + strlen(many), sizeof(many) - strlen(many), "10.0.0.%u,", i);
    answer_targets(60000);
    for (unsigned i = 0; i < PERI_DNS_TARGETS; i++)
        answer("a", many, 60000, false);
    const struct peri_upstream *upstream = world.generation->upstreams[0];
    assert_int_equal(upstream->count, PERI_DNS_TARGETS * (1000 / PERI_DNS_TARGETS));
    assert_int_equal(upstream->tier_count, PERI_PRIORITIES);
}

static void gives_all_its_questions_up_at_the_end(void **state)
{
    (void)state;
    start_service();
    stop();
    assert_int_equal(world.given_up, 1);
    start_service();
    add("a", 80, 0, 1);
    add("b", 80, 0, 1);
    answer_targets(1000);
    stop();
    assert_int_equal(world.given_up, 3);
}

#define NAME_TEST(test) cmocka_unit_test_setup_teardown(test, open_world, close_world)
#define SERVICE_TEST(test) cmocka_unit_test_setup_teardown(test, open_service_world, close_world)

int main(void)
{
    const struct CMUnitTest tests[] = {
        NAME_TEST(asks_again_when_the_time_is_over_and_up_to_a_tenth_later),
        NAME_TEST(uses_the_name_until_the_first_answer_and_then_its_addresses),
        NAME_TEST(makes_no_new_set_of_the_same_addresses),
        NAME_TEST(keeps_the_endpoints_while_the_servers_fail_or_do_not_know_the_name),
        NAME_TEST(gives_its_question_up_at_the_end),
        NAME_TEST(frees_a_set_when_nobody_uses_it_any_more),
        NAME_TEST(counts_requests_to_an_address_through_changes_of_the_set),
        NAME_TEST(begins_with_what_the_worker_before_knew),
        NAME_TEST(shares_what_a_script_sets_also_when_the_memory_has_lost_it),
        NAME_TEST(takes_over_what_another_worker_sets),
        NAME_TEST(keeps_to_itself_what_a_generation_sets_that_does_not_serve),
        SERVICE_TEST(makes_endpoints_of_targets_with_weights_and_tiers),
        SERVICE_TEST(asks_for_records_and_addresses_when_their_own_time_is_over),
        SERVICE_TEST(keeps_the_records_while_the_servers_fail_and_asks_for_the_addresses),
        SERVICE_TEST(leaves_out_targets_without_an_address_and_keeps_all_when_none_has_one),
        SERVICE_TEST(has_no_endpoints_where_there_is_no_service),
        SERVICE_TEST(keeps_its_tiers_and_endpoints_within_bounds),
        SERVICE_TEST(gives_all_its_questions_up_at_the_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
