// SPDX-License-Identifier: MIT
// The change of ticket keys with time: a key that is stolen opens the sessions of a day and a half, not those of the process's
// whole life. One process does it, for all that share the keys.
#ifndef PERI_EVENT_TLS_TICKETS_H
#define PERI_EVENT_TLS_TICKETS_H

#include "event/timer.h"

struct peri_loop;
struct peri_tls_ticket_keys;

#define PERI_TLS_TICKET_KEY_MS (12ull * 3600 * 1000) ///< from one newest key to the next; a session lives for 2 hours

/// Embedded in its owner.
struct peri_tls_ticket_rotation {
    struct peri_timer timer;
    struct peri_loop *loop;
    struct peri_tls_ticket_keys *keys;
};

/// Prepares a rotation that does not run.
void peri_tls_ticket_rotation_init(struct peri_tls_ticket_rotation *rotation);

/// Makes a new newest key every PERI_TLS_TICKET_KEY_MS. `loop` and `keys` (borrowed) stay until the stop.
void peri_tls_ticket_rotation_start(struct peri_tls_ticket_rotation *rotation, struct peri_loop *loop,
                                    struct peri_tls_ticket_keys *keys);

/// Stops; no-op when stopped.
void peri_tls_ticket_rotation_stop(struct peri_tls_ticket_rotation *rotation);

#endif
