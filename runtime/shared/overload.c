// SPDX-License-Identifier: MIT
// Reads the pages of the workers.
#include "shared/overload.h"

#include "base/assert.h"
#include "shared/metrics.h"
#include "shared/segment.h"
#include "shared/text.h"

static const char *const resource_names[PERI_RESOURCES] = {"memory", "connections", "fds"};
static const char *const state_names[PERI_OVERLOAD_STATES] = {"calm", "shedding", "stopped"};

const char *peri_resource_name(enum peri_resource resource)
{
    peri_assert(resource < PERI_RESOURCES);
    return resource_names[resource];
}

const char *peri_overload_state_name(enum peri_overload_state state)
{
    return state < PERI_OVERLOAD_STATES ? state_names[state] : "";
}

static uint64_t load(const uint64_t *value)
{
    return __atomic_load_n(value, __ATOMIC_RELAXED);
}

void peri_overload_read(const struct peri_shm *shm, uint32_t worker, enum peri_resource resource,
                        struct peri_overload_gauge *out)
{
    const struct peri_metrics_page *page = peri_shm_page(shm, worker);
    *out = (struct peri_overload_gauge){0};
    if (!page)
        return;
    const struct peri_overload_gauge *gauge = &page->overload.gauges[resource];
    out->used = load(&gauge->used);
    out->limit = load(&gauge->limit);
    out->state = load(&gauge->state);
    for (unsigned i = 0; i < PERI_OVERLOAD_STATES; i++)
        out->begun[i] = load(&gauge->begun[i]);
}

// ---- Prometheus ----

static uint64_t used_of(const struct peri_overload_gauge *gauge)
{
    return gauge->used;
}

static uint64_t limit_of(const struct peri_overload_gauge *gauge)
{
    return gauge->limit;
}

static uint64_t state_of(const struct peri_overload_gauge *gauge)
{
    return gauge->state;
}

static const struct {
    const char *name;
    const char *help;
    uint64_t (*read)(const struct peri_overload_gauge *gauge);
} gauges[] = {
    {"perigee_overload_used", "What a worker uses of a limited resource (memory in bytes).", used_of},
    {"perigee_overload_limit", "What it may use at most.", limit_of},
    {"perigee_overload_state", "What it does about that: 0 nothing, 1 sheds requests, 2 accepts no connections.",
     state_of},
};

static void put_head(struct peri_text *out, const char *name, const char *type, const char *help)
{
    peri_text_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void write_gauge(const struct peri_shm *shm, struct peri_text *out, unsigned index)
{
    put_head(out, gauges[index].name, "gauge", gauges[index].help);
    for (uint32_t worker = 0; worker < shm->workers; worker++) {
        for (unsigned r = 0; r < PERI_RESOURCES; r++) {
            struct peri_overload_gauge gauge;
            peri_overload_read(shm, worker, (enum peri_resource)r, &gauge);
            if (gauge.limit > 0)
                peri_text_printf(out, "%s{worker=\"%u\",resource=\"%s\"} %llu\n", gauges[index].name, worker,
                                 resource_names[r], (unsigned long long)gauges[index].read(&gauge));
        }
    }
}

static uint64_t sum_begun(const struct peri_shm *shm, enum peri_resource resource, enum peri_overload_state state)
{
    uint64_t sum = 0;
    for (uint32_t worker = 0; worker < shm->workers; worker++) {
        struct peri_overload_gauge gauge;
        peri_overload_read(shm, worker, resource, &gauge);
        sum += gauge.begun[state];
    }
    return sum;
}

static void write_begun(const struct peri_shm *shm, struct peri_text *out)
{
    static const char name[] = "perigee_overload_begun_total";
    put_head(out, name, "counter", "How often workers began to shed requests, or stopped accepting, by resource.");
    for (unsigned r = 0; r < PERI_RESOURCES; r++)
        for (unsigned s = PERI_OVERLOAD_SHEDDING; s < PERI_OVERLOAD_STATES; s++)
            peri_text_printf(out, "%s{resource=\"%s\",state=\"%s\"} %llu\n", name, resource_names[r], state_names[s],
                             (unsigned long long)sum_begun(shm, (enum peri_resource)r, (enum peri_overload_state)s));
}

void peri_overload_write(const struct peri_shm *shm, struct peri_text *out)
{
    uint64_t requests = 0, rests = 0;
    for (uint32_t worker = 0; worker < shm->workers; worker++) {
        const struct peri_metrics_page *page = peri_shm_page(shm, worker);
        requests += page ? load(&page->overload.requests) : 0;
        rests += page ? load(&page->overload.rests) : 0;
    }
    for (unsigned i = 0; i < PERI_COUNT(gauges); i++)
        write_gauge(shm, out, i);
    write_begun(shm, out);
    put_head(out, "perigee_overload_requests_total", "counter", "Requests answered 503 because of an overload.");
    peri_text_printf(out, "perigee_overload_requests_total %llu\n", (unsigned long long)requests);
    put_head(out, "perigee_accept_rests_total", "counter",
             "Times that accepting rested because the system gave no descriptor or memory.");
    peri_text_printf(out, "perigee_accept_rests_total %llu\n", (unsigned long long)rests);
}
