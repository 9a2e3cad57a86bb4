// SPDX-License-Identifier: MIT
// A recording as the supervisor drives it: workers send the lines of their taps (proxy/tap.h) over one socket that they share, and
// here they are read and handed on, as long as the sink takes them. Nobody waits: a socket that is full makes workers drop
// exchanges, and they tell how many.
#ifndef PERI_APP_RECORDING_H
#define PERI_APP_RECORDING_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/slice.h"

struct peri_link;
struct peri_loop;
struct peri_recording;
struct peri_recording_settings;

/// Who gets the lines; embedded in its owner.
struct peri_recording_sink {
    /// A line without its newline, borrowed for the call. False: no more until peri_recording_resume.
    bool (*on_line)(struct peri_recording_sink *sink, struct peri_slice line);
    uint64_t dropped; ///< exchanges that were chosen and are not in the recording
};

/// Opens the socket. `settings` are copied and get a key of their own, `sink` is borrowed. NULL when the system refuses.
struct peri_recording *peri_recording_open(struct peri_loop *loop, const struct peri_recording_settings *settings,
                                           struct peri_recording_sink *sink);

/// Lets a worker take part.
void peri_recording_brief(struct peri_recording *recording, struct peri_link *link);

/// The sink takes lines again.
void peri_recording_resume(struct peri_recording *recording);

/// Closes the socket; the workers were told that it is over. NULL is fine.
void peri_recording_close(struct peri_recording *recording);

#endif
