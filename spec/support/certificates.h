// SPDX-License-Identifier: MIT
// Certificates made for one test run: an authority, and leaves with the names that a test wants.
#ifndef PERI_SPEC_CERTIFICATES_H
#define PERI_SPEC_CERTIFICATES_H

#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>

#include "base/slice.h"

struct issued {
    X509 *cert;
    EVP_PKEY *key;
    struct peri_slice cert_pem; ///< owned
    struct peri_slice key_pem;  ///< owned
};

static struct peri_slice issued_text(BIO *bio)
{
    char *data;
    long len = BIO_get_mem_data(bio, &data);
    char *copy = malloc((size_t)len);
    memcpy(copy, data, (size_t)len);
    BIO_free(bio);
    return peri_slice(copy, (size_t)len);
}

static void issued_extend(X509 *cert, int nid, const char *value)
{
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, NULL, nid, value);
    X509_add_ext(cert, extension, -1);
    X509_EXTENSION_free(extension);
}

/// A certificate called `name`, signed by `issuer` (NULL: by itself, an authority), with the subjectAltName `names`
/// ("DNS:a.test,URI:spiffe://x/y"; NULL for none), valid from `from` to `to` seconds from now.
static struct issued issue_for(const struct issued *issuer, const char *name, const char *names, bool is_rsa, long from,
                               long to)
{
    struct issued made = {.cert = X509_new(), .key = is_rsa ? EVP_RSA_gen(2048) : EVP_EC_gen("P-256")};
    static long serial;
    X509_set_version(made.cert, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(made.cert), ++serial);
    X509_gmtime_adj(X509_getm_notBefore(made.cert), from);
    X509_gmtime_adj(X509_getm_notAfter(made.cert), to);
    X509_set_pubkey(made.cert, made.key);
    X509_NAME *subject = X509_get_subject_name(made.cert);
    X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const unsigned char *)name, -1, -1, 0);
    X509_set_issuer_name(made.cert, issuer ? X509_get_subject_name(issuer->cert) : subject);
    if (!issuer)
        issued_extend(made.cert, NID_basic_constraints, "critical,CA:TRUE");
    if (names)
        issued_extend(made.cert, NID_subject_alt_name, names);
    X509_sign(made.cert, issuer ? issuer->key : made.key, EVP_sha256());
    BIO *bio = BIO_new(BIO_s_mem());
    PEM_write_bio_X509(bio, made.cert);
    made.cert_pem = issued_text(bio);
    bio = BIO_new(BIO_s_mem());
    PEM_write_bio_PrivateKey(bio, made.key, NULL, NULL, 0, NULL, NULL);
    made.key_pem = issued_text(bio);
    return made;
}

static struct issued issue(const struct issued *issuer, const char *name, const char *names)
{
    return issue_for(issuer, name, names, false, -60, 3600);
}

static void issued_free(struct issued *made)
{
    X509_free(made->cert);
    EVP_PKEY_free(made->key);
    free((void *)(uintptr_t)made->cert_pem.ptr);
    free((void *)(uintptr_t)made->key_pem.ptr);
}

#endif
