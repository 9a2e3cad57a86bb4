// SPDX-License-Identifier: MIT
// Who a peer's certificate says it is. Names are compared with their explicit lengths: a NUL inside a name ends nothing
// (CVE-2009-2408 and its many descendants).
#include <arpa/inet.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>

#include "event/tls_internal.h"

#define DOMAIN_MAX 255 // bytes of a trust domain (SPIFFE-ID 2.3)

static struct peri_slice text_of(const ASN1_STRING *string)
{
    return peri_slice((const char *)ASN1_STRING_get0_data(string), (size_t)ASN1_STRING_length(string));
}

static bool is_domain_byte(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '-' || c == '_';
}

static bool is_path_byte(char c)
{
    return is_domain_byte(c) || (c >= 'A' && c <= 'Z');
}

// No empty, "." or ".." segment, and no slash at the end.
static bool is_spiffe_path(struct peri_slice path)
{
    size_t begin = 1;
    if (path.len < 2 || path.ptr[0] != '/')
        return false;
    for (size_t i = 1; i <= path.len; i++) {
        if (i < path.len && path.ptr[i] != '/') {
            if (!is_path_byte(path.ptr[i]))
                return false;
            continue;
        }
        struct peri_slice segment = peri_slice(path.ptr + begin, i - begin);
        if (segment.len == 0 || peri_slice_eq(segment, PERI_SLICE(".")) || peri_slice_eq(segment, PERI_SLICE("..")))
            return false;
        begin = i + 1;
    }
    return true;
}

static bool is_spiffe_id(struct peri_slice uri)
{
    struct peri_slice scheme = PERI_SLICE("spiffe://");
    if (uri.len > PERI_TLS_SPIFFE_MAX || !peri_slice_starts(uri, scheme))
        return false;
    struct peri_slice rest = peri_slice(uri.ptr + scheme.len, uri.len - scheme.len);
    size_t domain = 0;
    while (domain < rest.len && is_domain_byte(rest.ptr[domain]))
        domain++;
    return domain > 0 && domain <= DOMAIN_MAX && is_spiffe_path(peri_slice(rest.ptr + domain, rest.len - domain));
}

// A leaf that may sign others is no identity (X509-SVID 4.1, 4.3).
static bool is_leaf(X509 *peer)
{
    uint32_t usage = X509_get_key_usage(peer);
    return X509_check_ca(peer) == 0 && (usage == UINT32_MAX || (usage & (KU_KEY_CERT_SIGN | KU_CRL_SIGN)) == 0);
}

// The one URI of a certificate that has a SPIFFE ID: exactly one, and valid.
static peri_err_t read_spiffe(X509 *peer, const GENERAL_NAMES *names, struct peri_tls_identity *identity)
{
    struct peri_slice id = {0};
    int uris = 0;
    bool claims = false;
    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
        if (name->type != GEN_URI)
            continue;
        struct peri_slice uri = text_of(name->d.uniformResourceIdentifier);
        struct peri_slice scheme = peri_slice(uri.ptr, uri.len < 7 ? uri.len : 7);
        uris++;
        if (peri_slice_ieq(scheme, PERI_SLICE("spiffe:")))
            claims = true, id = uri;
    }
    if (!claims)
        return PERI_OK;
    if (uris != 1 || !is_leaf(peer) || !is_spiffe_id(id))
        return PERI_ERR_TLS;
    memcpy(identity->spiffe_id, id.ptr, id.len);
    identity->spiffe_id[id.len] = '\0';
    return PERI_OK;
}

static void read_name(const X509_NAME *name, char *text, size_t size)
{
    BIO *bio = BIO_new(BIO_s_mem());
    if (bio && X509_NAME_print_ex(bio, name, 0, XN_FLAG_RFC2253) >= 0) {
        int len = BIO_read(bio, text, (int)size - 1);
        text[len > 0 ? len : 0] = '\0';
    }
    BIO_free(bio);
}

