// SPDX-License-Identifier: MIT
// One-shot digests through OpenSSL's EVP.
#include "codec/digest.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

peri_err_t peri_digest_sha256(struct peri_slice data, unsigned char out[PERI_DIGEST_SIZE])
{
    unsigned len = 0;
    if (EVP_Digest(data.ptr, data.len, out, &len, EVP_sha256(), NULL) != 1 || len != PERI_DIGEST_SIZE)
        return PERI_ERR_SYSTEM;
    return PERI_OK;
}

peri_err_t peri_digest_sha1(struct peri_slice data, unsigned char out[PERI_DIGEST_SHA1])
{
    unsigned len = 0;
    if (EVP_Digest(data.ptr, data.len, out, &len, EVP_sha1(), NULL) != 1 || len != PERI_DIGEST_SHA1)
        return PERI_ERR_SYSTEM;
    return PERI_OK;
}

peri_err_t peri_digest_hmac(struct peri_slice key, struct peri_slice data, unsigned char out[PERI_DIGEST_SIZE])
{
    unsigned len = 0;
    const unsigned char *bytes = (const unsigned char *)data.ptr;
    if (!HMAC(EVP_sha256(), key.ptr, (int)key.len, bytes, data.len, out, &len) || len != PERI_DIGEST_SIZE)
        return PERI_ERR_SYSTEM;
    return PERI_OK;
}

peri_err_t peri_digest_random(unsigned char *out, size_t len)
{
    return RAND_bytes(out, (int)len) == 1 ? PERI_OK : PERI_ERR_SYSTEM;
}

const char *peri_digest_version(void)
{
    return OpenSSL_version(OPENSSL_VERSION_STRING);
}

void peri_digest_format(const unsigned char digest[PERI_DIGEST_SIZE], char text[PERI_DIGEST_TEXT + 1])
{
    static const char hex[] = "0123456789abcdef";
    for (unsigned i = 0; i < PERI_DIGEST_SIZE; i++) {
        text[2 * i] = hex[digest[i] >> 4];
        text[2 * i + 1] = hex[digest[i] & 15];
    }
    text[PERI_DIGEST_TEXT] = '\0';
}
