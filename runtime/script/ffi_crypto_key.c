// SPDX-License-Identifier: MIT
// Keys that sign and verify, for scripts: RSA (PKCS#1 v1.5, PSS), ECDSA on the NIST curves in the form of JOSE, Ed25519. A key
// does one kind of thing only: scheme, digest and curve are checked against it here, so that a token cannot make a key do
// what it is not for (RFC 8725 3.1).

#include <openssl/core_names.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <perigee/ffi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/slice.h"
#include "script/ffi_crypto.h"

#define RSA_BITS_MIN 2048
#define RSA_BITS_MAX 8192
#define PEM_MAX 65536
#define COORDINATE_MAX 66 // bytes of a P-521 coordinate

struct peri_ffi_key {
    EVP_PKEY *pkey; // owned
    int32_t kind;
    bool is_private;
    // The last operation set up, kept because the next one is nearly always the same.
    EVP_PKEY_CTX *ctx; // owned; NULL before the first
    int32_t scheme, digest;
    bool is_signing;
};

// A curve, its names in OpenSSL and the digest that JOSE ties to it (RFC 7518 3.4).
static const struct curve {
    const char *name;
    size_t coordinate;
    int32_t kind, digest;
} curves[] = {
    {"prime256v1", 32, PERI_FFI_KEY_P256, PERI_FFI_SHA256},
    {"secp384r1", 48, PERI_FFI_KEY_P384, PERI_FFI_SHA384},
    {"secp521r1", 66, PERI_FFI_KEY_P521, PERI_FFI_SHA512},
};

static const struct curve *find_curve(int32_t kind);
static EVP_PKEY *read_pem(const char *pem, size_t len, bool is_private);
static struct peri_ffi_key *wrap(EVP_PKEY *pkey, bool is_private, char *message, size_t size);
static int32_t kind_of(const EVP_PKEY *pkey);
static EVP_PKEY *build_rsa(struct peri_slice n, struct peri_slice e);
static EVP_PKEY *build_ec(const struct curve *curve, struct peri_slice x, struct peri_slice y);
static bool fits(const struct peri_ffi_key *key, int32_t scheme, int32_t digest);
static bool prepare(struct peri_ffi_key *key, int32_t scheme, int32_t digest, bool is_signing);
static size_t to_der(const struct curve *curve, const char *jose, size_t len, unsigned char *der);
static int32_t to_jose(const struct curve *curve, const unsigned char *der, size_t len, char *jose);

// ---------------------------------------------------------------- making keys

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
    const struct curve *curve = find_curve(kind);
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

static const struct curve *find_curve(int32_t kind)
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
static EVP_PKEY *build_ec(const struct curve *curve, struct peri_slice x, struct peri_slice y)
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

// ---------------------------------------------------------------- using keys

PERI_EXPORT int32_t peri_ffi_key_verify(struct peri_ffi_key *key, int32_t scheme, int32_t digest, const char *data,
                                        size_t len, const char *signature, size_t signature_len)
{
    char hash[PERI_FFI_DIGEST_MAX];
    unsigned char der[PERI_FFI_SIGNATURE_MAX];
    const unsigned char *given = (const unsigned char *)signature;
    if (!data || !signature || !fits(key, scheme, digest))
        return -1;
    if (scheme == PERI_FFI_SIGN_EDDSA) {
        EVP_MD_CTX *ctx = EVP_MD_CTX_new();
        bool is_good = ctx && EVP_DigestVerifyInit(ctx, NULL, NULL, NULL, key->pkey) == 1 &&
                       EVP_DigestVerify(ctx, given, signature_len, (const unsigned char *)data, len) == 1;
        EVP_MD_CTX_free(ctx);
        ERR_clear_error();
        return is_good;
    }
    if (scheme == PERI_FFI_SIGN_ECDSA) {
        signature_len = to_der(find_curve(key->kind), signature, signature_len, der);
        given = der;
    }
    int32_t size = peri_ffi_digest(digest, data, len, hash);
    if (size < 0 || !prepare(key, scheme, digest, false))
        return -1;
    int rc = EVP_PKEY_verify(key->ctx, given, signature_len, (const unsigned char *)hash, (size_t)size);
    ERR_clear_error();
    return signature_len > 0 && rc == 1;
}

PERI_EXPORT int32_t peri_ffi_key_sign(struct peri_ffi_key *key, int32_t scheme, int32_t digest, const char *data,
                                      size_t len, char *out)
{
    char hash[PERI_FFI_DIGEST_MAX];
    unsigned char der[PERI_FFI_SIGNATURE_MAX];
    size_t size = PERI_FFI_SIGNATURE_MAX;
    if (!data || !out || !fits(key, scheme, digest) || !key->is_private)
        return -1;
    if (scheme == PERI_FFI_SIGN_EDDSA) {
        EVP_MD_CTX *ctx = EVP_MD_CTX_new();
        bool is_done = ctx && EVP_DigestSignInit(ctx, NULL, NULL, NULL, key->pkey) == 1 &&
                       EVP_DigestSign(ctx, (unsigned char *)out, &size, (const unsigned char *)data, len) == 1;
        EVP_MD_CTX_free(ctx);
        return is_done ? (int32_t)size : -1;
    }
    int32_t hash_len = peri_ffi_digest(digest, data, len, hash);
    if (hash_len < 0 || !prepare(key, scheme, digest, true) ||
        EVP_PKEY_sign(key->ctx, der, &size, (const unsigned char *)hash, (size_t)hash_len) != 1)
        return -1;
    if (scheme == PERI_FFI_SIGN_ECDSA)
        return to_jose(find_curve(key->kind), der, size, out);
    memcpy(out, der, size);
    return (int32_t)size;
}

