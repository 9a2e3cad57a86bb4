// SPDX-License-Identifier: MIT
// The certificates of a listener. Certificates for the same names with different kinds of key share one context, which shows
// the one that the client can check; the context is chosen by server name: exact, then "*.suffix", then the first.
#include <openssl/err.h>
#include <openssl/ocsp.h>
#include <openssl/sha.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "event/tls_internal.h"

#define HOST_MAX 253 // bytes of a host name (RFC 1035 2.3.4)

#define KEYS_MAX 4 // kinds of key that stand side by side

/// One certificate of an entry, by its kind of key.
struct tls_key {
    int type;            ///< EVP_PKEY_id
    unsigned char *ocsp; ///< response about this certificate, owned; NULL for none
    size_t ocsp_len;
    time_t ocsp_until; ///< when the response is stale; 0 for never
};

struct tls_entry {
    SSL_CTX *context;
    char *hosts; ///< names, each with a NUL, sorted; owned
    size_t hosts_len;
    struct tls_key keys[KEYS_MAX];
    size_t key_count;
};

struct tls_name {
    const char *host; ///< lower case; in an entry's `hosts`
    struct tls_entry *entry;
};

struct peri_tls_server {
    uint32_t references;
    struct tls_entry *entries;
    size_t entry_count;
    struct tls_name *names; ///< sorted by host
    size_t name_count;
    unsigned char alpn[16]; ///< wire form, in the order of preference
    unsigned alpn_len;
};

static bool fail(char why[PERI_TLS_WHY], const char *what)
{
    snprintf(why, PERI_TLS_WHY, "%s", what);
    return false;
}

// ---- choosing a certificate ----

static int compare_names(const void *a, const void *b)
{
    return strcmp(((const struct tls_name *)a)->host, ((const struct tls_name *)b)->host);
}

static struct tls_entry *find_exact(const struct peri_tls_server *server, const char *host)
{
    struct tls_name key = {.host = host};
    struct tls_name *found = bsearch(&key, server->names, server->name_count, sizeof(key), compare_names);
    return found ? found->entry : NULL;
}

static struct tls_entry *find_entry(const struct peri_tls_server *server, const char *server_name)
{
    char host[HOST_MAX + 2];
    size_t len = strlen(server_name);
    if (len == 0 || len > HOST_MAX)
        return NULL;
    for (size_t i = 0; i <= len; i++)
        host[i] = peri_ascii_lower(server_name[i]);
    if (host[len - 1] == '.')
        host[--len] = '\0';
    struct tls_entry *entry = find_exact(server, host);
    char *dot = strchr(host, '.');
    if (entry || !dot || dot == host)
        return entry;
    dot[-1] = '*';
    return find_exact(server, dot - 1);
}

static int on_server_name(SSL *ssl, int *alert, void *data)
{
    const struct peri_tls_server *server = data;
    const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    struct tls_entry *entry = name ? find_entry(server, name) : NULL;
    if (entry && entry->context != SSL_get_SSL_CTX(ssl) && !SSL_set_SSL_CTX(ssl, entry->context)) {
        *alert = SSL_AD_INTERNAL_ERROR;
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    }
    return SSL_TLSEXT_ERR_OK;
}

