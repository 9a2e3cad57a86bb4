// SPDX-License-Identifier: MIT
// Stateless session tickets (RFC 5077, RFC 8446 4.6.1) under keys that all workers share: a session resumes on every worker
// and after a reload. The keys are replaced by one process; whoever reads a key that is being replaced sees a wrong MAC, and
// the handshake is a full one.
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/rand.h>
#include <stdatomic.h>

#include "base/list.h"
#include "base/log.h"
#include "event/tls_internal.h"
#include "event/tls_tickets.h"

peri_err_t peri_tls_ticket_keys_rotate(struct peri_tls_ticket_keys *keys)
{
    uint32_t next = keys->count == 0 ? 0 : (keys->newest + 1) % PERI_TLS_TICKET_KEYS;
    struct peri_tls_ticket_key fresh;
    if (RAND_bytes((unsigned char *)&fresh, sizeof(fresh)) != 1)
        return PERI_ERR_SYSTEM;
    keys->keys[next] = fresh;
    OPENSSL_cleanse(&fresh, sizeof(fresh));
    __atomic_store_n(&keys->newest, next, __ATOMIC_RELEASE);
    if (keys->count < PERI_TLS_TICKET_KEYS)
        __atomic_store_n(&keys->count, keys->count + 1, __ATOMIC_RELEASE);
    return PERI_OK;
}

// The keys that there are go on when there is no randomness for a new one.
static void on_rotate(struct peri_timer *timer)
{
    struct peri_tls_ticket_rotation *rotation = PERI_CONTAINER(timer, struct peri_tls_ticket_rotation, timer);
    if (peri_tls_ticket_keys_rotate(rotation->keys) != PERI_OK)
        peri_error("tls: the system gives no randomness for a new ticket key");
    peri_timer_start(rotation->loop, &rotation->timer, PERI_TLS_TICKET_KEY_MS);
}

void peri_tls_ticket_rotation_init(struct peri_tls_ticket_rotation *rotation)
{
    peri_timer_init(&rotation->timer, on_rotate);
}

void peri_tls_ticket_rotation_start(struct peri_tls_ticket_rotation *rotation, struct peri_loop *loop,
                                    struct peri_tls_ticket_keys *keys)
{
    rotation->loop = loop;
    rotation->keys = keys;
    peri_timer_start(loop, &rotation->timer, PERI_TLS_TICKET_KEY_MS);
}

void peri_tls_ticket_rotation_stop(struct peri_tls_ticket_rotation *rotation)
{
    peri_timer_stop(&rotation->timer);
}

static const struct peri_tls_ticket_key *find_key(const struct peri_tls_ticket_keys *keys, const unsigned char *name)
{
    for (uint32_t i = 0; i < PERI_TLS_TICKET_KEYS; i++)
        if (memcmp(keys->keys[i].name, name, sizeof(keys->keys[i].name)) == 0)
            return &keys->keys[i];
    return NULL;
}

static bool use_mac(EVP_MAC_CTX *mac, const struct peri_tls_ticket_key *key)
{
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, (void *)(uintptr_t)key->mac, sizeof(key->mac)),
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, (char *)(uintptr_t) "sha256", 0),
        OSSL_PARAM_construct_end(),
    };
    return EVP_MAC_CTX_set_params(mac, params) == 1;
}

// Fetched once: OpenSSL looks the algorithm up anew for every ticket otherwise.
static const EVP_CIPHER *ticket_cipher(void)
{
    static EVP_CIPHER *cipher;
    if (!cipher)
        cipher = EVP_CIPHER_fetch(NULL, "AES-256-CBC", NULL);
    return cipher;
}

static int seal(const struct peri_tls_ticket_keys *keys, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher,
                EVP_MAC_CTX *mac)
{
    const struct peri_tls_ticket_key *key = &keys->keys[__atomic_load_n(&keys->newest, __ATOMIC_ACQUIRE)];
    memcpy(name, key->name, sizeof(key->name));
    if (RAND_bytes(iv, EVP_MAX_IV_LENGTH) != 1 ||
        EVP_EncryptInit_ex(cipher, ticket_cipher(), NULL, key->cipher, iv) != 1 || !use_mac(mac, key))
        return -1;
    return 1;
}

// 0: a full handshake; 1: resume; 2: resume, and give another ticket: under the newest key, or because those of TLS 1.3 are for
// one use (RFC 8446 C.4).
static int unseal(const struct peri_tls_ticket_keys *keys, const unsigned char *name, unsigned char *iv,
                  EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac, bool is_for_one_use)
{
    const struct peri_tls_ticket_key *key = find_key(keys, name);
    if (!key)
        return 0;
    if (!use_mac(mac, key) || EVP_DecryptInit_ex(cipher, ticket_cipher(), NULL, key->cipher, iv) != 1)
        return -1;
    bool is_newest = key == &keys->keys[__atomic_load_n(&keys->newest, __ATOMIC_ACQUIRE)];
    return is_newest && !is_for_one_use ? 1 : 2;
}

static int on_ticket(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac,
                     int is_sealing)
{
    const struct peri_tls_ticket_keys *keys = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
    if (__atomic_load_n(&keys->count, __ATOMIC_ACQUIRE) == 0)
        return 0;
    return is_sealing ? seal(keys, name, iv, cipher, mac)
                      : unseal(keys, name, iv, cipher, mac, SSL_version(ssl) == TLS1_3_VERSION);
}

bool peri_tls_tickets_use(SSL_CTX *context, const struct peri_tls_ticket_keys *keys)
{
    if (!keys) {
        SSL_CTX_set_options(context, SSL_OP_NO_TICKET);
        SSL_CTX_set_num_tickets(context, 0);
        return true;
    }
    SSL_CTX_set_app_data(context, (void *)(uintptr_t)keys);
    SSL_CTX_set_num_tickets(context, 1);
    return SSL_CTX_set_tlsext_ticket_key_evp_cb(context, on_ticket) == 1;
}