/// Is the key made for this scheme and digest?
static bool fits(const struct peri_ffi_key *key, int32_t scheme, int32_t digest)
{
    if (!key)
        return false;
    const struct curve *curve = find_curve(key->kind);
    switch (scheme) {
    case PERI_FFI_SIGN_PKCS1:
    case PERI_FFI_SIGN_PSS:
        return key->kind == PERI_FFI_KEY_RSA && digest >= PERI_FFI_SHA256 && digest <= PERI_FFI_SHA512;
    case PERI_FFI_SIGN_ECDSA: return curve && digest == curve->digest;
    case PERI_FFI_SIGN_EDDSA: return key->kind == PERI_FFI_KEY_ED25519;
    default: return false;
    }
}

/// Makes key->ctx ready for the operation; a context may be used many times for the same one.
static bool prepare(struct peri_ffi_key *key, int32_t scheme, int32_t digest, bool is_signing)
{
    if (key->ctx && key->scheme == scheme && key->digest == digest && key->is_signing == is_signing)
        return true;
    const EVP_MD *md = peri_crypto_digest(digest);
    EVP_PKEY_CTX_free(key->ctx);
    key->ctx = EVP_PKEY_CTX_new_from_pkey(NULL, key->pkey, NULL);
    bool is_ready = md && key->ctx &&
                    (is_signing ? EVP_PKEY_sign_init(key->ctx) : EVP_PKEY_verify_init(key->ctx)) == 1 &&
                    EVP_PKEY_CTX_set_signature_md(key->ctx, md) == 1;
    if (is_ready && scheme == PERI_FFI_SIGN_PKCS1)
        is_ready = EVP_PKEY_CTX_set_rsa_padding(key->ctx, RSA_PKCS1_PADDING) == 1;
    if (is_ready && scheme == PERI_FFI_SIGN_PSS) // RFC 7518 3.5: MGF1 with the same digest, salt of its length
        is_ready = EVP_PKEY_CTX_set_rsa_padding(key->ctx, RSA_PKCS1_PSS_PADDING) == 1 &&
                   EVP_PKEY_CTX_set_rsa_mgf1_md(key->ctx, md) == 1 &&
                   EVP_PKEY_CTX_set_rsa_pss_saltlen(key->ctx, RSA_PSS_SALTLEN_DIGEST) == 1;
    if (!is_ready) {
        EVP_PKEY_CTX_free(key->ctx);
        key->ctx = NULL;
        ERR_clear_error();
        return false;
    }
    key->scheme = scheme;
    key->digest = digest;
    key->is_signing = is_signing;
    return true;
}

/// r || s to the DER that OpenSSL reads; 0 when the length is not the curve's.
static size_t to_der(const struct curve *curve, const char *jose, size_t len, unsigned char *der)
{
    ECDSA_SIG *pair = ECDSA_SIG_new();
    const unsigned char *bytes = (const unsigned char *)jose;
    int size = 0;
    if (!pair || len != 2 * curve->coordinate) {
        ECDSA_SIG_free(pair);
        return 0;
    }
    BIGNUM *r = BN_bin2bn(bytes, (int)curve->coordinate, NULL);
    BIGNUM *s = BN_bin2bn(bytes + curve->coordinate, (int)curve->coordinate, NULL);
    if (r && s && ECDSA_SIG_set0(pair, r, s) == 1) {
        peri_assert(i2d_ECDSA_SIG(pair, NULL) <= PERI_FFI_SIGNATURE_MAX);
        size = i2d_ECDSA_SIG(pair, &der);
    } else {
        BN_free(r);
        BN_free(s);
    }
    ECDSA_SIG_free(pair);
    return size > 0 ? (size_t)size : 0;
}

static int32_t to_jose(const struct curve *curve, const unsigned char *der, size_t len, char *jose)
{
    ECDSA_SIG *pair = d2i_ECDSA_SIG(NULL, &der, (long)len);
    int half = (int)curve->coordinate;
    if (!pair)
        return -1;
    bool is_done = BN_bn2binpad(ECDSA_SIG_get0_r(pair), (unsigned char *)jose, half) == half &&
                   BN_bn2binpad(ECDSA_SIG_get0_s(pair), (unsigned char *)jose + half, half) == half;
    ECDSA_SIG_free(pair);
    return is_done ? 2 * half : -1;
}
