// SPDX-License-Identifier: MIT
// TLS of listeners and upstreams, from the normalised configuration and the files that it names. The files are read from the
// generation's source, so that a reload brings new certificates, and a wrong one is an error of the reload.
#ifndef PERI_PROXY_TLS_CONFIG_H
#define PERI_PROXY_TLS_CONFIG_H

#include "base/err.h"

struct peri_json;
struct peri_shm;
struct peri_source;
struct peri_tls_client;
struct peri_tls_server;

/// What is wrong, and in which setting below "tls".
struct peri_tls_fault {
    char setting[64];  ///< "cert", "certificates[2].key"; "" for the whole
    char message[256]; ///< one sentence
};

/// TLS of a listener from its "tls", with the ticket keys in `shm`. One reference for the caller; NULL with *fault filled.
struct peri_tls_server *peri_tls_config_server(const struct peri_json *json, const struct peri_source *source,
                                               struct peri_shm *shm, struct peri_tls_fault *fault);

/// TLS of an upstream from its "tls"; `has_h1` and `has_h2` say what may be offered. One reference for the caller; NULL with *fault
/// filled.
struct peri_tls_client *peri_tls_config_client(const struct peri_json *json, const struct peri_source *source,
                                               bool has_h1, bool has_h2, struct peri_tls_fault *fault);

#endif