// Text that means one thing: visible bytes, and the colon of a scheme in URIs only, so that no name passes for one.
static bool is_plain(struct peri_slice text, bool is_uri)
{
    for (size_t i = 0; i < text.len; i++)
        if (text.ptr[i] <= ' ' || text.ptr[i] > '~' || (text.ptr[i] == ':' && !is_uri))
            return false;
    return text.len > 0 && (!is_uri || memchr(text.ptr, ':', text.len) != NULL);
}

// The text of a name, in `address` where it has none of its own; empty for kinds that are not listed.
static struct peri_slice name_text(const GENERAL_NAME *name, char address[INET6_ADDRSTRLEN])
{
    struct peri_slice bytes, none = {0};
    switch (name->type) {
    case GEN_DNS: bytes = text_of(name->d.dNSName); return is_plain(bytes, false) ? bytes : none;
    case GEN_EMAIL: bytes = text_of(name->d.rfc822Name); return is_plain(bytes, false) ? bytes : none;
    case GEN_URI: bytes = text_of(name->d.uniformResourceIdentifier); return is_plain(bytes, true) ? bytes : none;
    case GEN_IPADD: bytes = text_of(name->d.iPAddress); break;
    default: return none;
    }
    if ((bytes.len != 4 && bytes.len != 16) ||
        !inet_ntop(bytes.len == 4 ? AF_INET : AF_INET6, bytes.ptr, address, INET6_ADDRSTRLEN))
        return none;
    return peri_slice_from(address);
}

static peri_err_t read_sans(const GENERAL_NAMES *names, struct peri_tls_identity *identity)
{
    char address[INET6_ADDRSTRLEN];
    size_t total = 0;
    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++)
        total += name_text(sk_GENERAL_NAME_value(names, i), address).len + 1;
    identity->sans = malloc(total);
    if (!identity->sans)
        return PERI_ERR_OVERLOADED;
    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        struct peri_slice text = name_text(sk_GENERAL_NAME_value(names, i), address);
        if (text.len == 0)
            continue;
        memcpy(identity->sans + identity->sans_len, text.ptr, text.len);
        identity->sans[identity->sans_len + text.len] = '\0';
        identity->sans_len += text.len + 1;
    }
    return PERI_OK;
}

static void read_fingerprint(X509 *peer, struct peri_tls_identity *identity)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    if (X509_digest(peer, EVP_sha256(), digest, &len) != 1)
        return;
    for (unsigned i = 0; i < len && i < 32; i++)
        snprintf(identity->fingerprint + 2 * (size_t)i, 3, "%02x", digest[i]);
}

peri_err_t peri_tls_identify(X509 *peer, struct peri_tls_identity *identity)
{
    GENERAL_NAMES *names = X509_get_ext_d2i(peer, NID_subject_alt_name, NULL, NULL);
    peri_err_t err = names ? read_spiffe(peer, names, identity) : PERI_OK;
    if (err == PERI_OK && sk_GENERAL_NAME_num(names) > 0)
        err = read_sans(names, identity);
    GENERAL_NAMES_free(names);
    read_name(X509_get_subject_name(peer), identity->subject, sizeof(identity->subject));
    read_name(X509_get_issuer_name(peer), identity->issuer, sizeof(identity->issuer));
    read_fingerprint(peer, identity);
    return err;
}

void peri_tls_identity_close(struct peri_tls_identity *identity)
{
    free(identity->sans);
    identity->sans = NULL;
}

static bool has_uri(X509 *peer, struct peri_slice wanted)
{
    GENERAL_NAMES *names = X509_get_ext_d2i(peer, NID_subject_alt_name, NULL, NULL);
    bool is_found = false;
    for (int i = 0; !is_found && i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
        is_found = name->type == GEN_URI && peri_slice_eq(text_of(name->d.uniformResourceIdentifier), wanted);
    }
    GENERAL_NAMES_free(names);
    return is_found;
}

bool peri_tls_has_name(X509 *peer, const struct peri_slice *names, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        bool is_uri = memchr(names[i].ptr, ':', names[i].len) != NULL;
        if (is_uri ? has_uri(peer, names[i])
                   : X509_check_host(peer, names[i].ptr, names[i].len, X509_CHECK_FLAG_NEVER_CHECK_SUBJECT, NULL) == 1)
            return true;
    }
    return false;
}
