// SPDX-License-Identifier: MIT
// The transaction's states and the workers that are waited for.
#include "app/reload.h"

#include <stdlib.h>
#include <string.h>

#include "app/errors.h"
#include "base/assert.h"
#include "base/log.h"

// The transitions of the diagram.
#define TO(state) (1u << (state))
static const unsigned legal[PERI_RELOADING_COUNT] = {
    [PERI_RELOADING_IDLE] = TO(PERI_RELOADING_CHECKING),
    [PERI_RELOADING_CHECKING] = TO(PERI_RELOADING_BUILDING) | TO(PERI_RELOADING_IDLE),
    [PERI_RELOADING_BUILDING] = TO(PERI_RELOADING_CANARY) | TO(PERI_RELOADING_SWITCHING) | TO(PERI_RELOADING_IDLE),
    [PERI_RELOADING_CANARY] = TO(PERI_RELOADING_SWITCHING) | TO(PERI_RELOADING_IDLE),
    [PERI_RELOADING_SWITCHING] = TO(PERI_RELOADING_IDLE),
};

static const char *const names[PERI_RELOADING_COUNT] = {"idle", "checking", "building", "canary", "switching"};

static void set_state(struct peri_reload *reload, enum peri_reload_state state)
{
    peri_assert(legal[reload->state] & TO(state));
    peri_debug("reload: %s -> %s", names[reload->state], names[state]);
    reload->state = state;
}

static void finish(struct peri_reload *reload, enum peri_reload_result result, const char *errors)
{
    peri_timer_stop(&reload->timer);
    set_state(reload, PERI_RELOADING_IDLE);
    reload->ops->done(reload->data, result, errors);
}

// Gives the candidate up because of `errors`.
static void abandon(struct peri_reload *reload, enum peri_reload_result result, const char *errors)
{
    reload->ops->discard(reload->data);
    finish(reload, result, errors);
}

static void abandon_because(struct peri_reload *reload, char *errors)
{
    abandon(reload, PERI_RELOAD_FAILED, errors ? errors : "[]");
    free(errors);
}

// Every member is waited for from now on, for the time of one stage.
static void begin_waiting(struct peri_reload *reload)
{
    memcpy(reload->waits, reload->members, sizeof(reload->waits));
    peri_timer_start(reload->loop, &reload->timer, PERI_RELOAD_STAGE_MS);
}

static bool is_waiting(const struct peri_reload *reload)
{
    return memchr(reload->waits, true, sizeof(reload->waits)) != NULL;
}

static void finish_switching(struct peri_reload *reload)
{
    if (!is_waiting(reload))
        finish(reload, reload->is_rollback ? PERI_RELOAD_ROLLBACK : PERI_RELOAD_OK, NULL);
}

static void begin_switching(struct peri_reload *reload)
{
    set_state(reload, PERI_RELOADING_SWITCHING);
    begin_waiting(reload);
    reload->ops->commit(reload->data);
    finish_switching(reload);
}

static void begin_canary(struct peri_reload *reload)
{
    set_state(reload, PERI_RELOADING_CANARY);
    peri_timer_start(reload->loop, &reload->timer, PERI_RELOAD_CANARY_MS);
}

// Goes on when nobody is waited for any more.
static void advance(struct peri_reload *reload)
{
    if (is_waiting(reload))
        return;
    if (reload->state == PERI_RELOADING_SWITCHING)
        finish_switching(reload);
    else if (!reload->is_rollback && reload->ops->canary(reload->data))
        begin_canary(reload);
    else
        begin_switching(reload);
}

static void begin_building(struct peri_reload *reload)
{
    set_state(reload, PERI_RELOADING_BUILDING);
    memset(reload->members, 0, sizeof(reload->members));
    reload->ops->build(reload->data, reload->members);
    begin_waiting(reload);
    advance(reload);
}

static void kill_late(struct peri_reload *reload)
{
    for (uint32_t i = 0; i < PERI_SHM_WORKERS_MAX; i++)
        if (reload->waits[i])
            reload->ops->kill(reload->data, i);
}

