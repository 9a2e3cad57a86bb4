// SPDX-License-Identifier: MIT
// Opens before a reload, closes after it.
#include "app/listeners.h"

#include <stdio.h>

#include "app/errors.h"
#include "app/listening.h"
#include "base/assert.h"

static struct peri_listening *find(const struct peri_listeners *listeners, struct peri_slice address)
{
    for (uint32_t i = 0; i < listeners->count; i++)
        if (peri_slice_eq(peri_listening_address(listeners->items[i]), address))
            return listeners->items[i];
    return NULL;
}

char *peri_listeners_open(struct peri_listeners *listeners, const struct peri_config *config)
{
    char path[64], message[512];
    for (uint32_t i = 0; i < config->listener_count; i++) {
        struct peri_listening *listening;
        if (find(listeners, config->listeners[i]))
            continue;
        peri_assert(listeners->count < PERI_COUNT(listeners->items));
        if (peri_listening_open(config->listeners[i], listeners->workers, 0, &listening, message, sizeof(message))) {
            snprintf(path, sizeof(path), "listeners[%u].address", i + 1);
            return peri_errors_new(path, "%s", message);
        }
        listeners->items[listeners->count++] = listening;
    }
    return NULL;
}

void peri_listeners_keep(struct peri_listeners *listeners, const struct peri_config *config)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < listeners->count; i++) {
        struct peri_listening *listening = listeners->items[i];
        if (config && peri_config_has_listener(config, peri_listening_address(listening)))
            listeners->items[kept++] = listening;
        else
            peri_listening_close(listening);
    }
    listeners->count = kept;
}

void peri_listeners_fds(const struct peri_listeners *listeners, uint32_t worker, const struct peri_slice *addresses,
                        uint32_t count, int *fds)
{
    for (uint32_t i = 0; i < count; i++) {
        const struct peri_listening *listening = find(listeners, addresses[i]);
        peri_assert(listening);
        fds[i] = peri_listening_fd(listening, worker);
    }
}
