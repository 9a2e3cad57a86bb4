// SPDX-License-Identifier: MIT
// The certificates in a folder that another program writes: which files belong together, from the generation's source. For
// proxy/tls_config.c only.
#ifndef PERI_PROXY_TLS_DIRECTORY_H
#define PERI_PROXY_TLS_DIRECTORY_H

#include <stdbool.h>
#include <stddef.h>

#include "base/slice.h"

struct peri_source;
struct peri_tls_certificate;
struct peri_tls_fault;

/// Adds every certificate with its key in the folder `path` behind the `*count` ones that are there, up to `max`: NAME.crt or NAME.pem with
/// NAME.key, NAME/fullchain.pem with NAME/privkey.pem, in byte order of NAME. What is not complete is passed over: it may be on its
/// way. Each that is added can be loaded. False with *fault filled.
bool peri_tls_directory_read(const struct peri_source *source, struct peri_slice path,
                             struct peri_tls_certificate *certificates, size_t max, size_t *count,
                             struct peri_tls_fault *fault);

#endif
