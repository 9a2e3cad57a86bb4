// SPDX-License-Identifier: MIT
// The two texts by which a client and a server of HTTP/1.1 agree that they speak WebSocket (RFC 6455 4). Who bridges from HTTP/2, which
// has no such texts (RFC 8441 5), makes and checks them itself.
#ifndef PERI_CODEC_WEBSOCKET_H
#define PERI_CODEC_WEBSOCKET_H

#include <stdbool.h>

#include "base/err.h"
#include "base/slice.h"

#define PERI_WEBSOCKET_KEY 24    ///< characters of Sec-WebSocket-Key
#define PERI_WEBSOCKET_ACCEPT 28 ///< characters of Sec-WebSocket-Accept

/// Stores a fresh key. PERI_ERR_SYSTEM when there is no randomness.
peri_err_t peri_websocket_make_key(char key[PERI_WEBSOCKET_KEY]);

/// Stores what a server answers to `key`. PERI_ERR_INVALID for one that is too long to be a key; PERI_ERR_SYSTEM.
peri_err_t peri_websocket_make_accept(struct peri_slice key, char accept[PERI_WEBSOCKET_ACCEPT]);

/// Is `accept` the answer to `key`?
bool peri_websocket_is_accepted(struct peri_slice key, struct peri_slice accept);

#endif
