// SPDX-License-Identifier: MIT
// What TLS connections are made with: the certificates of a listener chosen by server name, the trust and identity used
// towards an upstream, the ticket keys that all workers share, and what a finished handshake says of the peer. Everything
// comes as bytes; nothing here reads a file. The bytes themselves move in event/stream_tls.c.
#ifndef PERI_EVENT_TLS_H
#define PERI_EVENT_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/slice.h"

struct peri_loop;
struct peri_stream;
struct peri_stream_events;

#define PERI_TLS_WHY 200 ///< bytes that an explanation takes at most, with its NUL

/// How a listener asks for client certificates.
enum peri_tls_client_auth {
    PERI_TLS_CLIENT_NONE,     ///< not asked for
    PERI_TLS_CLIENT_OPTIONAL, ///< asked for; one that is shown must verify
    PERI_TLS_CLIENT_REQUIRED, ///< no connection without one
};

/// The oldest version that is spoken.
enum peri_tls_version { PERI_TLS_1_2 = 12, PERI_TLS_1_3 = 13 };

/// One certificate with its key.
struct peri_tls_certificate {
    struct peri_slice cert;         ///< PEM, leaf first, then its chain
    struct peri_slice key;          ///< PEM, not encrypted
    struct peri_slice ocsp;         ///< DER response to staple (RFC 6066 8); empty for none
    const struct peri_slice *hosts; ///< server names it answers for, exact or "*.suffix"
    size_t host_count;              ///< 0: the DNS names in the certificate
};

/// The certificate of this process for development: it vouches for itself and for localhost only. Borrowed for ever; NULL when it cannot
/// be made.
const struct peri_tls_certificate *peri_tls_dev_certificate(void);

// ---- ticket keys ----

#define PERI_TLS_TICKET_KEYS 3

struct peri_tls_ticket_key {
    uint8_t name[16];
    uint8_t cipher[32]; ///< AES-256-CBC
    uint8_t mac[32];    ///< HMAC-SHA256
};

/// A ring of keys in memory that all workers share: tickets are sealed with the newest and opened with any (RFC 5077 4).
/// Written by one process only.
struct peri_tls_ticket_keys {
    uint32_t newest; ///< index; atomic
    uint32_t count;  ///< keys that were ever made, at most PERI_TLS_TICKET_KEYS; atomic
    struct peri_tls_ticket_key keys[PERI_TLS_TICKET_KEYS];
};

/// Makes a new newest key in place of the oldest. PERI_ERR_SYSTEM when there is no randomness.
peri_err_t peri_tls_ticket_keys_rotate(struct peri_tls_ticket_keys *keys);

// ---- the side that accepts ----

struct peri_tls_server;

struct peri_tls_server_options {
    const struct peri_tls_certificate *certificates; ///< the first is the default
    size_t certificate_count;                        ///< at least 1
    struct peri_slice client_ca;                     ///< PEM; whom client certificates must come from
    enum peri_tls_client_auth client_auth;
    enum peri_tls_version min_version;
    bool has_h2;                                ///< offer "h2" before "http/1.1"
    bool has_h1;                                ///< offer "http/1.1"
    const struct peri_tls_ticket_keys *tickets; ///< borrowed for ever; NULL: no resumption
};

/// Checks and loads everything. The caller owns one reference. NULL with one sentence in `why`.
struct peri_tls_server *peri_tls_server_new(const struct peri_tls_server_options *options, char why[PERI_TLS_WHY]);

/// One reference more; returns its argument.
struct peri_tls_server *peri_tls_server_ref(struct peri_tls_server *server);

/// One less. Connections keep what they need. NULL is fine.
void peri_tls_server_unref(struct peri_tls_server *server);

// ---- the side that connects ----

struct peri_tls_client;

struct peri_tls_client_options {
    struct peri_slice ca;          ///< PEM; empty: the authorities of the system
    bool is_unverified;            ///< do not check the peer's certificate
    struct peri_slice cert;        ///< PEM, to show when asked; empty for none
    struct peri_slice key;         ///< PEM
    struct peri_slice server_name; ///< sent as SNI and checked; empty: the host of the address
    const struct peri_slice
        *names; ///< DNS names or URIs of which the certificate must carry one, in place of the server name
    size_t name_count;
    enum peri_tls_version min_version;
    bool has_h2; ///< offer "h2" before "http/1.1"
    bool has_h1; ///< offer "http/1.1"
};

/// As peri_tls_server_new.
struct peri_tls_client *peri_tls_client_new(const struct peri_tls_client_options *options, char why[PERI_TLS_WHY]);
struct peri_tls_client *peri_tls_client_ref(struct peri_tls_client *client);
void peri_tls_client_unref(struct peri_tls_client *client);

/// Were both made with the same options? Either may be NULL.
bool peri_tls_client_is_same(const struct peri_tls_client *a, const struct peri_tls_client *b);

/// The last session with one address, for the next handshake with it. Zeroed before its first use.
struct peri_tls_session {
    void *session; ///< SSL_SESSION, owned
};

/// Forgets the session.
void peri_tls_session_close(struct peri_tls_session *session);

// ---- streams ----

/// Speaks TLS as a server over `lower` (taken). events->on_connect tells the end of the handshake: PERI_OK, PERI_ERR_TLS,
/// PERI_ERR_OVERLOADED when memory was short, PERI_ERR_CONNECT_TIMEOUT after `max_ms`; nothing else is told before it. NULL when out of
/// memory (lower closed).
struct peri_stream *peri_stream_accept_tls(struct peri_stream *lower, struct peri_tls_server *server, uint64_t max_ms,
                                           const struct peri_stream_events *events, void *data);

/// Speaks TLS as a client over `lower` (taken), which is still connecting. `host`: where the address leads, for
/// SNI and verification when the client has no server name of its own. `session` (borrowed until on_close, may be NULL) is
/// resumed and renewed. on_connect as above, or with the failure of `lower`. NULL (lower closed) with *err: PERI_ERR_OVERLOADED when
/// out of memory, PERI_ERR_TLS when there is no name to verify.
struct peri_stream *peri_stream_connect_tls(struct peri_stream *lower, struct peri_tls_client *client,
                                            struct peri_slice host, struct peri_tls_session *session,
                                            const struct peri_stream_events *events, void *data, peri_err_t *err);

/// What a handshake agreed on and who the peer proved to be. Texts are "" where there is nothing.
struct peri_tls_info {
    const char *version;     ///< "TLSv1.3"
    const char *cipher;      ///< IANA name
    const char *alpn;        ///< protocol agreed on
    const char *server_name; ///< SNI
    const char *subject;     ///< distinguished name of the verified peer certificate (RFC 2253), cut at 255 bytes
    const char *issuer;      ///< distinguished name of who vouches for it, likewise
    const char *sans;      ///< its DNS names, URIs, e-mail and IP addresses, each with its NUL; an empty one is the end
    const char *spiffe_id; ///< its SPIFFE ID (SPIFFE X509-SVID 2)
    const char *fingerprint; ///< SHA-256 of it, hex
    bool is_peer_verified;   ///< the peer showed a certificate and it verified
    bool is_resumed;
};

/// Of a TLS stream whose handshake is complete; NULL for other streams. Borrowed as long as the stream.
const struct peri_tls_info *peri_stream_tls(const struct peri_stream *stream);

/// The same, given to the caller, who frees it with free().
struct peri_tls_info *peri_stream_take_tls(struct peri_stream *stream);

/// Why the handshake failed, one line without secrets; "" when it did not.
const char *peri_stream_tls_failure(const struct peri_stream *stream);

#endif
