// SPDX-License-Identifier: MIT
// What the SDK's request and response objects call. Lua has compared the handle's generation before every call here, so the
// slot has an exchange; everything else that comes from a script is checked.
#include <stddef.h>

#include "base/assert.h"
#include "base/attr.h"
#include "codec/url.h"
#include "event/tls.h"
#include "exchange/exchange.h"
#include "script/ffi_shared.h"
#include "script/fiber.h"
#include "script/script_types.h"
#include "script/slot.h"
#include "script/watchdog.h"
#include "shared/metrics.h"

_Static_assert(offsetof(struct peri_slot, ffi) == 0, "a slot begins with what Lua sees");

_Static_assert((int)PERI_FFI_FLAG_DI == (int)PERI_FLAG_DELAYED && (int)PERI_FFI_FLAG_FI == (int)PERI_FLAG_FAULT &&
                   (int)PERI_FFI_FLAG_RL == (int)PERI_FLAG_RATE_LIMITED &&
                   (int)PERI_FFI_FLAG_RLSE == (int)PERI_FLAG_RATE_UNKNOWN &&
                   (int)PERI_FFI_FLAG_UAEX == (int)PERI_FLAG_UNAUTHORIZED &&
                   (int)PERI_FFI_FLAG_UO == (int)PERI_FLAG_OVERFLOW,
               "the flags of ffi.h are those of exchange/flags.h");

static struct peri_exchange *exchange_of(struct peri_ffi_slot *slot)
{
    struct peri_exchange *x = ((struct peri_slot *)(void *)slot)->x;
    peri_assert(x);
    return x;
}

static const struct peri_script_host *host_of(struct peri_ffi_slot *slot)
{
    return ((struct peri_slot *)(void *)slot)->script->vm->host;
}

static int32_t answer(struct peri_ffi_slot *slot, struct peri_slice text)
{
    slot->ptr = text.ptr;
    slot->len = text.len;
    return text.ptr != NULL;
}

// The request may still be changed: no head of a response has been sent.
static bool is_open(const struct peri_exchange *x)
{
    return x->state <= PERI_X_RESPONSE;
}

PERI_EXPORT struct peri_ffi_slot *peri_ffi_slot(int32_t id)
{
    struct peri_slot *slot = peri_slot_find(id);
    if (!slot)
        return NULL;
    slot->is_known = true;
    return &slot->ffi;
}

// A fact of the client's TLS; empty for what there is not.
static struct peri_slice tls_text(const struct peri_tls_info *tls, int32_t which)
{
    const char *text = NULL;
    switch (which) {
    case PERI_FFI_TLS_VERSION: text = tls->version; break;
    case PERI_FFI_TLS_CIPHER: text = tls->cipher; break;
    case PERI_FFI_TLS_SERVER_NAME: text = tls->server_name; break;
    case PERI_FFI_TLS_ALPN: text = tls->alpn; break;
    case PERI_FFI_PEER_SUBJECT: text = tls->subject; break;
    case PERI_FFI_PEER_ISSUER: text = tls->issuer; break;
    case PERI_FFI_PEER_SPIFFE_ID: text = tls->spiffe_id; break;
    case PERI_FFI_PEER_FINGERPRINT: text = tls->fingerprint; break;
    default: break;
    }
    return peri_slice_from(text);
}

PERI_EXPORT int32_t peri_ffi_peer_san(struct peri_ffi_slot *slot, int32_t index)
{
    const struct peri_exchange *x = exchange_of(slot);
    const char *san = x->tls ? x->tls->sans : "";
    for (int32_t i = 0; i < index && *san != '\0'; i++)
        san += strlen(san) + 1;
    return answer(slot, *san != '\0' ? peri_slice_from(san) : peri_slice(NULL, 0));
}

PERI_EXPORT int32_t peri_ffi_text(struct peri_ffi_slot *slot, int32_t which)
{
    const struct peri_exchange *x = exchange_of(slot);
    struct peri_slice text = {NULL, 0};
    switch (which) {
    case PERI_FFI_METHOD: text = x->req.method_name; break;
    case PERI_FFI_SCHEME: text = x->req.scheme; break;
    case PERI_FFI_HOST: text = x->req.host; break;
    case PERI_FFI_PATH: text = x->req.path; break;
    case PERI_FFI_QUERY: text = x->req.query; break;
    case PERI_FFI_CONSUMER: text = x->consumer; break;
    case PERI_FFI_REQUEST_ID: text = x->request_id; break;
    case PERI_FFI_CLIENT_IP: text = x->client_ip; break;
    case PERI_FFI_UPSTREAM: text = x->facts.upstream; break;
    case PERI_FFI_ENDPOINT: text = x->facts.endpoint; break;
    default: text = x->tls ? tls_text(x->tls, which) : text; break;
    }
    if (text.len == 0)
        text.ptr = which <= PERI_FFI_QUERY ? "" : NULL;
    return answer(slot, text);
}

