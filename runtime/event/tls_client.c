// SPDX-License-Identifier: MIT
// Trust and identity towards an upstream. Certificates are verified unless the configuration says not to; the name is that of the
// address, or the one that was configured, or one of the pinned names.
#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>

#include "event/tls_internal.h"

struct peri_tls_client {
    uint32_t references;
    SSL_CTX *context;
    char *server_name; ///< owned; NULL: the host of the address
    char *name_text;   ///< bytes of `names`, owned
    struct peri_slice *names;
    size_t name_count;
    bool is_unverified;
    unsigned char digest[SHA256_DIGEST_LENGTH]; ///< of the options
};

static bool fail(char why[PERI_TLS_WHY], const char *what)
{
    snprintf(why, PERI_TLS_WHY, "%s", what);
    return false;
}

static int session_slot(void)
{
    static int slot = -1;
    if (slot < 0)
        slot = SSL_get_ex_new_index(0, NULL, NULL, NULL, NULL);
    return slot;
}

// Keeps the newest session: tickets of TLS 1.3 are for one use (RFC 8446 C.4).
static int on_session(SSL *ssl, SSL_SESSION *session)
{
    struct peri_tls_session *keeper = SSL_get_ex_data(ssl, session_slot());
    if (!keeper)
        return 0;
    peri_tls_session_close(keeper);
    keeper->session = session;
    return 1;
}

void peri_tls_session_close(struct peri_tls_session *session)
{
    SSL_SESSION_free(session->session);
    session->session = NULL;
}

static char *copy_text(struct peri_slice text)
{
    char *copy = malloc(text.len + 1);
    if (!copy)
        return NULL;
    memcpy(copy, text.ptr, text.len);
    copy[text.len] = '\0';
    return copy;
}

static bool copy_names(struct peri_tls_client *client, const struct peri_tls_client_options *options)
{
    size_t total = 1;
    for (size_t i = 0; i < options->name_count; i++)
        total += options->names[i].len;
    client->name_text = malloc(total);
    client->names = calloc(options->name_count + 1, sizeof(*client->names));
    if (!client->name_text || !client->names)
        return false;
    char *at = client->name_text;
    for (size_t i = 0; i < options->name_count; i++) {
        memcpy(at, options->names[i].ptr, options->names[i].len);
        client->names[i] = peri_slice(at, options->names[i].len);
        at += options->names[i].len;
    }
    client->name_count = options->name_count;
    return true;
}

static bool trust_servers(struct peri_tls_client *client, const struct peri_tls_client_options *options,
                          char why[PERI_TLS_WHY])
{
    client->is_unverified = options->is_unverified;
    if (options->is_unverified)
        return true;
    SSL_CTX_set_verify(client->context, SSL_VERIFY_PEER, NULL);
    if (options->ca.len > 0)
        return peri_tls_store_add(SSL_CTX_get_cert_store(client->context), options->ca) > 0 ||
               fail(why, "ca has no certificate in it");
    return SSL_CTX_set_default_verify_paths(client->context) == 1 ||
           fail(why, "the system's authorities cannot be read");
}

static bool offer(SSL_CTX *context, const struct peri_tls_client_options *options)
{
    static const unsigned char both[] = "\x02h2\x08http/1.1";
    const unsigned char *from = options->has_h2 ? both : both + 3;
    unsigned len = (options->has_h2 ? 3u : 0u) + (options->has_h1 ? 9u : 0u);
    return len == 0 || SSL_CTX_set_alpn_protos(context, from, len) == 0;
}

static void digest_slice(EVP_MD_CTX *digest, struct peri_slice s)
{
    EVP_DigestUpdate(digest, &s.len, sizeof(s.len));
    EVP_DigestUpdate(digest, s.ptr, s.len);
}

static bool digest_options(struct peri_tls_client *client, const struct peri_tls_client_options *options)
{
    EVP_MD_CTX *digest = EVP_MD_CTX_new();
    const struct peri_slice texts[] = {options->ca, options->cert, options->key, options->server_name};
    const int facts[] = {options->is_unverified, (int)options->min_version, options->has_h2, options->has_h1};
    if (!digest || EVP_DigestInit_ex(digest, EVP_sha256(), NULL) != 1) {
        EVP_MD_CTX_free(digest);
        return false;
    }
    EVP_DigestUpdate(digest, facts, sizeof(facts));
    for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++)
        digest_slice(digest, texts[i]);
    for (size_t i = 0; i < options->name_count; i++)
        digest_slice(digest, options->names[i]);
    EVP_DigestFinal_ex(digest, client->digest, NULL);
    EVP_MD_CTX_free(digest);
    return true;
}

