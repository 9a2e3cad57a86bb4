// SPDX-License-Identifier: MIT
// The access log: one JSON line per exchange (and per TCP connection that is passed on) into a ring of this worker, written out by size and time, never waiting for a slow
// reader: when the ring is full, lines are dropped and counted.
#ifndef PERI_PROXY_ACCESSLOG_H
#define PERI_PROXY_ACCESSLOG_H

#include <stdint.h>

#include "base/err.h"
#include "base/slice.h"

struct peri_accesslog;
struct peri_exchange;
struct peri_loop;
struct peri_metrics_page;

/// What is logged of a connection that was passed on as it is; texts may be empty.
struct peri_accesslog_tcp {
    struct peri_slice client; ///< its address
    struct peri_slice listener;
    struct peri_slice server_name; ///< that it asked for
    struct peri_slice upstream;
    struct peri_slice endpoint;
    peri_err_t err; ///< why it ended, PERI_OK when both sides did it
    uint64_t ns;    ///< how long it was
    uint64_t bytes_in;
    uint64_t bytes_out;
};

/// Opens the log at `path` ("stdout", "stderr" or a file, appended to). `page` counts dropped lines. NULL when it cannot be
/// opened (logged).
struct peri_accesslog *peri_accesslog_open(struct peri_loop *loop, struct peri_slice path,
                                           struct peri_metrics_page *page);

/// Opens a log whose lines go to `emit` one by one, each with its newline and borrowed for the call. NULL when out of memory.
struct peri_accesslog *peri_accesslog_open_sink(struct peri_loop *loop, struct peri_metrics_page *page,
                                                void (*emit)(void *data, struct peri_slice line), void *data);

/// Writes what is buffered and closes.
void peri_accesslog_close(struct peri_accesslog *log);

/// Was the log opened with this path? One with a sink has none.
bool peri_accesslog_is(const struct peri_accesslog *log, struct peri_slice path);

/// Adds the line of an exchange that has ended after `ns` nanoseconds.
void peri_accesslog_add(struct peri_accesslog *log, const struct peri_exchange *x, int status, uint64_t ns);

/// Adds the line of a connection that has ended.
void peri_accesslog_add_tcp(struct peri_accesslog *log, const struct peri_accesslog_tcp *facts);

#endif
