// SPDX-License-Identifier: MIT
// Waits until every upstream of the candidate that is discovered has been looked for once. What is found is discovery's affair.
#include "base/log.h"
#include "proxy/discovery.h"
#include "proxy/server_internal.h"

static bool is_warm(const struct peri_server *server)
{
    return !server->candidate || peri_discovery_is_warm(server->candidate);
}

static void on_warm(struct peri_defer *defer)
{
    struct peri_warm *warm = PERI_CONTAINER(defer, struct peri_warm, done);
    void (*tell)(void *) = warm->on_warm;
    warm->on_warm = NULL;
    peri_timer_stop(&warm->limit);
    tell(warm->data);
}

static void on_limit(struct peri_timer *timer)
{
    struct peri_server *server = PERI_CONTAINER(timer, struct peri_server, warm.limit);
    peri_discovery_end_wait(server->candidate);
    peri_server_check_warm(server);
}

void peri_server_warm_init(struct peri_server *server)
{
    peri_timer_init(&server->warm.limit, on_limit);
    peri_defer_init(&server->warm.done, on_warm);
}

void peri_server_warm(struct peri_server *server, uint64_t ms, void (*on_done)(void *data), void *data)
{
    server->warm.on_warm = on_done;
    server->warm.data = data;
    peri_timer_start(server->loop, &server->warm.limit, ms);
    peri_server_check_warm(server);
}

void peri_server_check_warm(struct peri_server *server)
{
    if (server->warm.on_warm && is_warm(server))
        peri_defer_schedule(server->loop, &server->warm.done);
}

void peri_server_stop_warming(struct peri_server *server)
{
    server->warm.on_warm = NULL;
    peri_timer_stop(&server->warm.limit);
    peri_defer_cancel(&server->warm.done);
}
