// SPDX-License-Identifier: MIT
// Keys that sign and verify, for scripts: read from PEM or from the members of a JWK. What a key may do is decided here by
// its kind, once; ffi_crypto_sign.c uses it.

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/param_build.h>
#include <openssl/pem.h>
#include <perigee/ffi.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/attr.h"
#include "base/slice.h"
#include "script/ffi_crypto.h"

#define RSA_BITS_MIN 2048
#define RSA_BITS_MAX 8192
#define PEM_MAX 65536
#define COORDINATE_MAX 66 // bytes of a P-521 coordinate

static const struct peri_crypto_curve curves[] = {
    {"prime256v1", 32, PERI_FFI_KEY_P256, PERI_FFI_SHA256},
    {"secp384r1", 48, PERI_FFI_KEY_P384, PERI_FFI_SHA384},
    {"secp521r1", 66, PERI_FFI_KEY_P521, PERI_FFI_SHA512},
};

static EVP_PKEY *read_pem(const char *pem, size_t len, bool is_private);
static struct peri_ffi_key *wrap(EVP_PKEY *pkey, bool is_private, char *message, size_t size);
static int32_t kind_of(const EVP_PKEY *pkey);
static EVP_PKEY *build_rsa(struct peri_slice n, struct peri_slice e);
static EVP_PKEY *build_ec(const struct peri_crypto_curve *curve, struct peri_slice x, struct peri_slice y);

PERI_EXPORT struct peri_ffi_key *peri_ffi_key_from_pem(const char *pem, size_t len, int32_t is_private, char *message,
                                                       size_t size)
{
    EVP_PKEY *pkey = pem && len <= PEM_MAX ? read_pem(pem, len, is_private != 0) : NULL;
    ERR_clear_error();
    if (!pkey) {
        snprintf(message, size, "not a PEM %s", is_private ? "private key without a passphrase" : "public key");
        return NULL;
    }
    return wrap(pkey, is_private != 0, message, size);
}

/// A passphrase is never asked for on the terminal.
static int no_passphrase(char *buf, int size, int is_writing, void *data)
{
    (void)buf, (void)size, (void)is_writing, (void)data;
    return -1;
}

static EVP_PKEY *read_pem(const char *pem, size_t len, bool is_private)
{
    BIO *bio = BIO_new_mem_buf(pem, (int)len);
    if (!bio)
        return NULL;
    EVP_PKEY *pkey = is_private ? PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL)
                                : PEM_read_bio_PUBKEY(bio, NULL, no_passphrase, NULL);
    if (!pkey && !is_private && BIO_reset(bio) == 1) {
        X509 *certificate = PEM_read_bio_X509(bio, NULL, no_passphrase, NULL);
        pkey = certificate ? X509_get_pubkey(certificate) : NULL;
        X509_free(certificate);
    }
    BIO_free(bio);
    return pkey;
}

PERI_EXPORT struct peri_ffi_key *peri_ffi_key_from_jwk(int32_t kind, const char *a, size_t a_len, const char *b,
                                                       size_t b_len, char *message, size_t size)
{
    const struct peri_crypto_curve *curve = peri_crypto_curve(kind);
    EVP_PKEY *pkey = NULL;
    if (a && b && kind == PERI_FFI_KEY_RSA)
        pkey = build_rsa(peri_slice(a, a_len), peri_slice(b, b_len));
    else if (a && b && curve && a_len == curve->coordinate && b_len == curve->coordinate)
        pkey = build_ec(curve, peri_slice(a, a_len), peri_slice(b, b_len));
    else if (a && kind == PERI_FFI_KEY_ED25519 && a_len == 32)
        pkey = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, (const unsigned char *)a, a_len);
    ERR_clear_error();
    if (!pkey) {
        snprintf(message, size, "the members of the key are not those of its type");
        return NULL;
    }
    return wrap(pkey, false, message, size);
}

/// Takes `pkey`.
static struct peri_ffi_key *wrap(EVP_PKEY *pkey, bool is_private, char *message, size_t size)
{
    int32_t kind = kind_of(pkey);
    int bits = EVP_PKEY_get_bits(pkey);
    struct peri_ffi_key *key = NULL;
    if (kind == 0)
        snprintf(message, size, "the key is not RSA, EC P-256, P-384 or P-521, or Ed25519");
    else if (kind == PERI_FFI_KEY_RSA && (bits < RSA_BITS_MIN || bits > RSA_BITS_MAX))
        snprintf(message, size, "the RSA key has %d bits; %d to %d are fine", bits, RSA_BITS_MIN, RSA_BITS_MAX);
    else if (!(key = calloc(1, sizeof *key)))
        snprintf(message, size, "out of memory");
    if (!key) {
        EVP_PKEY_free(pkey);
        return NULL;
    }
    key->pkey = pkey;
    key->kind = kind;
    key->is_private = is_private;
    return key;
}