bool peri_tls_client_is_same(const struct peri_tls_client *a, const struct peri_tls_client *b)
{
    return a == b || (a && b && memcmp(a->digest, b->digest, sizeof(a->digest)) == 0);
}

static bool client_load(struct peri_tls_client *client, const struct peri_tls_client_options *options,
                        char why[PERI_TLS_WHY])
{
    client->context = peri_tls_context_new(TLS_client_method(), options->min_version);
    if (!client->context || !copy_names(client, options) || !offer(client->context, options))
        return fail(why, "out of memory");
    if (options->server_name.len > 0 && !(client->server_name = copy_text(options->server_name)))
        return fail(why, "out of memory");
    SSL_CTX_set_session_cache_mode(client->context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(client->context, on_session);
    if (options->cert.len > 0 && !peri_tls_context_use(client->context, options->cert, options->key, why))
        return false;
    return trust_servers(client, options, why);
}

static void client_free(struct peri_tls_client *client)
{
    SSL_CTX_free(client->context);
    free(client->server_name);
    free(client->name_text);
    free(client->names);
    free(client);
}

struct peri_tls_client *peri_tls_client_new(const struct peri_tls_client_options *options, char why[PERI_TLS_WHY])
{
    struct peri_tls_client *client = calloc(1, sizeof(*client));
    fail(why, "out of memory");
    if (!client)
        return NULL;
    client->references = 1;
    if (!digest_options(client, options) || !client_load(client, options, why)) {
        client_free(client);
        return NULL;
    }
    return client;
}

struct peri_tls_client *peri_tls_client_ref(struct peri_tls_client *client)
{
    client->references++;
    return client;
}

void peri_tls_client_unref(struct peri_tls_client *client)
{
    if (client && --client->references == 0)
        client_free(client);
}

static bool is_ip(const char *host)
{
    unsigned char address[16];
    return inet_pton(AF_INET, host, address) == 1 || inet_pton(AF_INET6, host, address) == 1;
}

// Is there somebody to compare the certificate with, or need there be nobody?
static bool can_expect(const struct peri_tls_client *client, const char *host)
{
    return host[0] != '\0' || client->is_unverified || client->name_count > 0;
}

// Says whom we expect; false when out of memory. SNI carries names only (RFC 6066 3), and pinned names are compared after the handshake.
static bool expect(const struct peri_tls_client *client, SSL *ssl, const char *host)
{
    bool is_address = is_ip(host);
    if (host[0] != '\0' && !is_address && SSL_set_tlsext_host_name(ssl, host) != 1)
        return false;
    if (client->is_unverified || client->name_count > 0)
        return true;
    X509_VERIFY_PARAM *param = SSL_get0_param(ssl);
    X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
    return (is_address ? X509_VERIFY_PARAM_set1_ip_asc(param, host) : X509_VERIFY_PARAM_set1_host(param, host, 0)) == 1;
}

SSL *peri_tls_client_open(struct peri_tls_client *client, struct peri_slice host, struct peri_tls_session *session,
                          peri_err_t *err)
{
    char *address = copy_text(host);
    const char *name = client->server_name ? client->server_name : address;
    bool is_possible = name && can_expect(client, name);
    SSL *ssl = address && is_possible ? SSL_new(client->context) : NULL;
    *err = name && !is_possible ? PERI_ERR_TLS : PERI_ERR_OVERLOADED;
    if (ssl && !expect(client, ssl, name)) {
        SSL_free(ssl);
        ssl = NULL;
    }
    free(address);
    if (!ssl)
        return NULL;
    SSL_set_connect_state(ssl);
    SSL_set_ex_data(ssl, session_slot(), session);
    if (session && session->session)
        SSL_set_session(ssl, session->session);
    return ssl;
}

bool peri_tls_client_accepts(const struct peri_tls_client *client, X509 *peer)
{
    if (client->is_unverified || client->name_count == 0)
        return true;
    return peer && peri_tls_has_name(peer, client->names, client->name_count);
}