static double duration(struct peri_ffi_slot *slot)
{
    uint64_t now = peri_loop_now_ns(((struct peri_slot *)(void *)slot)->script->vm->loop);
    uint64_t start = exchange_of(slot)->facts.start_ns;
    return now > start ? (double)(now - start) / 1e9 : 0;
}

PERI_EXPORT double peri_ffi_number(struct peri_ffi_slot *slot, int32_t which)
{
    const struct peri_exchange *x = exchange_of(slot);
    switch (which) {
    case PERI_FFI_VERSION: return x->req.version;
    case PERI_FFI_CLIENT_PORT: return x->peer.port;
    case PERI_FFI_ATTEMPTS: return x->facts.attempts;
    case PERI_FFI_STATUS: return x->res.status;
    case PERI_FFI_DURATION: return duration(slot);
    case PERI_FFI_BYTES_IN: return (double)x->facts.bytes_in;
    case PERI_FFI_BYTES_OUT: return (double)x->facts.bytes_out;
    case PERI_FFI_LENGTH: return (double)x->req.content_length;
    case PERI_FFI_DEADLINE: return (double)x->facts.deadline_ns / 1e9;
    case PERI_FFI_FLAGS: return (double)(x->facts.flags & PERI_FLAGS_OF_POLICIES);
    default: return 0;
    }
}

static peri_err_t set_method(struct peri_exchange *x, struct peri_slice name)
{
    if (!peri_header_is_name(name) || peri_method_parse(name) == PERI_METHOD_CONNECT)
        return PERI_ERR_INVALID;
    x->req.method_name = name;
    x->req.method = peri_method_parse(name);
    return PERI_OK;
}

static peri_err_t set_scheme(struct peri_exchange *x, struct peri_slice scheme)
{
    if (!peri_slice_eq(scheme, PERI_SLICE("http")) && !peri_slice_eq(scheme, PERI_SLICE("https")))
        return PERI_ERR_INVALID;
    x->req.scheme = scheme;
    return PERI_OK;
}

static peri_err_t set_host(struct peri_exchange *x, struct peri_slice authority)
{
    struct peri_slice host;
    uint16_t port;
    peri_err_t err = peri_url_parse_authority(&x->arena, authority, &host, &port);
    if (err != PERI_OK)
        return err;
    struct peri_header *header = peri_headers_find(&x->req.headers, PERI_H_HOST);
    if (header) {
        header->value = authority.ptr;
        header->value_len = (uint32_t)authority.len;
        header->is_line = false;
    }
    x->req.authority = authority;
    x->req.host = host;
    return PERI_OK;
}

static peri_err_t set_path(struct peri_exchange *x, struct peri_slice path)
{
    struct peri_slice normal;
    if (path.len == 0 || path.ptr[0] != '/')
        return PERI_ERR_BAD_PATH;
    peri_err_t err = peri_url_normalize_path(&x->arena, path, &normal);
    if (err == PERI_OK)
        x->req.path = normal;
    return err;
}

static peri_err_t set_query(struct peri_exchange *x, struct peri_slice query)
{
    for (size_t i = 0; i < query.len; i++) {
        unsigned char c = (unsigned char)query.ptr[i];
        if (c <= 0x20 || c == 0x7f || c == '#')
            return PERI_ERR_INVALID;
    }
    x->req.query = query;
    return PERI_OK;
}

