// SPDX-License-Identifier: MIT
// Digests, MACs, random bytes and password hashing for scripts, on OpenSSL. Algorithms are fetched once per process: a fetch
// costs more than hashing a token. An HMAC key keeps the context that was set up with it, so a MAC costs only its blocks.
// Signatures are in ffi_crypto_key.c, encodings in codec/base64.

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <perigee/ffi.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "codec/base64.h"
#include "script/ffi_crypto.h"

#define PASSWORD_ITERATIONS_MAX 10000000 // a mistake, not a policy: perigee.crypto has the real bound

struct peri_ffi_hmac {
    EVP_MAC_CTX *ctx; // owned; keyed
    size_t len;       // of the MAC
};

static const char *const digest_names[] = {NULL, "SHA1", "SHA2-256", "SHA2-384", "SHA2-512"};
static EVP_MD *digests[PERI_COUNT(digest_names)]; // fetched on first use, never freed
static EVP_MD_CTX *digest_ctx;                    // never freed
static EVP_MAC *hmac_algorithm;                   // never freed

const struct evp_md_st *peri_crypto_digest(int32_t digest)
{
    if (digest <= 0 || digest >= (int32_t)PERI_COUNT(digest_names))
        return NULL;
    if (!digests[digest])
        digests[digest] = EVP_MD_fetch(NULL, digest_names[digest], NULL);
    return digests[digest];
}

PERI_EXPORT int32_t peri_ffi_digest(int32_t digest, const char *data, size_t len, char *out)
{
    const EVP_MD *md = peri_crypto_digest(digest);
    unsigned size = 0;
    if (!digest_ctx)
        digest_ctx = EVP_MD_CTX_new();
    bool is_done = md && digest_ctx && data && out && EVP_DigestInit_ex2(digest_ctx, md, NULL) == 1 &&
                   EVP_DigestUpdate(digest_ctx, data, len) == 1 &&
                   EVP_DigestFinal_ex(digest_ctx, (unsigned char *)out, &size) == 1;
    return is_done ? (int32_t)size : -1;
}

PERI_EXPORT struct peri_ffi_hmac *peri_ffi_hmac_new(int32_t digest, const char *key, size_t len)
{
    const EVP_MD *md = peri_crypto_digest(digest);
    struct peri_ffi_hmac *hmac = md && key ? calloc(1, sizeof *hmac) : NULL;
    if (!hmac)
        return NULL;
    if (!hmac_algorithm)
        hmac_algorithm = EVP_MAC_fetch(NULL, "HMAC", NULL);
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, (char *)(uintptr_t)digest_names[digest], 0),
        OSSL_PARAM_construct_end(),
    };
    hmac->len = (size_t)EVP_MD_get_size(md);
    hmac->ctx = hmac_algorithm ? EVP_MAC_CTX_new(hmac_algorithm) : NULL;
    // A key of no bytes must still be a key: NULL would mean "keep the old one".
    if (!hmac->ctx || EVP_MAC_init(hmac->ctx, (const unsigned char *)key, len, params) != 1) {
        peri_ffi_hmac_free(hmac);
        return NULL;
    }
    return hmac;
}

PERI_EXPORT void peri_ffi_hmac_free(struct peri_ffi_hmac *hmac)
{
    if (!hmac)
        return;
    EVP_MAC_CTX_free(hmac->ctx);
    free(hmac);
}

PERI_EXPORT int32_t peri_ffi_hmac_compute(struct peri_ffi_hmac *hmac, const char *data, size_t len, char *out)
{
    size_t size = 0;
    bool is_done = hmac && data && out && EVP_MAC_init(hmac->ctx, NULL, 0, NULL) == 1 &&
                   EVP_MAC_update(hmac->ctx, (const unsigned char *)data, len) == 1 &&
                   EVP_MAC_final(hmac->ctx, (unsigned char *)out, &size, PERI_FFI_DIGEST_MAX) == 1;
    return is_done ? (int32_t)size : -1;
}

PERI_EXPORT int32_t peri_ffi_hmac_verify(struct peri_ffi_hmac *hmac, const char *data, size_t len, const char *mac,
                                         size_t mac_len)
{
    char expected[PERI_FFI_DIGEST_MAX];
    int32_t size = peri_ffi_hmac_compute(hmac, data, len, expected);
    if (size < 0 || !mac)
        return -1;
    peri_assert((size_t)size == hmac->len);
    return mac_len == hmac->len && CRYPTO_memcmp(expected, mac, mac_len) == 0;
}

PERI_EXPORT int32_t peri_ffi_random(char *out, size_t len)
{
    bool is_done = out && len <= INT32_MAX && RAND_bytes((unsigned char *)out, (int)len) == 1;
    return is_done ? 0 : -1;
}

PERI_EXPORT int32_t peri_ffi_equal(const char *a, const char *b, size_t len)
{
    return a && b && CRYPTO_memcmp(a, b, len) == 0;
}

PERI_EXPORT int32_t peri_ffi_pbkdf2(const char *password, size_t len, const char *salt, size_t salt_len,
                                    uint32_t iterations, char *out, size_t out_len)
{
    const EVP_MD *md = peri_crypto_digest(PERI_FFI_SHA256);
    bool is_sane = md && password && salt && out && iterations > 0 && iterations <= PASSWORD_ITERATIONS_MAX &&
                   len <= INT32_MAX && salt_len <= INT32_MAX && out_len > 0 && out_len <= PERI_FFI_DIGEST_MAX;
    if (!is_sane)
        return -1;
    int rc = PKCS5_PBKDF2_HMAC(password, (int)len, (const unsigned char *)salt, (int)salt_len, (int)iterations, md,
                               (int)out_len, (unsigned char *)out);
    return rc == 1 ? 0 : -1;
}

PERI_EXPORT size_t peri_ffi_base64_encode(const char *data, size_t len, int32_t is_url, char *out)
{
    return peri_base64_encode(peri_slice(data, len), is_url != 0, out);
}

PERI_EXPORT int64_t peri_ffi_base64_decode(const char *text, size_t len, int32_t is_url, char *out)
{
    size_t size = 0;
    return peri_base64_decode(peri_slice(text, len), is_url != 0, out, &size) ? (int64_t)size : -1;
}

PERI_EXPORT void peri_ffi_hex_encode(const char *data, size_t len, char *out)
{
    peri_hex_encode(peri_slice(data, len), out);
}

PERI_EXPORT int64_t peri_ffi_hex_decode(const char *text, size_t len, char *out)
{
    return peri_hex_decode(peri_slice(text, len), out) ? (int64_t)(len / 2) : -1;
}
