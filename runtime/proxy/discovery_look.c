// SPDX-License-Identifier: MIT
// What all sources do around a look: when the next is due, what became of it, and who waited for the first one.
#include "base/log.h"
#include "event/loop.h"
#include "proxy/discovery_internal.h"
#include "proxy/server_internal.h"
#include "shared/looks.h"
#include "upstream/random.h"
#include "upstream/upstream.h"

#define PLACE_MAX 200 // bytes of where a look was made that are logged

void peri_discovery_count(const struct peri_discovery *d, const char *problem)
{
    const struct peri_upstream *upstream = d->set->upstream;
    enum peri_look_result good = upstream->count > 0 ? PERI_LOOK_SUCCESS : PERI_LOOK_EMPTY;
    peri_look_count(d->page, upstream->metrics, problem ? PERI_LOOK_FAILURE : good, problem,
                    peri_loop_now_ms(d->generation->server->loop));
}

void peri_discovery_note(struct peri_discovery *d, const char *problem)
{
    const struct peri_slice name = d->set->upstream->name;
    int place = (int)(d->place.len < PLACE_MAX ? d->place.len : PLACE_MAX);
    peri_discovery_count(d, problem);
    if (problem && !d->is_failing)
        peri_warn("upstream %.*s: %.*s%s%s; the endpoints stay as they are", (int)name.len, name.ptr, place,
                  d->place.ptr, place > 0 ? ": " : "", problem);
    else if (!problem && d->is_failing)
        peri_info("upstream %.*s: the endpoints can be found again", (int)name.len, name.ptr);
    d->is_failing = problem != NULL;
    d->has_looked = true;
    peri_server_check_warm(d->generation->server);
}

void peri_discovery_look_in(struct peri_discovery *d, uint64_t ms)
{
    uint32_t spread = (uint32_t)(ms / 10 < 60000 ? ms / 10 : 60000) + 1;
    peri_timer_start(d->generation->server->loop, &d->look, ms + peri_random_below(&d->random, spread));
}

// ---- the first one

static bool is_warm(const struct peri_discovery *d)
{
    return d->has_looked || d->set->text;
}

bool peri_discovery_is_warm(const struct peri_generation *generation)
{
    const struct peri_discovery *d = generation->discoveries;
    while (d && is_warm(d))
        d = d->next;
    return !d;
}

void peri_discovery_end_wait(struct peri_generation *generation)
{
    for (struct peri_discovery *d = generation->discoveries; d; d = d->next) {
        const struct peri_slice name = d->set->upstream->name;
        if (!is_warm(d))
            peri_warn("upstream %.*s: no answer yet for its endpoints; nobody waits for it any longer", (int)name.len,
                      name.ptr);
        d->has_looked = true;
    }
}
