// SPDX-License-Identifier: MIT
// Two streams joined: what one side sends goes to the other, as it comes and unread. A side that takes nothing stops the other
// (PERI_STREAM_HIGH bytes wait at most, and the last read); the end of one direction passes through and leaves the other open; a
// side that breaks off resets the other, so that nobody takes a torn stream for a whole one. Knows only streams.
#ifndef PERI_PROXY_RELAY_H
#define PERI_PROXY_RELAY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/slice.h"
#include "event/timer.h"

struct peri_loop;
struct peri_relay;
struct peri_stream;

/// The sides, as indices.
enum { PERI_RELAY_CLIENT, PERI_RELAY_UPSTREAM };

struct peri_relay_side {
    struct peri_stream *stream; ///< owned; NULL once it is closed
    uint64_t bytes;             ///< that came from it
    uint64_t *count;            ///< likewise, added to as they come; borrowed for ever, NULL for none
    bool has_end;               ///< it sends nothing any more
    bool is_stopped;            ///< it is not read, because the other side is slow
};

/// What a relay tells its owner, from the loop, never from inside a call of this module.
struct peri_relay_events {
    /// It is decided how it ends: PERI_OK when both sides ended, PERI_ERR_CLIENT_GONE or PERI_ERR_UPSTREAM_RESET when one broke,
    /// PERI_ERR_IDLE_TIMEOUT. What is on its way to a side may still be sent. Once, but not after peri_relay_close.
    void (*on_over)(struct peri_relay *relay, peri_err_t err);
    /// The stream of `side` is closed: from its on_close.
    void (*on_closed)(struct peri_relay *relay, int side);
};

/// Embedded in its owner, which keeps it until both streams are closed.
struct peri_relay {
    struct peri_relay_side sides[2];
    const struct peri_relay_events *events;
    struct peri_loop *loop;
    struct peri_timer idle;
    uint64_t idle_ms;
    bool is_over;
};

/// Joins `client` and `upstream` (taken), which do not read yet. Without a byte in either direction for `idle_ms` (0: no limit) both
/// are reset. `relay` is zero, but for the `count`s of its sides.
void peri_relay_start(struct peri_relay *relay, struct peri_loop *loop, const struct peri_relay_events *events,
                      struct peri_stream *client, struct peri_stream *upstream, uint64_t idle_ms);

/// Passes bytes of `side` on that were read before the relay began; borrowed for the call.
void peri_relay_put(struct peri_relay *relay, int side, struct peri_slice data);

/// Resets both streams; only on_closed follows. No-op for those that are closed.
void peri_relay_close(struct peri_relay *relay);

#endif