PERI_EXPORT int32_t peri_ffi_set_text(struct peri_ffi_slot *slot, int32_t which, const char *ptr, size_t len)
{
    struct peri_exchange *x = exchange_of(slot);
    if (!is_open(x))
        return PERI_ERR_CLOSED;
    if (!peri_header_is_value(peri_slice(ptr, len)))
        return PERI_ERR_INVALID;
    struct peri_slice text = peri_arena_copy(&x->arena, peri_slice(ptr, len));
    if (!text.ptr)
        return PERI_ERR_NOMEM;
    switch (which) {
    case PERI_FFI_METHOD: return set_method(x, text);
    case PERI_FFI_SCHEME: return set_scheme(x, text);
    case PERI_FFI_HOST: return set_host(x, text);
    case PERI_FFI_PATH: return set_path(x, text);
    case PERI_FFI_QUERY: return set_query(x, text);
    case PERI_FFI_CONSUMER: x->consumer = text; return PERI_OK;
    case PERI_FFI_REQUEST_ID: x->request_id = text; return PERI_OK;
    default: return PERI_ERR_INVALID;
    }
}

PERI_EXPORT int32_t peri_ffi_capture(struct peri_ffi_slot *slot, int32_t index)
{
    if (index < 0 || index >= PERI_CAPTURES_MAX)
        return 0;
    return answer(slot, exchange_of(slot)->captures[index]);
}

static struct peri_headers *list_of(struct peri_exchange *x, int32_t list)
{
    switch (list) {
    case PERI_FFI_REQUEST_HEADERS: return &x->req.headers;
    case PERI_FFI_RESPONSE_HEADERS: return &x->res.headers;
    case PERI_FFI_REQUEST_TRAILERS: return &x->req.trailers;
    default: return &x->res.trailers;
    }
}

// The first field of this name, in lower case, at or behind place `from`; its place goes to *at.
static struct peri_header *find_lower(const struct peri_headers *headers, struct peri_slice name, unsigned from,
                                      unsigned *at)
{
    for (unsigned i = from; i < headers->count; i++) {
        struct peri_header *header = &headers->items[i];
        if (header->name_len == name.len && memcmp(header->name, name.ptr, name.len) == 0) {
            *at = i;
            return header;
        }
    }
    return NULL;
}

// The same for a name in any case. Scripts nearly always write lower case, as the names are kept.
static struct peri_header *find_header(const struct peri_headers *headers, struct peri_slice name, unsigned from,
                                       unsigned *at)
{
    struct peri_header *header = find_lower(headers, name, from, at);
    for (size_t i = 0; !header && i < name.len; i++)
        if (name.ptr[i] >= 'A' && name.ptr[i] <= 'Z')
            return peri_headers_find_name(headers, name, from, at);
    return header;
}

PERI_EXPORT int32_t peri_ffi_header_get(struct peri_ffi_slot *slot, int32_t list, const char *name, size_t len)
{
    return peri_ffi_header_next(slot, list, name, len, 0) > 0;
}

PERI_EXPORT int32_t peri_ffi_header_next(struct peri_ffi_slot *slot, int32_t list, const char *name, size_t len,
                                         int32_t from)
{
    unsigned at = 0;
    const struct peri_header *header =
        find_header(list_of(exchange_of(slot), list), peri_slice(name, len), (unsigned)from, &at);
    if (!header)
        return 0;
    slot->ptr = header->value;
    slot->len = header->value_len;
    return (int32_t)at + 1;
}

PERI_EXPORT int32_t peri_ffi_header_credentials(struct peri_ffi_slot *slot, int32_t list, const char *name, size_t len,
                                                const char *scheme, size_t scheme_len)
{
    const struct peri_headers *headers = list_of(exchange_of(slot), list);
    unsigned at = 0;
    const struct peri_header *header = find_header(headers, peri_slice(name, len), 0, &at);
    if (!header)
        return 0;
    if (find_header(headers, peri_slice(name, len), at + 1, &at))
        return -2;
    struct peri_slice value = peri_slice(header->value, header->value_len);
    if (value.len <= scheme_len || value.ptr[scheme_len] != ' ' ||
        !peri_slice_ieq(peri_slice(value.ptr, scheme_len), peri_slice(scheme, scheme_len)))
        return -1;
    size_t skip = scheme_len;
    while (skip < value.len && value.ptr[skip] == ' ')
        skip++;
    slot->ptr = value.ptr + skip;
    slot->len = value.len - skip;
    return 1;
}

PERI_EXPORT int32_t peri_ffi_header_at(struct peri_ffi_slot *slot, int32_t list, int32_t index,
                                       struct peri_ffi_str *name)
{
    const struct peri_headers *headers = list_of(exchange_of(slot), list);
    if (index < 0 || index >= headers->count)
        return 0;
    const struct peri_header *header = &headers->items[index];
    *name = (struct peri_ffi_str){header->name, header->name_len};
    slot->ptr = header->value;
    slot->len = header->value_len;
    return 1;
}

