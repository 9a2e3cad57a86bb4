// SPDX-License-Identifier: MIT
// The opening of a WebSocket: a random key, and the digest of it that proves the server means WebSocket.
#include "codec/websocket.h"

#include "codec/base64.h"
#include "codec/digest.h"

#define GUID "258EAFA5-E914-47DA-95CA-C5AB0DC85B11" // RFC 6455 1.3
#define KEY_BYTES 16
#define KEY_MAX 64

peri_err_t peri_websocket_make_key(char key[PERI_WEBSOCKET_KEY])
{
    unsigned char bytes[KEY_BYTES];
    peri_err_t err = peri_digest_random(bytes, sizeof(bytes));
    if (err == PERI_OK)
        peri_base64_encode(peri_slice((const char *)bytes, sizeof(bytes)), false, key);
    return err;
}

peri_err_t peri_websocket_make_accept(struct peri_slice key, char accept[PERI_WEBSOCKET_ACCEPT])
{
    char text[KEY_MAX + sizeof(GUID)];
    unsigned char digest[PERI_DIGEST_SHA1];
    if (key.len == 0 || key.len > KEY_MAX)
        return PERI_ERR_INVALID;
    memcpy(text, key.ptr, key.len);
    memcpy(text + key.len, GUID, sizeof(GUID) - 1);
    peri_err_t err = peri_digest_sha1(peri_slice(text, key.len + sizeof(GUID) - 1), digest);
    if (err == PERI_OK)
        peri_base64_encode(peri_slice((const char *)digest, sizeof(digest)), false, accept);
    return err;
}

bool peri_websocket_is_accepted(struct peri_slice key, struct peri_slice accept)
{
    char right[PERI_WEBSOCKET_ACCEPT];
    return peri_websocket_make_accept(key, right) == PERI_OK && peri_slice_eq(accept, peri_slice(right, sizeof(right)));
}
