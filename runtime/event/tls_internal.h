// SPDX-License-Identifier: MIT
// What the files of TLS share. Nobody outside event/ includes this.
#ifndef PERI_EVENT_TLS_INTERNAL_H
#define PERI_EVENT_TLS_INTERNAL_H

#include <openssl/ssl.h>

#include "event/tls.h"

/// Writes one sentence to `why`: `what`, and OpenSSL's reason when it has one. Empties OpenSSL's queue of errors.
void peri_tls_explain(char why[PERI_TLS_WHY], const char *what);

/// A context with the versions, ciphers and modes that both sides use. NULL when out of memory.
SSL_CTX *peri_tls_context_new(const SSL_METHOD *method, enum peri_tls_version min_version);

/// Gives the context a certificate with its chain and key. False with a sentence in `why`.
bool peri_tls_context_use(SSL_CTX *context, struct peri_slice cert, struct peri_slice key, char why[PERI_TLS_WHY]);

/// The first certificate of a PEM text; owned; NULL when there is none.
X509 *peri_tls_read_leaf(struct peri_slice pem);

/// Adds every certificate of a PEM text to `store`; how many, 0 when the text is not one.
size_t peri_tls_store_add(X509_STORE *store, struct peri_slice pem);

/// Lets tickets of the context be sealed and opened with `keys` (borrowed for ever); NULL: none are given.
bool peri_tls_tickets_use(SSL_CTX *context, const struct peri_tls_ticket_keys *keys);

#define PERI_TLS_SPIFFE_MAX 2048 ///< bytes of a SPIFFE ID (SPIFFE-ID 2.3)

/// Who a certificate says the peer is; NUL-terminated texts, empty for nothing.
struct peri_tls_identity {
    char subject[256];
    char issuer[256];
    char *sans; ///< each with its NUL; owned, NULL for none
    size_t sans_len;
    char spiffe_id[PERI_TLS_SPIFFE_MAX + 1];
    char fingerprint[65];
};

/// Reads the identity of a verified certificate into a zeroed *identity, which is closed whatever comes. PERI_ERR_TLS when it claims a
/// SPIFFE ID and that is not a valid one, PERI_ERR_OVERLOADED when out of memory.
peri_err_t peri_tls_identify(X509 *peer, struct peri_tls_identity *identity);

/// Frees what the identity owns.
void peri_tls_identity_close(struct peri_tls_identity *identity);

/// Does the certificate carry one of the names (DNS names or URIs)?
bool peri_tls_has_name(X509 *peer, const struct peri_slice *names, size_t count);

/// An SSL of this side, with the peer `host` (client; empty for an unknown one) and the session to resume. NULL when out of memory; on
/// the client's side *err says so (PERI_ERR_OVERLOADED), or that there is no name to verify (PERI_ERR_TLS).
SSL *peri_tls_server_open(struct peri_tls_server *server);
SSL *peri_tls_client_open(struct peri_tls_client *client, struct peri_slice host, struct peri_tls_session *session,
                          peri_err_t *err);

/// Checks what OpenSSL did not: the pinned names.
bool peri_tls_client_accepts(const struct peri_tls_client *client, X509 *peer);

#endif
