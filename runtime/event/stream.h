// SPDX-License-Identifier: MIT
// A two-way stream of bytes over TCP, a unix socket or memory. Reads are delivered from one buffer of the loop; small writes
// are corked and leave in one system call at the end of the turn; what the kernel does not take is queued, and the queue
// tells its owner when it is high and when it has drained. Knows nothing of what the bytes mean.
#ifndef PERI_EVENT_STREAM_H
#define PERI_EVENT_STREAM_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/list.h"
#include "base/slice.h"

struct peri_loop;
struct peri_stream;
struct sockaddr;

#define PERI_STREAM_HIGH (64 * 1024) ///< bytes pending at which a writer should stop
#define PERI_STREAM_LOW (16 * 1024)  ///< bytes pending at which on_drain is called

/// What a stream tells its owner; all run from the loop, never from inside a call of this module.
struct peri_stream_events {
    /// The connection is established (PERI_OK) or failed (PERI_ERR_CONNECT, PERI_ERR_OVERLOADED); only after a connect.
    void (*on_connect)(struct peri_stream *stream, peri_err_t err);
    /// Bytes arrived, borrowed for the call.
    void (*on_read)(struct peri_stream *stream, struct peri_slice data);
    /// The peer ended its direction (PERI_OK) or the stream broke (PERI_ERR_CLOSED). No on_read follows. A stream may break
    /// after its peer's end: then a second call, with the error, is the last.
    void (*on_end)(struct peri_stream *stream, peri_err_t err);
    /// Pending bytes fell to PERI_STREAM_LOW after having been at PERI_STREAM_HIGH.
    void (*on_drain)(struct peri_stream *stream);
    /// The stream is closed; its memory may go. Last call.
    void (*on_close)(struct peri_stream *stream);
};

/// A TCP connection to `address`. on_connect tells the outcome. NULL with *err when it cannot even begin: PERI_ERR_OVERLOADED without
/// memory or descriptors of our own, PERI_ERR_CONNECT.
struct peri_stream *peri_stream_connect_tcp(struct peri_loop *loop, const struct sockaddr *address,
                                            const struct peri_stream_events *events, void *data, peri_err_t *err);

/// A connection to the unix socket at `path` (NUL-terminated); as peri_stream_connect_tcp.
struct peri_stream *peri_stream_connect_unix(struct peri_loop *loop, const char *path,
                                             const struct peri_stream_events *events, void *data, peri_err_t *err);

/// What a function that connects in memory gives for a peer that neither accepts nor refuses. No stream.
#define PERI_STREAM_SILENCE ((struct peri_stream *)(uintptr_t)1)

/// Two memory streams joined back to back. False when out of memory.
bool peri_stream_open_pair(struct peri_loop *loop, struct peri_stream *pair[2]);

/// Tells the owner of one of a pair from the loop that it is connected, as it happens with a socket.
void peri_stream_announce(struct peri_stream *stream);

/// Bytes that a memory stream has sent and its peer has not read.
size_t peri_stream_unread(const struct peri_stream *stream);

/// Gives the stream (accepted or one of a pair) its owner.
void peri_stream_set_owner(struct peri_stream *stream, const struct peri_stream_events *events, void *data);

/// Gives the owner bytes that an earlier one had read, as if they had just arrived: from inside that one's on_read, as the last
/// thing it does. `data` is borrowed for the call.
void peri_stream_hand_on(struct peri_stream *stream, struct peri_slice data);

/// The owner's pointer.
void *peri_stream_data(const struct peri_stream *stream);

/// Starts / stops delivering what arrives. Stopping and starting again costs system calls: only under back-pressure.
void peri_stream_read_start(struct peri_stream *stream);
void peri_stream_read_stop(struct peri_stream *stream);

/// Writes a copy or the bytes themselves; after the call `data` is no longer needed. Small data waits for the end of the turn.
/// Never fails at once: a broken stream reports on_end. PERI_ERR_NOMEM when the queue cannot grow; the stream is broken then.
peri_err_t peri_stream_write(struct peri_stream *stream, struct peri_slice data);

/// Room for `len` bytes (at most PERI_STREAM_RESERVE) in the cork buffer, to be filled and committed before any other call
/// on the stream; NULL when the queue must be used instead (the peer is slow) or memory is out.
char *peri_stream_reserve(struct peri_stream *stream, size_t len);
#define PERI_STREAM_RESERVE 8192

/// Says that `len` of the reserved bytes were filled.
void peri_stream_commit(struct peri_stream *stream, size_t len);

/// Bytes written but not yet taken by the kernel (or the memory peer).
size_t peri_stream_pending(const struct peri_stream *stream);

/// Sends what is corked now.
void peri_stream_flush(struct peri_stream *stream);

/// Ends our direction after everything pending was sent.
void peri_stream_shutdown(struct peri_stream *stream);

/// Closes at once, dropping what is pending; on_close follows. May be called twice.
void peri_stream_close(struct peri_stream *stream);

/// Closes at once so that the peer sees an error, not an end (TCP RST); for a response that only the end of the connection ends.
void peri_stream_reset(struct peri_stream *stream);

/// Closes when everything pending was sent, or after `max_ms`. With `waits_for_peer` our direction is ended first and what the
/// peer still sends is read and dropped until it ends its own, so that a last response is not lost to a reset (RFC 9112 9.6).
void peri_stream_close_gently(struct peri_stream *stream, uint64_t max_ms, bool waits_for_peer);

/// Text form of the peer's address, NUL-terminated ("unix", "memory" where there is none; see peri_stream_set_peer); *port may be 0.
void peri_stream_peer(const struct peri_stream *stream, char ip[46], uint16_t *port);

/// Text form of our own address on the stream, as peri_stream_peer.
void peri_stream_local(const struct peri_stream *stream, char ip[46], uint16_t *port);

/// What peri_stream_peer says from now on, also of a stream that speaks TLS over this one: a proxy in between has said who the peer
/// is. `ip` is cut at 45 bytes. PERI_ERR_NOMEM.
peri_err_t peri_stream_set_peer(struct peri_stream *stream, struct peri_slice ip, uint16_t port);

/// What peri_stream_local says from now on: the address that the peer asked for was the proxy's. The rest as peri_stream_set_peer.
peri_err_t peri_stream_set_local(struct peri_stream *stream, struct peri_slice ip, uint16_t port);
#endif
