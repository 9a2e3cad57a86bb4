// SPDX-License-Identifier: MIT
// What the supervisor and its children say to each other over a socket pair: whole messages with a type, a number, some
// bytes and descriptors. Both ends are the same binary, so there is no version; every size is bounded all the same.
//
//   supervisor -> worker    START · BUILD n · SWITCH n · CANARY n · DROP n · EXPLAIN id request · DRAIN ms · RECORD
//   worker -> supervisor    READY n | FAILED n errors      answer to BUILD
//                           SWITCHED n                     answer to SWITCH
//                           EXPLAINED id answer            answer to EXPLAIN
//   check -> supervisor     TESTING spec …, then ACCEPTED config | REFUSED errors
//   workers -> supervisor   RECORDED dropped line          on a socket of the recording's own, which all workers share
//
// A socket whose buffer is full belongs to a peer that no longer listens: sending then fails, and the peer is given up.
#ifndef PERI_APP_CONTROL_H
#define PERI_APP_CONTROL_H

#include <stdint.h>

#include "base/err.h"
#include "base/slice.h"

#define PERI_CONTROL_FDS 128                  ///< most descriptors of one message
#define PERI_CONTROL_TEXT (16u * 1024 * 1024) ///< most bytes of one message
#define PERI_CONTROL_CHILD_FD 3               ///< where a child finds its end

enum peri_control_type {
    PERI_CONTROL_START,    ///< number: index of the worker; text: struct peri_worker_settings; fd: shared memory
    PERI_CONTROL_BUILD,    ///< number: generation; fd: snapshot
    PERI_CONTROL_SWITCH,   ///< number: generation; text: struct peri_listen_plan as text; fds: listening sockets
    PERI_CONTROL_CANARY,   ///< number: generation; text: uint32_t share, in millionths
    PERI_CONTROL_DROP,     ///< number: generation
    PERI_CONTROL_DRAIN,    ///< number: milliseconds
    PERI_CONTROL_RECORD,   ///< text: struct peri_recording_settings; fd: where lines go; neither: the recording is over
    PERI_CONTROL_READY,    ///< number: generation
    PERI_CONTROL_FAILED,   ///< number: generation; text: JSON array of errors
    PERI_CONTROL_SWITCHED, ///< number: generation
    PERI_CONTROL_EXPLAIN,  ///< number: of the request; text: JSON (proxy/explain.h)
    PERI_CONTROL_EXPLAINED, ///< number: of the request; text: JSON
    PERI_CONTROL_TESTING,   ///< number: time of all specs in ms; text: JSON object of the one that begins (app/gate.h)
    PERI_CONTROL_ACCEPTED,  ///< text: normalised configuration; fd: snapshot
    PERI_CONTROL_REFUSED,   ///< text: JSON array of errors; fd: snapshot, or none
    PERI_CONTROL_RECORDED,  ///< number: exchanges dropped since the last one; text: a line, or nothing
    PERI_CONTROL_COUNT
};

struct peri_control_message {
    enum peri_control_type type;
    uint64_t number;
    struct peri_slice text;
    unsigned fd_count;
    int fds[PERI_CONTROL_FDS];
};

/// Makes the two ends: close-on-exec and non-blocking. PERI_ERR_SYSTEM.
peri_err_t peri_control_pair(int ends[2]);

/// Sends `message`; its text and descriptors stay the caller's. A long text travels as a descriptor of its own. PERI_ERR_INVALID
/// when it is larger than the bounds, PERI_ERR_AGAIN when the peer does not read, PERI_ERR_CLOSED when it is gone.
peri_err_t peri_control_send(int fd, const struct peri_control_message *message);

/// Receives one message; the caller owns it and gives it back with peri_control_release (only after PERI_OK). Its text is
/// NUL-terminated behind its length. PERI_ERR_AGAIN when there is none, PERI_ERR_CLOSED when the peer is gone,
/// PERI_ERR_INVALID for what is no message, PERI_ERR_NOMEM.
peri_err_t peri_control_receive(int fd, struct peri_control_message *message);

/// Takes the first descriptor out of a received message; -1 when there is none. Owned by the caller.
int peri_control_take_fd(struct peri_control_message *message);

/// Frees the text of a received message and closes the descriptors that were not taken.
void peri_control_release(struct peri_control_message *message);

#endif
