// SPDX-License-Identifier: MIT
// What a peer may not do too often, and frames on streams that are over. nghttp2 1.52 forgives the latter and lacks most of the
// former; this file looks at each frame before nghttp2 does. Limits: security.md 7.2 and Envoy's protocol options.
#include "codec/h2_internal.h"

#define CONTROL_BURST 1000    // PING, SETTINGS and empty frames at once …
#define CONTROL_PER_SECOND 33 // … and for ever
#define PRIORITIES_PER_STREAM 100
#define WINDOWS_FREE 5
#define RESETS_FREE 500   // streams after which the share of early resets counts
#define PREMATURE_MS 1000 // a reset within this time is early
#define EMPTY_IN_A_ROW 1
#define EXCESS 3 // times the limit of a head that may come above it

static peri_err_t refuse(struct peri_h2 *h2, uint32_t code, peri_err_t err)
{
    h2->error_code = code;
    return err;
}

static peri_err_t flood(struct peri_h2 *h2)
{
    return refuse(h2, NGHTTP2_ENHANCE_YOUR_CALM, PERI_ERR_LIMIT);
}

static peri_err_t take_token(struct peri_h2 *h2)
{
    struct peri_h2_guard *g = &h2->guard;
    uint64_t fresh = (h2->now_ms - g->refilled_ms) * CONTROL_PER_SECOND / 1000;
    if (g->refilled_ms == 0 || fresh >= CONTROL_BURST) {
        g->tokens = CONTROL_BURST;
        g->refilled_ms = h2->now_ms;
    } else if (fresh > 0) {
        g->tokens = g->tokens + fresh < CONTROL_BURST ? g->tokens + (uint32_t)fresh : CONTROL_BURST;
        g->refilled_ms += fresh * 1000 / CONTROL_PER_SECOND;
    }
    if (g->tokens == 0)
        return flood(h2);
    g->tokens--;
    return PERI_OK;
}

static bool is_in(const int32_t *ring, int32_t id)
{
    for (unsigned i = 0; i < PERI_H2_RECENT; i++)
        if (ring[i] == id)
            return true;
    return false;
}

static int32_t stream_id(const uint8_t head[9])
{
    return (head[5] & 0x7f) << 24 | head[6] << 16 | head[7] << 8 | head[8];
}

// Server: DATA or HEADERS on a stream that the client opened before. Where we reset it, frames may have been on their way; where
// the client ended it, or skipped it, it has no excuse (RFC 9113 5.1, 5.1.1).
static peri_err_t check_closed(struct peri_h2 *h2, const uint8_t head[9])
{
    int32_t id = stream_id(head);
    if (h2->role != PERI_H2_SERVER || id == 0 || id % 2 == 0 || id > h2->last_id)
        return PERI_OK;
    const struct peri_h2_stream *stream = nghttp2_session_get_stream_user_data(h2->session, id);
    if (stream || is_in(h2->reset_ids, id))
        return PERI_OK;
    bool was_open = is_in(h2->closed_ids, id) || head[3] == NGHTTP2_DATA;
    return refuse(h2, was_open ? NGHTTP2_STREAM_CLOSED : NGHTTP2_PROTOCOL_ERROR, PERI_ERR_BAD_REQUEST);
}

static peri_err_t check_empty(struct peri_h2 *h2, const uint8_t head[9], uint32_t length)
{
    bool is_empty = length == 0 && !(head[4] & NGHTTP2_FLAG_END_STREAM);
    h2->guard.empty_in_a_row = is_empty ? h2->guard.empty_in_a_row + 1 : 0;
    return h2->guard.empty_in_a_row > EMPTY_IN_A_ROW ? flood(h2) : PERI_OK;
}

peri_err_t peri_h2_guard_frame(struct peri_h2 *h2, const uint8_t head[PERI_H2_HEAD], uint32_t length)
{
    struct peri_h2_guard *g = &h2->guard;
    peri_err_t err;
    switch (head[3]) {
    case NGHTTP2_DATA:
    case NGHTTP2_HEADERS: err = check_closed(h2, head); return err == PERI_OK ? check_empty(h2, head, length) : err;
    case NGHTTP2_CONTINUATION: return check_empty(h2, head, length);
    case NGHTTP2_PRIORITY: return ++g->priorities > PRIORITIES_PER_STREAM * (1 + g->opened) ? flood(h2) : PERI_OK;
    case NGHTTP2_WINDOW_UPDATE:
        // An increment of nothing is an error also where the stream is over (RFC 9113 6.9), and a cheap way to make us reset one.
        if (length == 4 && (head[9] & 0x7f) == 0 && head[10] == 0 && head[11] == 0 && head[12] == 0)
            return refuse(h2, NGHTTP2_PROTOCOL_ERROR, PERI_ERR_BAD_REQUEST);
        return ++g->windows > WINDOWS_FREE + 2 * (g->opened + h2->count + 10 * g->data_sent) ? flood(h2) : PERI_OK;
    case NGHTTP2_RST_STREAM: // of an open stream: counted when that closes
        return nghttp2_session_get_stream_user_data(h2->session, stream_id(head)) ? PERI_OK : take_token(h2);
    default: return take_token(h2);
    }
}

static peri_err_t count_premature(struct peri_h2 *h2)
{
    struct peri_h2_guard *g = &h2->guard;
    g->premature++;
    return g->opened >= RESETS_FREE && g->premature * 2 > g->opened ? flood(h2) : PERI_OK;
}

peri_err_t peri_h2_guard_reset(struct peri_h2 *h2, const struct peri_h2_stream *stream)
{
    bool is_early = h2->role == PERI_H2_SERVER && h2->now_ms - stream->begun_ms <= PREMATURE_MS;
    return is_early ? count_premature(h2) : PERI_OK;
}

peri_err_t peri_h2_guard_refused(struct peri_h2 *h2)
{
    h2->guard.opened++;
    return count_premature(h2);
}

// Few bytes on the wire can stand for many (HPACK), and each is work: a client that means no harm was told the limit.
peri_err_t peri_h2_guard_excess(struct peri_h2_stream *stream, size_t cost)
{
    struct peri_h2 *h2 = stream->h2;
    stream->block.excess += cost;
    bool is_flood = h2->role == PERI_H2_SERVER && stream->block.excess > (uint64_t)EXCESS * h2->limits.header_bytes;
    return is_flood ? flood(h2) : PERI_OK;
}

void peri_h2_guard_closed(struct peri_h2 *h2, int32_t id, bool by_us)
{
    if (by_us)
        h2->reset_ids[h2->reset_next++ % PERI_H2_RECENT] = id;
    else
        h2->closed_ids[h2->closed_next++ % PERI_H2_RECENT] = id;
}
