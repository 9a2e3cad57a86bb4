// SPDX-License-Identifier: MIT
// After Envoy (source/extensions/health_checkers), with one difference: an answer with another status counts as one failure, as a
// refused connection does.
#include "upstream/health.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/attr.h"
#include "event/tls.h"
#include "upstream/random.h"

#define SETTINGS_MEMORY (8u * 1024 * 1024) ///< of one upstream's addresses and texts

// ---- settings

struct peri_health_settings *peri_health_new(void)
{
    struct peri_health_settings *settings = calloc(1, sizeof(*settings));
    if (!settings)
        return NULL;
    settings->references = 1;
    peri_arena_init(&settings->arena, SETTINGS_MEMORY);
    return settings;
}

struct peri_health_settings *peri_health_ref(struct peri_health_settings *settings)
{
    settings->references++;
    return settings;
}

void peri_health_unref(struct peri_health_settings *settings)
{
    if (!settings || --settings->references > 0)
        return;
    peri_tls_client_unref(settings->pool.tls);
    peri_arena_close(&settings->arena);
    free(settings);
}

void peri_health_expect(struct peri_health_settings *settings, unsigned first, unsigned last)
{
    peri_assert(last < PERI_HEALTH_STATUSES);
    for (unsigned status = first; status <= last; status++)
        settings->expected[status / 8] |= (unsigned char)(1u << status % 8);
}

bool peri_health_is_expected(const struct peri_health_settings *settings, int status)
{
    return status >= 0 && status < PERI_HEALTH_STATUSES && settings->expected[status / 8] & 1u << status % 8;
}

// ---- the state

void peri_health_begin(const struct peri_health_settings *settings, struct peri_endpoint_row *row)
{
    if (settings->begins_unhealthy && row->health.checks == 0)
        __atomic_fetch_or(&row->flags, PERI_ENDPOINT_UNHEALTHY, __ATOMIC_RELEASE);
}

void peri_health_forget(struct peri_endpoint_row *row)
{
    row->health = (struct peri_endpoint_health){0};
    __atomic_fetch_and(&row->flags, ~(uint32_t)PERI_ENDPOINT_UNHEALTHY, __ATOMIC_RELEASE);
}

static enum peri_health_change set_state(struct peri_endpoint_row *row, bool is_healthy, uint64_t now_ms)
{
    row->health.changed_ms = now_ms;
    if (is_healthy) {
        __atomic_fetch_and(&row->flags, ~(uint32_t)PERI_ENDPOINT_UNHEALTHY, __ATOMIC_RELEASE);
        return PERI_HEALTH_UP;
    }
    __atomic_fetch_or(&row->flags, PERI_ENDPOINT_UNHEALTHY, __ATOMIC_RELEASE); // last: the reasons are there
    return PERI_HEALTH_DOWN;
}

enum peri_health_change peri_health_count(const struct peri_health_settings *settings, struct peri_endpoint_row *row,
                                          const struct peri_health_finding *finding, uint64_t now_ms, uint64_t *random)
{
    struct peri_endpoint_health *h = &row->health;
    bool is_first = h->checks == 0;
    bool is_good = finding->result == PERI_HEALTH_SUCCESS;
    bool was_good = !(__atomic_load_n(&row->flags, __ATOMIC_RELAXED) & PERI_ENDPOINT_UNHEALTHY);
    h->successes = is_good ? h->successes + 1 : 0;
    h->failures = is_good ? 0 : h->failures + 1;
    h->checks++;
    h->failed += !is_good;
    h->result = finding->result;
    h->status = finding->status;
    h->checked_ms = now_ms;
    h->next_ms = now_ms + settings->interval_ms + peri_random_below(random, (uint32_t)settings->jitter_ms + 1);
    bool is_enough = is_good ? h->successes >= settings->healthy : h->failures >= settings->unhealthy;
    return is_good != was_good && (is_first || is_enough) ? set_state(row, is_good, now_ms) : PERI_HEALTH_SAME;
}

uint64_t peri_health_wait_ms(const struct peri_health_settings *settings, const struct peri_endpoint_row *row,
                             uint64_t now_ms)
{
    uint64_t most = settings->interval_ms + settings->jitter_ms;
    uint64_t next_ms = row->health.next_ms;
    if (row->health.checks == 0 || next_ms <= now_ms)
        return 0;
    return next_ms - now_ms < most ? next_ms - now_ms : most;
}

void peri_health_describe(const struct peri_endpoint_health *health, char text[PERI_HEALTH_TEXT])
{
    static const char *const texts[] = {
        [PERI_HEALTH_SUCCESS] = "ok",
        [PERI_HEALTH_STATUS] = "http",
        [PERI_HEALTH_GRPC] = "grpc",
        [PERI_HEALTH_NOT_SERVING] = "not serving",
        [PERI_HEALTH_CONNECT] = "connect failed",
        [PERI_HEALTH_TLS] = "tls failed",
        [PERI_HEALTH_TIMEOUT] = "timeout",
        [PERI_HEALTH_BROKEN] = "broken answer",
    };
    uint32_t result = health->result < PERI_COUNT(texts) ? health->result : PERI_HEALTH_BROKEN;
    bool has_status = result == PERI_HEALTH_STATUS || result == PERI_HEALTH_GRPC;
    if (has_status)
        snprintf(text, PERI_HEALTH_TEXT, "%s %d", texts[result], (int)health->status);
    else
        snprintf(text, PERI_HEALTH_TEXT, "%s", texts[result]);
}