static void ask_about_canary(struct peri_reload *reload)
{
    char *errors = NULL;
    enum peri_canary_verdict verdict = PERI_CANARY_GIVE_UP;
    if (reload->is_stopped)
        errors = peri_errors_new(NULL, "a rollback was asked for while it was tried");
    else
        verdict = reload->ops->judge(reload->data, &errors);
    if (verdict == PERI_CANARY_GO_ON)
        peri_timer_start(reload->loop, &reload->timer, PERI_RELOAD_CANARY_MS);
    else if (verdict == PERI_CANARY_PROMOTE)
        begin_switching(reload);
    else
        abandon(reload, PERI_RELOAD_CANARY_ROLLED_BACK, errors ? errors : "[]");
    free(errors);
}

static void on_late(struct peri_timer *timer)
{
    struct peri_reload *reload = PERI_CONTAINER(timer, struct peri_reload, timer);
    if (reload->state == PERI_RELOADING_CANARY)
        ask_about_canary(reload);
    else if (reload->state == PERI_RELOADING_SWITCHING)
        kill_late(reload); // each is told as lost
    else
        abandon_because(reload, peri_errors_new(NULL, "a worker did not build the new generation within %d ms",
                                                PERI_RELOAD_STAGE_MS));
}

void peri_reload_init(struct peri_reload *reload, struct peri_loop *loop, const struct peri_reload_ops *ops, void *data)
{
    *reload = (struct peri_reload){.loop = loop, .ops = ops, .data = data};
    peri_timer_init(&reload->timer, on_late);
}

void peri_reload_close(struct peri_reload *reload)
{
    peri_timer_stop(&reload->timer);
    reload->state = PERI_RELOADING_IDLE;
}

bool peri_reload_is_busy(const struct peri_reload *reload)
{
    return reload->state != PERI_RELOADING_IDLE;
}

bool peri_reload_start(struct peri_reload *reload, bool is_rollback)
{
    if (peri_reload_is_busy(reload))
        return false;
    if (!reload->ops->check(reload->data, is_rollback))
        return false;
    reload->is_rollback = is_rollback;
    reload->is_stopped = false;
    set_state(reload, PERI_RELOADING_CHECKING);
    return true;
}

void peri_reload_checked(struct peri_reload *reload, char *errors)
{
    peri_assert(reload->state == PERI_RELOADING_CHECKING);
    if (errors)
        abandon(reload, PERI_RELOAD_REFUSED, errors);
    else
        begin_building(reload);
    free(errors);
}

void peri_reload_built(struct peri_reload *reload, uint32_t worker, const char *errors)
{
    peri_assert(worker < PERI_SHM_WORKERS_MAX);
    bool is_late = reload->state == PERI_RELOADING_CANARY && reload->members[worker];
    bool is_waited = reload->state == PERI_RELOADING_BUILDING && reload->waits[worker];
    if (!is_waited && !(is_late && errors))
        return;
    if (errors) {
        abandon(reload, PERI_RELOAD_REFUSED, errors);
        return;
    }
    reload->waits[worker] = false;
    advance(reload);
}

void peri_reload_switched(struct peri_reload *reload, uint32_t worker)
{
    peri_assert(worker < PERI_SHM_WORKERS_MAX);
    if (reload->state != PERI_RELOADING_SWITCHING || !reload->waits[worker])
        return;
    reload->waits[worker] = false;
    advance(reload);
}

void peri_reload_joined(struct peri_reload *reload, uint32_t worker)
{
    peri_assert(worker < PERI_SHM_WORKERS_MAX && reload->state == PERI_RELOADING_CANARY);
    reload->members[worker] = true;
}

void peri_reload_stop(struct peri_reload *reload)
{
    peri_assert(reload->state == PERI_RELOADING_CANARY);
    reload->is_stopped = true;
    peri_timer_start(reload->loop, &reload->timer, 0);
}

void peri_reload_lost(struct peri_reload *reload, uint32_t worker)
{
    peri_assert(worker < PERI_SHM_WORKERS_MAX);
    bool was_member = reload->members[worker];
    reload->members[worker] = reload->waits[worker] = false;
    if (reload->state == PERI_RELOADING_BUILDING && was_member)
        abandon_because(reload, peri_errors_new(NULL, "worker %u ended while it built the new generation", worker));
    else if (reload->state == PERI_RELOADING_SWITCHING && was_member)
        advance(reload);
}

const char *peri_reload_state_name(enum peri_reload_state state)
{
    peri_assert((unsigned)state < PERI_RELOADING_COUNT);
    return names[state];
}