static int32_t kind_of(const EVP_PKEY *pkey)
{
    char group[64] = "";
    if (EVP_PKEY_is_a(pkey, "RSA"))
        return PERI_FFI_KEY_RSA;
    if (EVP_PKEY_is_a(pkey, "ED25519"))
        return PERI_FFI_KEY_ED25519;
    if (!EVP_PKEY_is_a(pkey, "EC") || EVP_PKEY_get_group_name(pkey, group, sizeof group, NULL) != 1)
        return 0;
    for (size_t i = 0; i < PERI_COUNT(curves); i++)
        if (strcmp(group, curves[i].name) == 0)
            return curves[i].kind;
    return 0;
}

const struct peri_crypto_curve *peri_crypto_curve(int32_t kind)
{
    for (size_t i = 0; i < PERI_COUNT(curves); i++)
        if (curves[i].kind == kind)
            return &curves[i];
    return NULL;
}

/// Public key from parameters; takes `params`.
static EVP_PKEY *build(const char *type, OSSL_PARAM *params)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
    EVP_PKEY *pkey = NULL;
    if (ctx && params && EVP_PKEY_fromdata_init(ctx) == 1 &&
        EVP_PKEY_fromdata(ctx, &pkey, EVP_PKEY_PUBLIC_KEY, params) != 1)
        pkey = NULL;
    EVP_PKEY_CTX_free(ctx);
    OSSL_PARAM_free(params);
    return pkey;
}

static EVP_PKEY *build_rsa(struct peri_slice n, struct peri_slice e)
{
    if (n.len == 0 || n.len > RSA_BITS_MAX / 8 + 1 || e.len == 0 || e.len > 8)
        return NULL;
    BIGNUM *modulus = BN_bin2bn((const unsigned char *)n.ptr, (int)n.len, NULL);
    BIGNUM *exponent = BN_bin2bn((const unsigned char *)e.ptr, (int)e.len, NULL);
    OSSL_PARAM_BLD *builder = OSSL_PARAM_BLD_new();
    bool is_sane = modulus && exponent && BN_is_odd(modulus) && BN_is_odd(exponent) && !BN_is_one(exponent);
    bool is_built = is_sane && builder && OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_N, modulus) == 1 &&
                    OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_E, exponent) == 1;
    EVP_PKEY *pkey = is_built ? build("RSA", OSSL_PARAM_BLD_to_param(builder)) : NULL;
    OSSL_PARAM_BLD_free(builder);
    BN_free(modulus);
    BN_free(exponent);
    return pkey;
}

/// The point in uncompressed form; OpenSSL refuses one that is not on the curve.
static EVP_PKEY *build_ec(const struct peri_crypto_curve *curve, struct peri_slice x, struct peri_slice y)
{
    unsigned char point[1 + 2 * COORDINATE_MAX] = {4};
    memcpy(point + 1, x.ptr, x.len);
    memcpy(point + 1 + x.len, y.ptr, y.len);
    OSSL_PARAM_BLD *builder = OSSL_PARAM_BLD_new();
    bool is_built = builder &&
                    OSSL_PARAM_BLD_push_utf8_string(builder, OSSL_PKEY_PARAM_GROUP_NAME, curve->name, 0) == 1 &&
                    OSSL_PARAM_BLD_push_octet_string(builder, OSSL_PKEY_PARAM_PUB_KEY, point, 1 + x.len + y.len) == 1;
    EVP_PKEY *pkey = is_built ? build("EC", OSSL_PARAM_BLD_to_param(builder)) : NULL;
    OSSL_PARAM_BLD_free(builder);
    return pkey;
}

PERI_EXPORT void peri_ffi_key_free(struct peri_ffi_key *key)
{
    if (!key)
        return;
    EVP_PKEY_CTX_free(key->ctx);
    EVP_PKEY_free(key->pkey);
    free(key);
}

PERI_EXPORT int32_t peri_ffi_key_kind(const struct peri_ffi_key *key)
{
    return key ? key->kind : 0;
}
