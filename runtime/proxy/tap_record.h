// SPDX-License-Identifier: MIT
// What the tap keeps of one exchange until it is written. Nobody outside the tap includes this.
#ifndef PERI_PROXY_TAP_RECORD_H
#define PERI_PROXY_TAP_RECORD_H

#include "base/buf.h"
#include "codec/header.h"
#include "exchange/exchange.h"
#include "proxy/mask.h"
#include "upstream/attempt.h"

struct peri_text;

#define PERI_TAP_ATTEMPTS 4 ///< attempts of one exchange that are kept; the last takes the place of more

/// The beginning of a body.
struct peri_tap_body {
    struct peri_buf kept;
    uint64_t total; ///< bytes that passed
};

struct peri_tap_attempt {
    struct peri_slice upstream;
    struct peri_slice endpoint;
    struct peri_slice path;
    struct peri_slice query; ///< raw, without '?'
    struct peri_slice authority;
    struct peri_slice method;
    struct peri_headers sent; ///< shares the exchange's memory, as all lists here
    struct peri_headers received;
    struct peri_tap_body body;
    int status; ///< 0: no head came
    peri_err_t err;
};

struct peri_tap_record {
    struct peri_tap *tap; ///< referenced
    struct peri_exchange *x;
    const struct peri_client_ops *client; ///< what the tap stands in for
    struct peri_client_ops client_ops;
    struct peri_owner_ops owner_ops;
    const struct peri_attempt_events *attempt;
    struct peri_attempt_events attempt_events;
    uint64_t wall_ms;
    struct peri_slice method;
    struct peri_slice authority;
    struct peri_headers headers; ///< of the request as it came
    struct peri_tap_body body;
    uint32_t attempt_count;
    struct peri_tap_attempt attempts[PERI_TAP_ATTEMPTS];
    int status; ///< of the response to the client; 0: its head was not sent
    struct peri_headers response;
};

/// Appends the record as one line of JSON without a newline; the exchange is about to be released after `ns` nanoseconds.
void peri_tap_write(const struct peri_tap_record *record, struct peri_mask *mask, uint64_t ns, struct peri_text *out);

#endif
