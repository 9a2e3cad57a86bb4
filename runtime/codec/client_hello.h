// SPDX-License-Identifier: MIT
// A look at the first message of a TLS connection, the ClientHello, without taking part in the handshake: the name of the server
// that the client asks for and the protocols it offers, so that the connection can be passed on as it is.
#ifndef PERI_CODEC_CLIENT_HELLO_H
#define PERI_CODEC_CLIENT_HELLO_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/slice.h"

#define PERI_CLIENT_HELLO_MAX (16 * 1024) ///< longest message that is read
#define PERI_CLIENT_HELLO_RECORDS 64      ///< records that it may be spread over
#define PERI_CLIENT_HELLO_SEEN (PERI_CLIENT_HELLO_MAX + 5 * PERI_CLIENT_HELLO_RECORDS) ///< bytes that decide any case

struct peri_client_hello {
    char server_name[256]; ///< a host name in lower case without trailing dot, NUL-terminated; "" when none was sent
    uint8_t alpn[256];     ///< the offered protocols as they were sent: each a length and its bytes
    uint16_t alpn_len;     ///< 0 when none were sent
};

/// Reads the ClientHello at the begin of `data`, all that arrived so far. PERI_OK: `hello` is filled. PERI_ERR_AGAIN: call again
/// with more. PERI_ERR_INVALID: no TLS, or a ClientHello that two readers may see differently. PERI_ERR_LIMIT: longer than the
/// limits above, or more than 256 bytes of protocols. The verdict never changes with what follows.
/// Source: RFC 8446 4.1.2 and 5.1, RFC 6066 3, RFC 7301 3.1.
peri_err_t peri_client_hello_parse(struct peri_slice data, struct peri_client_hello *hello);

/// The next protocol that is offered, most wanted first: `*at` is 0 for the first one and advanced. False at the end. The name is
/// borrowed from `hello`.
bool peri_client_hello_next(const struct peri_client_hello *hello, size_t *at, struct peri_slice *protocol);

#endif