// May the list be changed? The response's only when there is one.
static peri_err_t check_list(const struct peri_exchange *x, int32_t list)
{
    if (list == PERI_FFI_RESPONSE_TRAILERS && x->state == PERI_X_SENDING)
        return PERI_OK; // they leave behind the body
    bool is_response = list == PERI_FFI_RESPONSE_HEADERS || list == PERI_FFI_RESPONSE_TRAILERS;
    return is_open(x) && (!is_response || x->res.status != 0) ? PERI_OK : PERI_ERR_CLOSED;
}

// Framing belongs to the codecs: a script that could set it could smuggle. Host is what req.host says.
static bool is_reserved(uint16_t id, int32_t list)
{
    switch (id) {
    case PERI_H_CONNECTION:
    case PERI_H_CONTENT_LENGTH:
    case PERI_H_KEEP_ALIVE:
    case PERI_H_PROXY_CONNECTION:
    case PERI_H_TE:
    case PERI_H_TRAILER:
    case PERI_H_TRANSFER_ENCODING:
    case PERI_H_UPGRADE: return true;
    default: return id == PERI_H_HOST && list == PERI_FFI_REQUEST_HEADERS;
    }
}

// A field as a script gave it, copied: the name in lower case, the value behind it. PERI_ERR_INVALID, PERI_ERR_NOMEM.
static peri_err_t copy_field(struct peri_arena *arena, struct peri_slice *name, struct peri_slice *value)
{
    if (!peri_header_is_name(*name) || !peri_header_is_value(*value))
        return PERI_ERR_INVALID;
    char *copy = peri_arena_alloc(arena, name->len + value->len);
    if (!copy)
        return PERI_ERR_NOMEM;
    for (size_t i = 0; i < name->len; i++)
        copy[i] = peri_ascii_lower(name->ptr[i]);
    memcpy(copy + name->len, value->ptr, value->len);
    *name = peri_slice(copy, name->len);
    *value = peri_slice(copy + name->len, value->len);
    return PERI_OK;
}

// Puts the value into the first field of this name and removes the others; false when there is none.
static bool replace_field(struct peri_headers *headers, struct peri_slice name, struct peri_slice value)
{
    unsigned at;
    struct peri_header *header = find_lower(headers, name, 0, &at);
    if (!header)
        return false;
    header->value = value.ptr;
    header->value_len = (uint32_t)value.len;
    header->is_line = false;
    while (find_lower(headers, name, at + 1, &at))
        peri_headers_remove_at(headers, at--);
    return true;
}

static peri_err_t put_field(struct peri_exchange *x, int32_t list, struct peri_slice name, struct peri_slice value,
                            bool is_set)
{
    struct peri_headers *headers = list_of(x, list);
    peri_err_t err = check_list(x, list);
    if (err == PERI_OK)
        err = copy_field(&x->arena, &name, &value);
    if (err != PERI_OK)
        return err;
    uint16_t id = peri_header_id(name.ptr, name.len);
    if (is_reserved(id, list))
        return PERI_ERR_INVALID;
    if (is_set && replace_field(headers, name, value))
        return PERI_OK;
    return peri_headers_append(headers, name, value);
}

PERI_EXPORT int32_t peri_ffi_header_set(struct peri_ffi_slot *slot, int32_t list, const char *name, size_t name_len,
                                        const char *value, size_t value_len)
{
    return put_field(exchange_of(slot), list, peri_slice(name, name_len), peri_slice(value, value_len), true);
}

PERI_EXPORT int32_t peri_ffi_header_add(struct peri_ffi_slot *slot, int32_t list, const char *name, size_t name_len,
                                        const char *value, size_t value_len)
{
    return put_field(exchange_of(slot), list, peri_slice(name, name_len), peri_slice(value, value_len), false);
}

PERI_EXPORT int32_t peri_ffi_header_remove(struct peri_ffi_slot *slot, int32_t list, const char *name, size_t len)
{
    struct peri_exchange *x = exchange_of(slot);
    peri_err_t err = check_list(x, list);
    if (err == PERI_OK)
        peri_headers_remove(list_of(x, list), peri_slice(name, len));
    return err;
}

