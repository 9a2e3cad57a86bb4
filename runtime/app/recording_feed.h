// SPDX-License-Identifier: MIT
// A worker's side of a recording: what its tap writes goes to the supervisor, or is dropped and counted when that is slow.
#ifndef PERI_APP_RECORDING_FEED_H
#define PERI_APP_RECORDING_FEED_H

#include <stdint.h>

struct peri_loop;
struct peri_recording_feed;
struct peri_recording_settings;
struct peri_server;

/// Taps `server` (borrowed) as `settings` (borrowed for the call) say and sends the lines to `fd` (taken). `index` is the worker's.
/// NULL when memory is out (logged): nothing is recorded then.
struct peri_recording_feed *peri_recording_feed_open(struct peri_loop *loop, struct peri_server *server, uint32_t index,
                                                     const struct peri_recording_settings *settings, int fd);

/// Ends the tap. NULL is fine.
void peri_recording_feed_close(struct peri_recording_feed *feed);

#endif
