// SPDX-License-Identifier: MIT
// Explanations: a worker that serves is asked, and whoever waits is told what it answers, or that it does not.
#include "app/link.h"
#include "app/supervisor_internal.h"
#include "app/workers.h"
#include "proxy/explain.h"

#define ANSWER_MS (PERI_EXPLAIN_MS + 5000) ///< a worker that is silent for longer does not answer

static void tell(struct peri_explain_waiter *waiter, struct peri_slice answer)
{
    peri_supervisor_forget_explain(waiter);
    waiter->on_done(waiter, answer);
}

static void on_silence(struct peri_timer *timer)
{
    tell(PERI_CONTAINER(timer, struct peri_explain_waiter, timer), peri_slice(NULL, 0));
}

peri_err_t peri_supervisor_explain(struct peri_supervisor *supervisor, struct peri_slice request,
                                   struct peri_explain_waiter *waiter)
{
    struct peri_link *link =
        supervisor->state == PERI_SUPERVISOR_SERVING ? peri_workers_serving(supervisor->workers) : NULL;
    if (!link)
        return PERI_ERR_DRAINING;
    waiter->id = ++supervisor->admin.explanations.last_id;
    waiter->worker = link->index;
    peri_timer_init(&waiter->timer, on_silence);
    peri_timer_start(supervisor->loop, &waiter->timer, ANSWER_MS);
    peri_list_append(&supervisor->admin.explanations.waiters, &waiter->link);
    link->ops->explain(link, waiter->id, request);
    return PERI_OK;
}

void peri_supervisor_forget_explain(struct peri_explain_waiter *waiter)
{
    peri_timer_stop(&waiter->timer);
    peri_list_remove(&waiter->link);
}

void peri_supervisor_explained(struct peri_supervisor *supervisor, uint64_t id, struct peri_slice answer)
{
    for (struct peri_list *link = supervisor->admin.explanations.waiters.next;
         link != &supervisor->admin.explanations.waiters; link = link->next) {
        struct peri_explain_waiter *waiter = PERI_LIST_ITEM(link, struct peri_explain_waiter, link);
        if (waiter->id != id)
            continue;
        tell(waiter, answer);
        return;
    }
}

void peri_supervisor_unexplained(struct peri_supervisor *supervisor, uint32_t worker)
{
    struct peri_list *link = supervisor->admin.explanations.waiters.next;
    while (link != &supervisor->admin.explanations.waiters) {
        struct peri_explain_waiter *waiter = PERI_LIST_ITEM(link, struct peri_explain_waiter, link);
        link = link->next;
        if (waiter->worker == worker)
            tell(waiter, peri_slice(NULL, 0));
    }
}
