// SPDX-License-Identifier: MIT
// The header of HAProxy's PROXY protocol, versions 1 (text) and 2 (binary), which a proxy in front sends before the first byte
// of a connection to say who the client is. Reads it from what has arrived so far and writes it; does not know whom to trust.
#ifndef PERI_CODEC_PROXY_PROTOCOL_H
#define PERI_CODEC_PROXY_PROTOCOL_H

#include "codec/ip.h"

#define PERI_PROXY_PROTOCOL_MAX 4096 ///< longest header that is read, TLVs included; version 1 has 107 bytes at most
#define PERI_PROXY_PROTOCOL_TEXT 108 ///< room for any header that is written

struct peri_proxy_protocol {
    uint8_t version;    ///< 1 or 2
    bool has_addresses; ///< false for UNKNOWN, LOCAL and what is no TCP over IP: those of the connection count then
    struct peri_ip source, destination; ///< client, and the address that it asked for
    uint16_t source_port, destination_port;
};

/// Reads a header at the begin of `data`, all that arrived so far. PERI_OK: `header` is filled, and what follows begins `*len`
/// bytes behind `data`. PERI_ERR_AGAIN: call again with more. PERI_ERR_INVALID: no header, whatever follows; known with the
/// first byte that says so. PERI_ERR_LIMIT: longer than PERI_PROXY_PROTOCOL_MAX; known with the length field.
/// Source: haproxy doc/proxy-protocol.txt, 2.1 and 2.2.
peri_err_t peri_proxy_protocol_parse(struct peri_slice data, struct peri_proxy_protocol *header, size_t *len);

/// Writes `header` in its version to `text` and returns its length. Addresses of both families together are written as IPv6; a
/// header without addresses is UNKNOWN in version 1 and LOCAL in version 2.
size_t peri_proxy_protocol_format(const struct peri_proxy_protocol *header, char text[PERI_PROXY_PROTOCOL_TEXT]);

#endif
