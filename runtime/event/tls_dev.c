// SPDX-License-Identifier: MIT
// A certificate that vouches for itself, for `perigee dev`: for this machine's own names, made when it is first asked for and kept
// in memory only, so that no key lies about in a project.
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdlib.h>

#include "event/tls_internal.h"

#define VALID_FROM (-3600L)           // seconds from now: clocks of others may be behind
#define VALID_UNTIL (30L * 24 * 3600) // longer than such a process lives

static bool extend(X509 *cert, int kind, const char *value)
{
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, NULL, kind, value);
    bool is_added = extension && X509_add_ext(cert, extension, -1) == 1;
    X509_EXTENSION_free(extension);
    return is_added;
}

static bool set_name(X509 *cert)
{
    static const unsigned char text[] = "Perigee development";
    X509_NAME *name = X509_get_subject_name(cert);
    return X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, text, -1, -1, 0) == 1 &&
           X509_set_issuer_name(cert, name) == 1;
}

// Browsers refuse two certificates of one issuer with the same serial number.
static bool set_serial(X509 *cert)
{
    uint64_t serial;
    return RAND_bytes((unsigned char *)&serial, sizeof(serial)) == 1 &&
           ASN1_INTEGER_set_uint64(X509_get_serialNumber(cert), serial >> 1) == 1;
}

static bool fill(X509 *cert, EVP_PKEY *key)
{
    return X509_set_version(cert, X509_VERSION_3) == 1 && set_serial(cert) && set_name(cert) &&
           X509_gmtime_adj(X509_getm_notBefore(cert), VALID_FROM) &&
           X509_gmtime_adj(X509_getm_notAfter(cert), VALID_UNTIL) && X509_set_pubkey(cert, key) == 1 &&
           extend(cert, NID_basic_constraints, "critical,CA:FALSE") &&
           extend(cert, NID_key_usage, "critical,digitalSignature") && extend(cert, NID_ext_key_usage, "serverAuth") &&
           extend(cert, NID_subject_alt_name, "DNS:localhost,IP:127.0.0.1,IP:::1") &&
           X509_sign(cert, key, EVP_sha256()) > 0;
}

// The bytes that were written to `bio` (taken), owned; empty when out of memory.
static struct peri_slice take_text(BIO *bio, bool is_written)
{
    char *data = NULL;
    long len = is_written ? BIO_get_mem_data(bio, &data) : 0;
    char *copy = len > 0 ? malloc((size_t)len) : NULL;
    if (copy)
        memcpy(copy, data, (size_t)len);
    BIO_free(bio);
    return peri_slice(copy, copy ? (size_t)len : 0);
}

static void make(struct peri_tls_certificate *made)
{
    X509 *cert = X509_new();
    EVP_PKEY *key = EVP_EC_gen("P-256");
    if (cert && key && fill(cert, key)) {
        BIO *bio = BIO_new(BIO_s_mem());
        made->cert = take_text(bio, bio && PEM_write_bio_X509(bio, cert) == 1);
        bio = BIO_new(BIO_s_mem());
        made->key = take_text(bio, bio && PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL) == 1);
    }
    X509_free(cert);
    EVP_PKEY_free(key);
}

const struct peri_tls_certificate *peri_tls_dev_certificate(void)
{
    static struct peri_tls_certificate made; // of the process: connections before and after a reload see the same
    if (made.cert.len == 0 || made.key.len == 0)
        make(&made);
    return made.cert.len > 0 && made.key.len > 0 ? &made : NULL;
}
