// SPDX-License-Identifier: MIT
// What the backends of a stream share. Nobody outside event/ includes this.
#ifndef PERI_EVENT_STREAM_INTERNAL_H
#define PERI_EVENT_STREAM_INTERNAL_H

#include <uv.h>

#include "event/loop_internal.h"
#include "event/stream.h"

#define PERI_STREAM_RUNS 16 ///< runs of bytes given to the kernel in one call

/// How a backend moves bytes.
struct peri_stream_ops {
    /// Tries to write the runs now; returns bytes taken (0 when it would block) or -1 when the stream is broken.
    ssize_t (*try_write)(struct peri_stream *stream, const struct peri_slice *runs, unsigned count);
    /// Begins to send `queue`; the backend calls peri_stream_sent for what it took. Only one at a time.
    void (*send_queue)(struct peri_stream *stream);
    void (*read_start)(struct peri_stream *stream);
    void (*read_stop)(struct peri_stream *stream);
    void (*shutdown)(struct peri_stream *stream);
    void (*close)(struct peri_stream *stream, bool is_reset);
    void (*peer)(const struct peri_stream *stream, char ip[46], uint16_t *port);
    void (*local)(const struct peri_stream *stream, char ip[46], uint16_t *port);
};

/// What a proxy in between said of one end of the connection.
struct peri_stream_address {
    char ip[46];
    uint16_t port;
};

struct peri_stream {
    const struct peri_stream_ops *ops;
    struct peri_loop *loop;
    const struct peri_stream_events *events;
    void *data;
    struct peri_buf queue; ///< not taken by the kernel yet
    char *cork;            ///< PERI_CORK_SIZE bytes while there is something to flush
    uint32_t cork_len;
    bool is_sending;                   ///< send_queue is under way
    bool is_high;                      ///< on_drain is owed
    bool is_broken;                    ///< a write failed; on_end is owed or given
    bool is_ended;                     ///< on_end was given
    bool has_failed;                   ///< on_end was given with an error
    bool is_closing;                   ///< close was called
    bool wants_shutdown;               ///< end our direction when everything is sent
    bool wants_close;                  ///< close when everything is sent
    bool waits_for_peer;               ///< close only when the peer has ended its direction too
    struct peri_stream_address *peer;  ///< owned; NULL: the backend knows the peer
    struct peri_stream_address *local; ///< likewise of our end
    struct peri_list dirty;            ///< in loop->dirty while corked
    struct peri_defer report;
    struct peri_timer linger;
};

/// Prepares the part that all backends have.
void peri_stream_init(struct peri_stream *stream, struct peri_loop *loop, const struct peri_stream_ops *ops);

/// A stream over the connected socket `fd` (taken), without an owner yet. NULL when out of memory (fd not
/// taken).
struct peri_stream *peri_stream_open_fd(struct peri_loop *loop, int fd, bool is_pipe);

/// The backend took `len` bytes of the queue (all that send_queue was given), or broke.
void peri_stream_sent(struct peri_stream *stream, size_t len, bool is_broken);

/// Bytes arrived.
void peri_stream_received(struct peri_stream *stream, struct peri_slice data);

/// The peer ended or the stream broke.
void peri_stream_ended(struct peri_stream *stream, peri_err_t err);

/// The backend is closed: tells the owner and frees the stream.
void peri_stream_closed(struct peri_stream *stream);

#endif