static int on_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len, const unsigned char *offered,
                   unsigned offered_len, void *data)
{
    const struct peri_tls_server *server = data;
    unsigned char *chosen;
    (void)ssl;
    if (SSL_select_next_proto(&chosen, out_len, server->alpn, server->alpn_len, offered, offered_len) !=
        OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL; // RFC 7301 3.2: no_application_protocol
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

static struct tls_key *find_key(struct tls_entry *entry, int type)
{
    for (size_t i = 0; i < entry->key_count; i++)
        if (entry->keys[i].type == type)
            return &entry->keys[i];
    return NULL;
}

static struct tls_entry *find_context(struct peri_tls_server *server, const SSL_CTX *context)
{
    for (size_t i = 0; i < server->entry_count; i++)
        if (server->entries[i].context == context)
            return &server->entries[i];
    return NULL;
}

// The certificate was chosen: its own response goes with it, as long as that is fresh.
static int on_staple(SSL *ssl, void *data)
{
    struct tls_entry *entry = find_context(data, SSL_get_SSL_CTX(ssl));
    X509 *shown = SSL_get_certificate(ssl);
    struct tls_key *key = entry && shown ? find_key(entry, EVP_PKEY_get_id(X509_get0_pubkey(shown))) : NULL;
    if (!key || !key->ocsp || (key->ocsp_until != 0 && time(NULL) >= key->ocsp_until))
        return SSL_TLSEXT_ERR_NOACK;
    unsigned char *copy = OPENSSL_memdup(key->ocsp, key->ocsp_len);
    if (!copy)
        return SSL_TLSEXT_ERR_NOACK;
    SSL_set_tlsext_status_ocsp_resp(ssl, copy, (long)key->ocsp_len);
    return SSL_TLSEXT_ERR_OK;
}

// ---- loading ----

static bool append_host(char **hosts, size_t *len, struct peri_slice host)
{
    if (host.len == 0 || host.len > HOST_MAX || memchr(host.ptr, '\0', host.len))
        return true; // no name that a client could ask for
    char *grown = realloc(*hosts, *len + host.len + 1);
    if (!grown)
        return false;
    for (size_t i = 0; i < host.len; i++)
        grown[*len + i] = peri_ascii_lower(host.ptr[i]);
    grown[*len + host.len] = '\0';
    *hosts = grown;
    *len += host.len + 1;
    return true;
}

// The names that a certificate answers for: those that were given, or those that are in it.
static bool collect_hosts(const struct peri_tls_certificate *c, X509 *leaf, char **hosts, size_t *len)
{
    bool is_ok = true;
    for (size_t i = 0; is_ok && i < c->host_count; i++)
        is_ok = append_host(hosts, len, c->hosts[i]);
    if (c->host_count > 0)
        return is_ok;
    GENERAL_NAMES *names = X509_get_ext_d2i(leaf, NID_subject_alt_name, NULL, NULL);
    for (int i = 0; is_ok && i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
        if (name->type == GEN_DNS)
            is_ok = append_host(hosts, len,
                                peri_slice((const char *)ASN1_STRING_get0_data(name->d.dNSName),
                                           (size_t)ASN1_STRING_length(name->d.dNSName)));
    }
    GENERAL_NAMES_free(names);
    return is_ok;
}

// The entry for these names that has no key of this kind yet; NULL for none.
static struct tls_entry *find_partner(struct peri_tls_server *server, const char *hosts, size_t len, int type)
{
    for (size_t i = 0; i < server->entry_count; i++) {
        struct tls_entry *entry = &server->entries[i];
        if (entry->hosts_len == len && (len == 0 || memcmp(entry->hosts, hosts, len) == 0) &&
            entry->key_count < KEYS_MAX && !find_key(entry, type))
            return entry;
    }
    return NULL;
}

// Until when the response may be shown; 0 for ever.
static time_t ocsp_end(OCSP_BASICRESP *basic)
{
    ASN1_GENERALIZEDTIME *until = NULL;
    struct tm tm;
    OCSP_single_get0_status(OCSP_resp_get0(basic, 0), NULL, NULL, NULL, &until);
    return until && ASN1_TIME_to_tm(until, &tm) == 1 ? timegm(&tm) : 0;
}

// Is it about this certificate? The issuer is known by hashes, which say nothing without it; the serial number does.
static bool is_about(OCSP_BASICRESP *basic, X509 *leaf)
{
    ASN1_INTEGER *serial = NULL;
    const OCSP_CERTID *id = OCSP_SINGLERESP_get0_id(OCSP_resp_get0(basic, 0));
    return OCSP_id_get0_info(NULL, NULL, NULL, &serial, (OCSP_CERTID *)(uintptr_t)id) == 1 &&
           ASN1_INTEGER_cmp(serial, X509_get0_serialNumber(leaf)) == 0;
}

static bool load_ocsp(struct tls_key *key, X509 *leaf, struct peri_slice der, char why[PERI_TLS_WHY])
{
    const unsigned char *at = (const unsigned char *)der.ptr;
    OCSP_RESPONSE *response = d2i_OCSP_RESPONSE(NULL, &at, (long)der.len);
    OCSP_BASICRESP *basic = response ? OCSP_response_get1_basic(response) : NULL;
    bool is_valid =
        basic && OCSP_response_status(response) == OCSP_RESPONSE_STATUS_SUCCESSFUL && OCSP_resp_get0(basic, 0) != NULL;
    bool is_ours = is_valid && is_about(basic, leaf);
    key->ocsp_until = is_ours ? ocsp_end(basic) : 0;
    OCSP_BASICRESP_free(basic);
    OCSP_RESPONSE_free(response);
    ERR_clear_error();
    if (!is_ours)
        return fail(why, is_valid ? "the OCSP response is about another certificate"
                                  : "the OCSP response is not a successful one in DER form");
    key->ocsp = OPENSSL_memdup(der.ptr, der.len);
    key->ocsp_len = der.len;
    return key->ocsp || fail(why, "out of memory");
}

static bool trust_clients(SSL_CTX *context, const struct peri_tls_server_options *options, char why[PERI_TLS_WHY])
{
    if (options->client_auth == PERI_TLS_CLIENT_NONE)
        return true;
    X509_STORE *store = SSL_CTX_get_cert_store(context);
    BIO *bio = BIO_new_mem_buf(options->client_ca.ptr, (int)options->client_ca.len);
    if (!bio || peri_tls_store_add(store, options->client_ca) == 0) {
        BIO_free(bio);
        return fail(why, "client_ca has no certificate in it");
    }
    STACK_OF(X509_INFO) *infos = PEM_X509_INFO_read_bio(bio, NULL, NULL, NULL);
    for (int i = 0; i < sk_X509_INFO_num(infos); i++)
        if (sk_X509_INFO_value(infos, i)->x509)
            SSL_CTX_add_client_CA(context, sk_X509_INFO_value(infos, i)->x509);
    sk_X509_INFO_pop_free(infos, X509_INFO_free);
    BIO_free(bio);
    ERR_clear_error();
    SSL_CTX_set_verify(context,
                       SSL_VERIFY_PEER |
                           (options->client_auth == PERI_TLS_CLIENT_REQUIRED ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0),
                       NULL);
    return true;
}

// A ticket is worth nothing where other authorities vouch for clients: the context of sessions is what clients must show.
static void name_sessions(SSL_CTX *context, const struct peri_tls_server_options *options)
{
    unsigned char digest[SHA256_DIGEST_LENGTH];
    SHA256((const unsigned char *)options->client_ca.ptr, options->client_ca.len, digest);
    digest[0] ^= (unsigned char)options->client_auth;
    SSL_CTX_set_session_id_context(context, digest, sizeof(digest));
}

static SSL_CTX *context_new(struct peri_tls_server *server, const struct peri_tls_server_options *options,
                            char why[PERI_TLS_WHY])
{
    SSL_CTX *context = peri_tls_context_new(TLS_server_method(), options->min_version);
    if (!context) {
        fail(why, "out of memory");
        return NULL;
    }
    SSL_CTX_set_tlsext_servername_callback(context, on_server_name);
    SSL_CTX_set_tlsext_servername_arg(context, server);
    SSL_CTX_set_tlsext_status_cb(context, on_staple);
    SSL_CTX_set_tlsext_status_arg(context, server);
    if (server->alpn_len > 0)
        SSL_CTX_set_alpn_select_cb(context, on_alpn, server);
    name_sessions(context, options);
    if (!peri_tls_tickets_use(context, options->tickets) || !trust_clients(context, options, why)) {
        SSL_CTX_free(context);
        return NULL;
    }
    return context;
}

static struct tls_entry *entry_add(struct peri_tls_server *server, const struct peri_tls_server_options *options,
                                   char why[PERI_TLS_WHY])
{
    struct tls_entry *entry = &server->entries[server->entry_count];
    *entry = (struct tls_entry){.context = context_new(server, options, why)};
    if (!entry->context)
        return NULL;
    server->entry_count++;
    return entry;
}

// Puts the certificate beside those for the same names, or into an entry of its own.
static struct tls_entry *find_place(struct peri_tls_server *server, const struct peri_tls_server_options *options,
                                    const struct peri_tls_certificate *c, X509 *leaf, char why[PERI_TLS_WHY])
{
    char *hosts = NULL;
    size_t len = 0;
    struct tls_entry *entry = NULL;
    if (!collect_hosts(c, leaf, &hosts, &len))
        fail(why, "out of memory");
    else if (!(entry = find_partner(server, hosts, len, EVP_PKEY_get_id(X509_get0_pubkey(leaf)))) &&
             (entry = entry_add(server, options, why))) {
        entry->hosts = hosts;
        entry->hosts_len = len;
        return entry;
    }
    free(hosts);
    return entry;
}

static bool load_certificate(struct peri_tls_server *server, const struct peri_tls_server_options *options,
                             const struct peri_tls_certificate *c, char why[PERI_TLS_WHY])
{
    X509 *leaf = peri_tls_read_leaf(c->cert);
    if (!leaf) {
        peri_tls_explain(why, "the certificate cannot be read");
        return false;
    }
    struct tls_entry *entry = find_place(server, options, c, leaf, why);
    bool is_ok = entry && peri_tls_context_use(entry->context, c->cert, c->key, why);
    if (is_ok) {
        struct tls_key *key = &entry->keys[entry->key_count++];
        key->type = EVP_PKEY_get_id(X509_get0_pubkey(leaf));
        is_ok = c->ocsp.len == 0 || load_ocsp(key, leaf, c->ocsp, why);
    }
    X509_free(leaf);
    return is_ok;
}

static size_t count_names(const struct tls_entry *entry)
{
    size_t count = 0;
    for (size_t i = 0; i < entry->hosts_len; i++)
        count += entry->hosts[i] == '\0';
    return count;
}

static bool index_names(struct peri_tls_server *server, char why[PERI_TLS_WHY])
{
    size_t count = 0;
    for (size_t i = 0; i < server->entry_count; i++)
        count += count_names(&server->entries[i]);
    server->names = calloc(count ? count : 1, sizeof(*server->names));
    if (!server->names)
        return fail(why, "out of memory");
    for (size_t i = 0; i < server->entry_count; i++) {
        struct tls_entry *entry = &server->entries[i];
        for (size_t at = 0; at < entry->hosts_len; at += strlen(entry->hosts + at) + 1)
            if (!find_exact(server, entry->hosts + at)) { // the first certificate of a name wins
                server->names[server->name_count++] = (struct tls_name){.host = entry->hosts + at, .entry = entry};
                qsort(server->names, server->name_count, sizeof(*server->names), compare_names);
            }
    }
    return true;
}

static void server_free(struct peri_tls_server *server)
{
    for (size_t i = 0; i < server->entry_count; i++) {
        SSL_CTX_free(server->entries[i].context);
        free(server->entries[i].hosts);
        for (size_t k = 0; k < server->entries[i].key_count; k++)
            OPENSSL_free(server->entries[i].keys[k].ocsp);
    }
    free(server->entries);
    free(server->names);
    free(server);
}

static void offer(struct peri_tls_server *server, const char *protocol)
{
    size_t len = strlen(protocol);
    server->alpn[server->alpn_len] = (unsigned char)len;
    memcpy(server->alpn + server->alpn_len + 1, protocol, len);
    server->alpn_len += (unsigned)len + 1;
}

struct peri_tls_server *peri_tls_server_new(const struct peri_tls_server_options *options, char why[PERI_TLS_WHY])
{
    peri_assert(options->certificate_count > 0);
    struct peri_tls_server *server = calloc(1, sizeof(*server));
    fail(why, "out of memory");
    if (!server)
        return NULL;
    server->references = 1;
    server->entries = calloc(options->certificate_count, sizeof(*server->entries));
    if (options->has_h2)
        offer(server, "h2");
    if (options->has_h1)
        offer(server, "http/1.1");
    bool is_ok = server->entries != NULL;
    for (size_t i = 0; is_ok && i < options->certificate_count; i++)
        is_ok = load_certificate(server, options, &options->certificates[i], why);
    if (!is_ok || !index_names(server, why)) {
        server_free(server);
        return NULL;
    }
    return server;
}

struct peri_tls_server *peri_tls_server_ref(struct peri_tls_server *server)
{
    server->references++;
    return server;
}

void peri_tls_server_unref(struct peri_tls_server *server)
{
    if (server && --server->references == 0)
        server_free(server);
}

SSL *peri_tls_server_open(struct peri_tls_server *server)
{
    SSL *ssl = SSL_new(server->entries[0].context);
    if (ssl)
        SSL_set_accept_state(ssl);
    return ssl;
}
