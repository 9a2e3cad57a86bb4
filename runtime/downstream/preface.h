// SPDX-License-Identifier: MIT
// What the first bytes of a connection without TLS say about its protocol: HTTP/2 begins with a preface (RFC 9113 3.4).
#ifndef PERI_DOWNSTREAM_PREFACE_H
#define PERI_DOWNSTREAM_PREFACE_H

#include <stddef.h>

#include "base/slice.h"

enum peri_preface {
    PERI_PREFACE_HTTP1,   ///< no preface, but it may be HTTP/1.x
    PERI_PREFACE_PART,    ///< all of it belongs to a preface that is not complete
    PERI_PREFACE_HTTP2,   ///< the preface is complete
    PERI_PREFACE_NO_HTTP, ///< neither
};

/// Looks at `data` behind `seen` bytes of the preface. *used: how much of it belongs to the preface, when it does.
enum peri_preface peri_preface_look(size_t seen, struct peri_slice data, size_t *used);

#endif
