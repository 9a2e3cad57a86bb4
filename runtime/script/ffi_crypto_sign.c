// SPDX-License-Identifier: MIT
// Signatures for scripts: RSA (PKCS#1 v1.5, PSS), ECDSA on the NIST curves in the form of JOSE, Ed25519. A key does one kind of
// thing only: scheme, digest and curve are checked against it here, so that a token cannot make a key do what it is not for
// (RFC 8725 3.1).

#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <perigee/ffi.h>
#include <string.h>

#include "base/assert.h"
#include "script/ffi_crypto.h"

static bool fits(const struct peri_ffi_key *key, int32_t scheme, int32_t digest);
static bool prepare(struct peri_ffi_key *key, int32_t scheme, int32_t digest, bool is_signing);
static size_t to_der(const struct peri_crypto_curve *curve, const char *jose, size_t len, unsigned char *der);
static int32_t to_jose(const struct peri_crypto_curve *curve, const unsigned char *der, size_t len, char *jose);

static bool verify_eddsa(const struct peri_ffi_key *key, const char *data, size_t len, const unsigned char *signature,
                         size_t signature_len)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool is_good = ctx && EVP_DigestVerifyInit(ctx, NULL, NULL, NULL, key->pkey) == 1 &&
                   EVP_DigestVerify(ctx, signature, signature_len, (const unsigned char *)data, len) == 1;
    EVP_MD_CTX_free(ctx);
    ERR_clear_error();
    return is_good;
}

PERI_EXPORT int32_t peri_ffi_key_verify(struct peri_ffi_key *key, int32_t scheme, int32_t digest, const char *data,
                                        size_t len, const char *signature, size_t signature_len)
{
    char hash[PERI_FFI_DIGEST_MAX];
    unsigned char der[PERI_FFI_SIGNATURE_MAX];
    const unsigned char *given = (const unsigned char *)signature;
    if (!data || !signature || !fits(key, scheme, digest))
        return -1;
    if (scheme == PERI_FFI_SIGN_EDDSA)
        return verify_eddsa(key, data, len, given, signature_len);
    if (scheme == PERI_FFI_SIGN_ECDSA) {
        signature_len = to_der(peri_crypto_curve(key->kind), signature, signature_len, der);
        given = der;
    } else if (signature_len != (size_t)EVP_PKEY_get_size(key->pkey)) {
        return 0; // RFC 8017 8.1.2; OpenSSL takes one without its leading zeros
    }
    int32_t size = peri_ffi_digest(digest, data, len, hash);
    if (size < 0 || !prepare(key, scheme, digest, false))
        return -1;
    int rc = EVP_PKEY_verify(key->ctx, given, signature_len, (const unsigned char *)hash, (size_t)size);
    ERR_clear_error();
    return signature_len > 0 && rc == 1;
}

static int32_t sign_eddsa(const struct peri_ffi_key *key, const char *data, size_t len, char *out)
{
    size_t size = PERI_FFI_SIGNATURE_MAX;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool is_done = ctx && EVP_DigestSignInit(ctx, NULL, NULL, NULL, key->pkey) == 1 &&
                   EVP_DigestSign(ctx, (unsigned char *)out, &size, (const unsigned char *)data, len) == 1;
    EVP_MD_CTX_free(ctx);
    ERR_clear_error();
    return is_done ? (int32_t)size : -1;
}

PERI_EXPORT int32_t peri_ffi_key_sign(struct peri_ffi_key *key, int32_t scheme, int32_t digest, const char *data,
                                      size_t len, char *out)
{
    char hash[PERI_FFI_DIGEST_MAX];
    unsigned char der[PERI_FFI_SIGNATURE_MAX];
    size_t size = PERI_FFI_SIGNATURE_MAX;
    if (!data || !out || !fits(key, scheme, digest) || !key->is_private)
        return -1;
    if (scheme == PERI_FFI_SIGN_EDDSA)
        return sign_eddsa(key, data, len, out);
    int32_t hash_len = peri_ffi_digest(digest, data, len, hash);
    if (hash_len < 0 || !prepare(key, scheme, digest, true) ||
        EVP_PKEY_sign(key->ctx, der, &size, (const unsigned char *)hash, (size_t)hash_len) != 1)
        return -1;
    if (scheme == PERI_FFI_SIGN_ECDSA)
        return to_jose(peri_crypto_curve(key->kind), der, size, out);
    memcpy(out, der, size);
    return (int32_t)size;
}

/// Is the key made for this scheme and digest?
static bool fits(const struct peri_ffi_key *key, int32_t scheme, int32_t digest)
{
    if (!key)
        return false;
    const struct peri_crypto_curve *curve = peri_crypto_curve(key->kind);
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
static size_t to_der(const struct peri_crypto_curve *curve, const char *jose, size_t len, unsigned char *der)
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

static int32_t to_jose(const struct peri_crypto_curve *curve, const unsigned char *der, size_t len, char *jose)
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