PERI_EXPORT int32_t peri_ffi_query_get(struct peri_ffi_slot *slot, const char *name, size_t len)
{
    struct peri_slice raw;
    if (!peri_url_find_query(exchange_of(slot)->req.query, peri_slice(name, len), &raw))
        return 0;
    return answer(slot, raw.len > 0 ? raw : PERI_SLICE(""));
}

PERI_EXPORT int32_t peri_ffi_cookie_get(struct peri_ffi_slot *slot, const char *name, size_t len)
{
    struct peri_slice value = peri_headers_find_cookie(&exchange_of(slot)->req.headers, peri_slice(name, len));
    return value.ptr ? answer(slot, value) : 0;
}

PERI_EXPORT int32_t peri_ffi_set_status(struct peri_ffi_slot *slot, int32_t status)
{
    struct peri_exchange *x = exchange_of(slot);
    if (check_list(x, PERI_FFI_RESPONSE_HEADERS) != PERI_OK)
        return PERI_ERR_CLOSED;
    if (status < 200 || status > 599)
        return PERI_ERR_INVALID;
    x->res.status = status;
    return PERI_OK;
}

PERI_EXPORT int32_t peri_ffi_reply(struct peri_ffi_slot *slot, int32_t status, const char *body, size_t len)
{
    struct peri_exchange *x = exchange_of(slot);
    if (!is_open(x))
        return PERI_ERR_CLOSED;
    if (status < 200 || status > 599 || ((status == 204 || status == 304) && len > 0))
        return PERI_ERR_INVALID;
    x->res = (struct peri_response){.status = status, .content_length = (int64_t)len, .is_own = true};
    peri_headers_init(&x->res.headers, &x->arena);
    peri_headers_init(&x->res.trailers, &x->arena);
    return host_of(slot)->set_body(x, PERI_SIDE_RESPONSE, peri_slice(body, len));
}

PERI_EXPORT void peri_ffi_fail(struct peri_ffi_slot *slot, int32_t is_handler)
{
    exchange_of(slot)->facts.err = is_handler ? PERI_ERR_HANDLER : PERI_ERR_POLICY;
}

PERI_EXPORT void peri_ffi_failure(struct peri_ffi_slot *slot, const char *text, size_t len)
{
    host_of(slot)->note_failure(exchange_of(slot), peri_slice(text, len));
}

PERI_EXPORT int32_t peri_ffi_choose(struct peri_ffi_slot *slot, const char *upstream, size_t upstream_len,
                                    const char *endpoint, size_t endpoint_len)
{
    struct peri_exchange *x = exchange_of(slot);
    if (x->state > PERI_X_FORWARD)
        return PERI_ERR_CLOSED;
    return host_of(slot)->choose_upstream(x, peri_slice(upstream, upstream_len), peri_slice(endpoint, endpoint_len));
}

PERI_EXPORT int32_t peri_ffi_target(struct peri_ffi_slot *slot)
{
    return answer(slot, host_of(slot)->target(exchange_of(slot)));
}

PERI_EXPORT int32_t peri_ffi_endpoint(struct peri_ffi_slot *slot, int32_t index, struct peri_ffi_endpoint *state)
{
    bool is_available = false;
    state->active = 0;
    peri_err_t err = index < 0
                         ? PERI_ERR_NOT_FOUND
                         : host_of(slot)->endpoint(exchange_of(slot), (uint32_t)index, &state->active, &is_available);
    state->is_available = is_available;
    return (int32_t)err;
}

PERI_EXPORT int32_t peri_ffi_wish(struct peri_ffi_slot *slot, int32_t which, const char *ptr, size_t len)
{
    struct peri_exchange *x = exchange_of(slot);
    return is_open(x) ? (int32_t)host_of(slot)->wish(x, which, peri_slice(ptr, len)) : PERI_ERR_CLOSED;
}

PERI_EXPORT int32_t peri_ffi_limit(struct peri_ffi_slot *slot, int32_t which, double seconds)
{
    struct peri_exchange *x = exchange_of(slot);
    if (!(seconds >= 0 && seconds <= 86400 * 365.0))
        return PERI_ERR_INVALID;
    uint64_t ms = seconds > 0 && seconds < 0.001 ? 1 : (uint64_t)(seconds * 1000 + 0.5);
    return is_open(x) ? (int32_t)host_of(slot)->limit(x, which, ms) : PERI_ERR_CLOSED;
}

