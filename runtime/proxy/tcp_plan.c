// SPDX-License-Identifier: MIT
// Names are few and connections far between compared with requests: a list will do.
#include "proxy/tcp_plan.h"

#include <stdlib.h>

#include "codec/json.h"
#include "proxy/generation.h"
#include "shared/metrics.h"

// An exact name is longer than any suffix that holds it, so the order of lengths is that of preference.
static int by_length(const void *a, const void *b)
{
    size_t left = ((const struct peri_tcp_name *)a)->name.len, right = ((const struct peri_tcp_name *)b)->name.len;
    return left < right ? 1 : left > right ? -1 : 0;
}

static peri_err_t read_name(struct peri_tcp_plan *plan, struct peri_generation *generation,
                            const struct peri_json *json)
{
    struct peri_slice name = peri_json_get_string(json, "name");
    struct peri_tcp_name *entry = &plan->names[plan->count++];
    if (peri_slice_starts(name, PERI_SLICE("*.")))
        name = peri_slice(name.ptr + 1, name.len - 1);
    entry->name = peri_arena_copy(&generation->arena, name);
    entry->upstream = peri_generation_find_upstream(generation, peri_json_get_string(json, "upstream"));
    if (!entry->name.ptr)
        return PERI_ERR_NOMEM;
    return entry->upstream ? PERI_OK : PERI_ERR_INVALID;
}

// PERI_ERR_INVALID when it names an upstream that is not there.
static peri_err_t read_plan(struct peri_tcp_plan *plan, struct peri_generation *generation, struct peri_shm *shm,
                            const struct peri_json *json)
{
    const struct peri_json *tcp = peri_json_get(json, "tcp");
    const struct peri_json *names = peri_json_get(tcp, "sni");
    struct peri_slice upstream = peri_json_get_string(tcp, "upstream");
    size_t count = peri_json_count(names);
    peri_err_t err = PERI_OK;
    *plan = (struct peri_tcp_plan){
        .address = peri_arena_copy(&generation->arena, peri_json_get_string(json, "address")),
        .names = peri_arena_zalloc(&generation->arena, (count + 1) * sizeof(*plan->names)),
        .upstream = peri_generation_find_upstream(generation, upstream),
        .connect = (int32_t)peri_json_get_integer(tcp, "connect", 0) - 1,
    };
    if (!plan->address.ptr || !plan->names)
        return PERI_ERR_NOMEM;
    if (upstream.len > 0 && !plan->upstream)
        return PERI_ERR_INVALID;
    plan->metrics = peri_metrics_listener(shm, plan->address);
    for (size_t i = 0; i < count && err == PERI_OK; i++)
        err = read_name(plan, generation, peri_json_at(names, i));
    qsort(plan->names, plan->count, sizeof(*plan->names), by_length);
    return err;
}

peri_err_t peri_generation_read_tcp(struct peri_generation *g, struct peri_shm *shm, const struct peri_json *listeners)
{
    size_t count = peri_json_count(listeners);
    g->tcp = peri_arena_zalloc(&g->arena, (count + 1) * sizeof(*g->tcp));
    peri_err_t err = g->tcp ? PERI_OK : PERI_ERR_NOMEM;
    for (size_t i = 0; i < count && err == PERI_OK; i++) {
        const struct peri_json *json = peri_json_at(listeners, i);
        if (peri_json_get(json, "tcp"))
            err = read_plan(&g->tcp[g->tcp_count++], g, shm, json);
    }
    return err;
}

const struct peri_tcp_plan *peri_generation_find_tcp(const struct peri_generation *g, struct peri_slice address)
{
    for (uint32_t i = 0; i < g->tcp_count; i++)
        if (peri_slice_eq(g->tcp[i].address, address))
            return &g->tcp[i];
    return NULL;
}

static bool is_fit(struct peri_slice pattern, struct peri_slice name)
{
    if (pattern.len == 0 || pattern.ptr[0] != '.')
        return peri_slice_eq(pattern, name);
    return name.len > pattern.len && memcmp(name.ptr + name.len - pattern.len, pattern.ptr, pattern.len) == 0;
}

struct peri_upstream *peri_tcp_plan_find(const struct peri_tcp_plan *plan, struct peri_slice server_name)
{
    for (uint32_t i = 0; i < plan->count; i++)
        if (is_fit(plan->names[i].name, server_name))
            return plan->names[i].upstream;
    return plan->upstream;
}
