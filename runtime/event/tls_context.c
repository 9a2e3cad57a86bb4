// SPDX-License-Identifier: MIT
// What both sides of TLS have in common: versions, ciphers, modes; certificates and keys from PEM text.
#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdio.h>

#include "event/tls_internal.h"

// Forward secret and authenticated only; TLS 1.3 has its own list, all of which is (RFC 9325 4.2).
#define CIPHERS                                                                                                        \
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"                         \
    "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"
#define GROUPS "X25519:P-256:P-384"

void peri_tls_explain(char why[PERI_TLS_WHY], const char *what)
{
    unsigned long code = ERR_peek_last_error();
    const char *reason = code ? ERR_reason_error_string(code) : NULL;
    snprintf(why, PERI_TLS_WHY, reason ? "%s: %s" : "%s", what, reason);
    ERR_clear_error();
}

SSL_CTX *peri_tls_context_new(const SSL_METHOD *method, enum peri_tls_version min_version)
{
    SSL_CTX *context = SSL_CTX_new(method);
    if (!context)
        return NULL;
    SSL_CTX_set_min_proto_version(context, min_version == PERI_TLS_1_3 ? TLS1_3_VERSION : TLS1_2_VERSION);
    SSL_CTX_set_cipher_list(context, CIPHERS);
    SSL_CTX_set1_groups_list(context, GROUPS);
    SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE |
                                     SSL_OP_PRIORITIZE_CHACHA | SSL_OP_IGNORE_UNEXPECTED_EOF);
    SSL_CTX_set_mode(context,
                     SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    return context;
}

static BIO *pem_open(struct peri_slice pem)
{
    return pem.len <= INT32_MAX ? BIO_new_mem_buf(pem.ptr, (int)pem.len) : NULL;
}

// Never asks a terminal for the pass phrase of an encrypted key.
static int no_pass_phrase(char *buf, int size, int is_write, void *data)
{
    (void)buf, (void)size, (void)is_write, (void)data;
    return 0;
}

X509 *peri_tls_read_leaf(struct peri_slice pem)
{
    BIO *bio = pem_open(pem);
    X509 *leaf = bio ? PEM_read_bio_X509_AUX(bio, NULL, no_pass_phrase, NULL) : NULL;
    BIO_free(bio);
    return leaf;
}

// Gives the certificates behind the leaf to the context.
static bool use_chain(SSL_CTX *context, BIO *bio)
{
    X509 *next;
    while ((next = PEM_read_bio_X509(bio, NULL, no_pass_phrase, NULL))) {
        if (SSL_CTX_add0_chain_cert(context, next) != 1) {
            X509_free(next);
            return false;
        }
    }
    bool is_end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
    ERR_clear_error();
    return is_end;
}

static bool use_certificates(SSL_CTX *context, struct peri_slice pem)
{
    BIO *bio = pem_open(pem);
    X509 *leaf = bio ? PEM_read_bio_X509_AUX(bio, NULL, no_pass_phrase, NULL) : NULL;
    bool is_used = leaf && SSL_CTX_use_certificate(context, leaf) == 1 && use_chain(context, bio);
    X509_free(leaf);
    BIO_free(bio);
    return is_used;
}

bool peri_tls_context_use(SSL_CTX *context, struct peri_slice cert, struct peri_slice key, char why[PERI_TLS_WHY])
{
    ERR_clear_error();
    if (!use_certificates(context, cert)) {
        peri_tls_explain(why, "the certificate cannot be used");
        return false;
    }
    BIO *bio = pem_open(key);
    EVP_PKEY *pkey = bio ? PEM_read_bio_PrivateKey(bio, NULL, no_pass_phrase, NULL) : NULL;
    BIO_free(bio);
    // OpenSSL itself compares only keys of the certificate's type.
    bool is_pair = pkey && X509_check_private_key(SSL_CTX_get0_certificate(context), pkey) == 1;
    bool is_used = is_pair && SSL_CTX_use_PrivateKey(context, pkey) == 1;
    if (!is_used)
        peri_tls_explain(why, pkey ? "the key does not fit the certificate" : "the key cannot be read");
    EVP_PKEY_free(pkey);
    return is_used;
}

size_t peri_tls_store_add(X509_STORE *store, struct peri_slice pem)
{
    BIO *bio = pem_open(pem);
    size_t count = 0;
    X509 *next;
    while (bio && (next = PEM_read_bio_X509(bio, NULL, no_pass_phrase, NULL))) {
        count += X509_STORE_add_cert(store, next) == 1;
        X509_free(next);
    }
    ERR_clear_error();
    BIO_free(bio);
    return count;
}
