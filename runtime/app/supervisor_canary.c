// SPDX-License-Identifier: MIT
// The canary of a reload: every worker has built the candidate and sends it a share of the exchanges; the supervisor reads
// what they count, and asks canary_judge.c what to make of it.
#include <stdio.h>

#include "app/config.h"
#include "app/errors.h"
#include "app/link.h"
#include "app/supervisor_internal.h"
#include "app/workers.h"
#include "base/assert.h"
#include "base/log.h"

static void order_one(void *data, struct peri_link *link)
{
    const struct peri_edition *edition = data;
    link->ops->canary(link, edition->number, edition->config->reload.canary);
}

static void log_begin(const struct peri_supervisor *supervisor)
{
    const struct peri_edition *edition = supervisor->candidate;
    peri_info("canary: generation %llu gets %g %% of the exchanges for %llu ms", (unsigned long long)edition->number,
              edition->config->reload.canary / 10000.0, (unsigned long long)edition->config->reload.window_ms);
}

bool peri_supervisor_canary(void *data)
{
    struct peri_supervisor *supervisor = data;
    struct peri_edition *edition = supervisor->candidate;
    if (edition->config->reload.canary == 0)
        return false;
    supervisor->canary.began_ms = peri_loop_now_ms(supervisor->loop);
    supervisor->canary.deaths = 0;
    peri_chronicle_set(&supervisor->chronicle, supervisor->entry, PERI_CHRONICLE_CANARY, NULL);
    peri_workers_each(supervisor->workers, order_one, edition);
    peri_workers_hold(supervisor->workers, false);
    log_begin(supervisor);
    peri_supervisor_tell_canary(supervisor);
    return true;
}

void peri_supervisor_join_canary(struct peri_supervisor *supervisor, struct peri_link *link)
{
    struct peri_edition *edition = supervisor->candidate;
    if (supervisor->reload.state != PERI_RELOADING_CANARY || !edition)
        return;
    link->ops->build(link, edition->number, edition->snapshot);
    order_one(edition, link);
    peri_reload_joined(&supervisor->reload, link->index);
}

bool peri_supervisor_canary_case(const struct peri_supervisor *supervisor, struct peri_canary_case *c)
{
    if (supervisor->reload.state != PERI_RELOADING_CANARY || !supervisor->candidate)
        return false; // none, or given up because the process ends
    const struct peri_config_reload *wanted = &supervisor->candidate->config->reload;
    *c = (struct peri_canary_case){
        .serving = peri_history_current(&supervisor->history)->number,
        .deaths = supervisor->canary.deaths,
        .max_errors = wanted->max_errors,
        .max_slowdown = wanted->max_slowdown,
        .is_over = peri_loop_now_ms(supervisor->loop) - supervisor->canary.began_ms >= wanted->window_ms,
    };
    peri_canary_sum(supervisor->shm, supervisor->candidate->number, &c->counts);
    return true;
}

enum peri_canary_verdict peri_supervisor_judge_canary(void *data, char **errors)
{
    struct peri_supervisor *supervisor = data;
    struct peri_canary_case c;
    char reason[512];
    bool is_on = peri_supervisor_canary_case(supervisor, &c);
    peri_assert(is_on);
    enum peri_canary_verdict verdict = peri_canary_judge(&c, reason, sizeof(reason));
    if (verdict == PERI_CANARY_GIVE_UP)
        *errors = peri_errors_new(NULL, "%s", reason);
    return verdict;
}

const struct peri_edition *peri_supervisor_candidate(const struct peri_supervisor *supervisor)
{
    return supervisor->candidate;
}

uint64_t peri_supervisor_canary_ms(const struct peri_supervisor *supervisor)
{
    return peri_loop_now_ms(supervisor->loop) - supervisor->canary.began_ms;
}
