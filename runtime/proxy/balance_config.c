// SPDX-License-Identifier: MIT
// The Lua side has validated everything; numbers that are missing have the balancers' defaults.
#include "proxy/balance_config.h"

#include "base/arena.h"
#include "codec/digest.h"
#include "codec/json.h"
#include "shared/shm.h"
#include "upstream/upstream.h"

#define TOKEN_BYTES 16

const struct peri_labels *peri_labels_read(const struct peri_json *json, struct peri_arena *arena)
{
    size_t count = peri_json_count(json);
    struct peri_labels *labels = count > 0 ? peri_arena_zalloc(arena, sizeof(*labels)) : NULL;
    struct peri_label *items = labels ? peri_arena_zalloc(arena, count * sizeof(*items)) : NULL;
    const struct peri_json *value;
    struct peri_slice name;
    if (!items)
        return NULL;
    labels->items = items;
    for (void *cursor = NULL; peri_json_next(json, &cursor, &name, &value);)
        items[labels->count++] = (struct peri_label){
            .name = peri_arena_copy(arena, name),
            .value = peri_arena_copy(arena, peri_json_string(value)),
        };
    return labels;
}

// ---- endpoints ----

// Says nothing of the address to who does not know the secret, and is the same in all workers and generations.
static struct peri_slice make_token(const struct peri_upstream *upstream, const struct peri_endpoint *endpoint,
                                    struct peri_arena *arena, const struct peri_shm *shm)
{
    unsigned char digest[PERI_DIGEST_SIZE];
    char text[PERI_DIGEST_TEXT + 1];
    struct peri_slice address = peri_pool_address(endpoint->pool);
    struct peri_slice name = peri_arena_printf(arena, "sticky %.*s %.*s", (int)upstream->name.len, upstream->name.ptr,
                                               (int)address.len, address.ptr);
    if (!name.ptr || peri_digest_hmac(peri_shm_secret(shm), name, digest) != PERI_OK)
        return peri_slice(NULL, 0);
    peri_digest_format(digest, text);
    return peri_arena_copy(arena, peri_slice(text, 2 * (size_t)TOKEN_BYTES));
}

// The number of a zone; new ones are added.
static uint32_t number_zone(struct peri_balance *balance, struct peri_slice *zones, struct peri_slice name)
{
    uint32_t i = 0;
    while (i < balance->zone_count && !peri_slice_eq(zones[i], name))
        i++;
    if (i == balance->zone_count)
        zones[balance->zone_count++] = name;
    return i;
}

static peri_err_t read_endpoint(struct peri_endpoint *endpoint, const struct peri_json *json, struct peri_arena *arena)
{
    const struct peri_json *labels = peri_json_get(json, "labels");
    const struct peri_labels *list = peri_labels_read(labels, arena);
    if (peri_json_count(labels) > 0 && !list)
        return PERI_ERR_NOMEM;
    if (list)
        endpoint->labels = *list;
    endpoint->priority = (uint32_t)peri_json_get_integer(json, "priority", 0);
    if (endpoint->priority >= PERI_PRIORITIES)
        return PERI_ERR_INVALID;
    endpoint->token = peri_arena_copy(arena, peri_json_get_string(json, "token"));
    return PERI_OK;
}

static peri_err_t read_endpoints(struct peri_upstream *upstream, const struct peri_json *json, struct peri_arena *arena)
{
    struct peri_slice zones[PERI_ZONES], own = peri_json_get_string(json, "zone");
    struct peri_balance *balance = &upstream->balance;
    const struct peri_json *endpoints = peri_json_get(json, "endpoints");
    peri_err_t err = PERI_OK;
    for (uint32_t i = 0; i < upstream->count && err == PERI_OK; i++) {
        const struct peri_json *item = peri_json_at(endpoints, i);
        struct peri_slice zone = peri_json_get_string(item, "zone");
        if (zone.len > 0 && balance->zone_count < PERI_ZONES)
            upstream->endpoints[i].zone = number_zone(balance, zones, zone);
        err = read_endpoint(&upstream->endpoints[i], item, arena);
    }
    for (uint32_t i = 0; i < balance->zone_count; i++)
        if (own.len > 0 && peri_slice_eq(zones[i], own))
            balance->zone = i;
    return err;
}