PERI_EXPORT void peri_ffi_flag(struct peri_ffi_slot *slot, int32_t flags)
{
    exchange_of(slot)->facts.flags |= (uint32_t)flags & PERI_FLAGS_OF_POLICIES;
}

static struct peri_body *body_of(struct peri_ffi_slot *slot, int32_t side)
{
    struct peri_exchange *x = exchange_of(slot);
    return side == PERI_FFI_REQUEST ? &x->req_body : &x->res_body;
}

PERI_EXPORT int32_t peri_ffi_body_want(struct peri_ffi_slot *slot, int32_t side, double limit)
{
    struct peri_exchange *x = exchange_of(slot);
    bool is_request = side == PERI_FFI_REQUEST;
    if (!is_open(x) || (!is_request && x->res.status == 0))
        return PERI_ERR_CLOSED;
    if (!(limit >= 0 && limit < 1e15))
        return PERI_ERR_INVALID;
    struct peri_fiber *fiber = peri_fiber_wait(is_request ? PERI_WAIT_REQUEST_BODY : PERI_WAIT_RESPONSE_BODY);
    if (!fiber)
        return PERI_ERR_INVALID;
    peri_err_t err = host_of(slot)->read_body(x, is_request ? PERI_SIDE_REQUEST : PERI_SIDE_RESPONSE, (uint64_t)limit);
    if (err == PERI_ERR_AGAIN)
        return -1;
    fiber->wait = PERI_WAIT_NONE;
    return err;
}

PERI_EXPORT double peri_ffi_body_len(struct peri_ffi_slot *slot, int32_t side)
{
    return (double)body_of(slot, side)->queue.len;
}

PERI_EXPORT void peri_ffi_body_copy(struct peri_ffi_slot *slot, int32_t side, char *out)
{
    peri_body_copy(body_of(slot, side), out);
}

PERI_EXPORT int32_t peri_ffi_body_set(struct peri_ffi_slot *slot, int32_t side, const char *ptr, size_t len)
{
    struct peri_exchange *x = exchange_of(slot);
    bool is_request = side == PERI_FFI_REQUEST;
    if (!is_open(x) || (!is_request && x->res.status == 0))
        return PERI_ERR_CLOSED;
    return host_of(slot)->set_body(x, is_request ? PERI_SIDE_REQUEST : PERI_SIDE_RESPONSE, peri_slice(ptr, len));
}

PERI_EXPORT void peri_ffi_body_limit(struct peri_ffi_slot *slot, double limit)
{
    if (limit >= 0 && limit < 1e15)
        host_of(slot)->limit_body(exchange_of(slot), (uint64_t)limit);
}

PERI_EXPORT void peri_ffi_step(int32_t policy, int32_t is_error)
{
    struct peri_fiber *fiber = peri_fiber_current();
    uint64_t now = peri_ffi_ticks();
    struct peri_metrics_page *page = peri_ffi_shared_binding()->page;
    if (page)
        peri_metrics_policy_call(page, policy, now - fiber->mark, fiber->waited, is_error != 0);
    fiber->mark = now;
    fiber->waited = 0;
    peri_ffi_budget_end();
    if (!is_error)
        peri_watchdog.is_spent = 0;
}

PERI_EXPORT const char *peri_ffi_status_text(int32_t status)
{
    return peri_status_text(status);
}

PERI_EXPORT const char *peri_ffi_error_text(int32_t code)
{
    switch (code) {
    case PERI_ERR_INVALID: return "the value is not allowed here";
    case PERI_ERR_CLOSED: return "it is too late: it has been sent on, or it is not there yet";
    case PERI_ERR_NOT_FOUND: return "there is no such thing";
    case PERI_ERR_NOMEM: return "the memory of the exchange is exhausted";
    case PERI_ERR_IDLE_TIMEOUT: return "timeout";
    case PERI_ERR_LIMIT: return "a limit is reached";
    default: return code > 0 && code < PERI_ERR_COUNT ? peri_err_info((peri_err_t)code)->text : "unknown error";
    }
}

PERI_EXPORT const char *peri_ffi_error_name(int32_t code)
{
    return code >= 0 && code < PERI_ERR_COUNT ? peri_err_info((peri_err_t)code)->name : "unknown";
}
