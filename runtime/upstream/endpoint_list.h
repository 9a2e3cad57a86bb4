// SPDX-License-Identifier: MIT
// Lists of endpoints that come from outside while the proxy runs, as JSON: read, checked, and brought into the form and order of the
// normalised configuration, in which equal sets have equal texts.
#ifndef PERI_UPSTREAM_ENDPOINT_LIST_H
#define PERI_UPSTREAM_ENDPOINT_LIST_H

#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

struct peri_json;

#define PERI_ENDPOINT_LIST_MAX 1000              ///< endpoints of a list
#define PERI_ENDPOINT_LIST_BYTES (1024u * 1024u) ///< of its text
#define PERI_ENDPOINT_LIST_TEXT 64               ///< an IP address with its port
#define PERI_ENDPOINT_LIST_ADDRESS 248           ///< bytes of an address
#define PERI_ENDPOINT_LIST_LABELS 64             ///< labels of an endpoint
#define PERI_ENDPOINT_LIST_LABEL 128             ///< bytes of a label's name, and of its value

/// Reads a list: each item is "host:port", "unix:/path", or an object of `address`, `weight` (1 to 65535), `zone`, `priority` (0 to 15)
/// and `labels` (texts by name). Owned by the caller. NULL when it cannot be used: `problem` says why and where.
struct peri_json *peri_endpoint_list_read(struct peri_slice text, char *problem, size_t size);

/// The same from a parsed text (taken).
struct peri_json *peri_endpoint_list_take(struct peri_json *list, char *problem, size_t size);

/// An address that was found for an endpoint.
struct peri_endpoint_item {
    char address[PERI_ENDPOINT_LIST_TEXT];
    uint16_t weight; ///< 1 or more
    uint16_t priority;
};

/// The list of these endpoints, each address once: the one that is asked first, and of those the one of most weight. Sorts them. NULL
/// when out of memory.
struct peri_json *peri_endpoint_list_make(struct peri_endpoint_item *items, size_t count);

#endif