// ---- the balance ----

static struct peri_key_source read_key(const struct peri_json *by, struct peri_arena *arena)
{
    static const struct {
        struct peri_slice name;
        enum peri_key_kind kind;
    } kinds[] = {
        {PERI_SLICE("header"), PERI_KEY_HEADER},
        {PERI_SLICE("cookie"), PERI_KEY_COOKIE},
        {PERI_SLICE("client"), PERI_KEY_CLIENT},
        {PERI_SLICE("path"), PERI_KEY_PATH},
    };
    struct peri_key_source source = {.name = peri_arena_copy(arena, peri_json_get_string(by, "name"))};
    for (unsigned i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
        if (peri_slice_eq(peri_json_get_string(by, "kind"), kinds[i].name))
            source.kind = kinds[i].kind;
    return source;
}

static void read_settings(struct peri_balancer_settings *settings, const struct peri_json *json)
{
    settings->ring_min = (uint32_t)peri_json_get_integer(json, "ring_min", settings->ring_min);
    settings->ring_max = (uint32_t)peri_json_get_integer(json, "ring_max", settings->ring_max);
    settings->table_size = (uint32_t)peri_json_get_integer(json, "table_size", settings->table_size);
    settings->load_bound = (uint32_t)peri_json_get_integer(json, "load_bound", 0);
    int64_t decay_ms = peri_json_get_integer(json, "decay_ms", 0);
    int64_t rtt_ms = peri_json_get_integer(json, "default_rtt_ms", 0);
    if (decay_ms > 0)
        settings->ewma_decay_ns = (uint64_t)decay_ms * 1000000;
    if (rtt_ms > 0)
        settings->ewma_default_ns = (uint64_t)rtt_ms * 1000000;
}

static peri_err_t read_sticky(struct peri_upstream *upstream, const struct peri_json *json, struct peri_arena *arena,
                              const struct peri_shm *shm)
{
    struct peri_slice cookie = peri_json_get_string(json, "cookie");
    upstream->balance.cookie = peri_arena_copy(arena, cookie);
    upstream->balance.cookie_s = (uint64_t)peri_json_get_integer(json, "ttl_s", 0);
    for (uint32_t i = 0; i < upstream->count && cookie.len > 0; i++) {
        struct peri_endpoint *endpoint = &upstream->endpoints[i];
        if (endpoint->token.len == 0)
            endpoint->token = make_token(upstream, endpoint, arena, shm);
        if (endpoint->token.len == 0)
            return PERI_ERR_NOMEM;
    }
    return PERI_OK;
}

peri_err_t peri_balance_read(struct peri_upstream *upstream, const struct peri_json *json, struct peri_arena *arena,
                             const struct peri_shm *shm)
{
    const struct peri_json *balancer = peri_json_get(json, "balancer");
    struct peri_balance *balance = &upstream->balance;
    const struct peri_balancer_type *type = peri_balancer_find(peri_json_get_string(balancer, "type"));
    if (type)
        balance->type = type;
    balance->has_function = peri_slice_eq(peri_json_get_string(json, "balance"), PERI_SLICE("lua"));
    balance->key = read_key(peri_json_get(balancer, "by"), arena);
    balance->panic_percent = (uint32_t)peri_json_get_integer(json, "panic_threshold", balance->panic_percent);
    balance->slow_start_ms = (uint64_t)peri_json_get_integer(json, "slow_start_ms", 0);
    read_settings(&balance->settings, balancer);
    peri_err_t err = read_endpoints(upstream, json, arena);
    if (err == PERI_OK)
        err = read_sticky(upstream, balancer, arena, shm);
    return err == PERI_OK ? peri_upstream_seal(upstream) : err;
}
