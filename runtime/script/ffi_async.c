// SPDX-License-Identifier: MIT
// Time, waiting and fetching for scripts. What waits arms the running fiber; the loop wakes it (script/fiber).
#include "base/attr.h"
#include "codec/header.h"
#include "exchange/exchange.h"
#include "script/fetch.h"
#include "script/fiber.h"
#include "script/script_types.h"
#include "script/vm.h"
#include "script/vm_internal.h"

#define PERI_SLEEP_MAX 1e9           // seconds
#define PERI_FETCH_HEADERS_MAX 100   // as many as a request may have
#define PERI_FETCH_TIMEOUT_MAX 3600  // seconds
#define PERI_FETCH_BODY_MAX 67108864 // bytes

PERI_EXPORT double peri_ffi_now(void)
{
    return (double)peri_loop_wall_ms(peri_vm_current()->loop) / 1000;
}

PERI_EXPORT double peri_ffi_monotonic(void)
{
    return (double)peri_loop_now_ns(peri_vm_current()->loop) / 1e9;
}

PERI_EXPORT int32_t peri_ffi_worker(void)
{
    return peri_vm_current()->worker;
}

PERI_EXPORT int32_t peri_ffi_can_wait(void)
{
    const struct peri_fiber *fiber = peri_fiber_current();
    return fiber && !fiber->is_blocking;
}

PERI_EXPORT int32_t peri_ffi_woken(void)
{
    const struct peri_fiber *fiber = peri_fiber_current();
    return fiber ? fiber->woken : PERI_ERR_INVALID;
}

PERI_EXPORT int32_t peri_ffi_sleep(double seconds)
{
    if (!(seconds >= 0 && seconds <= PERI_SLEEP_MAX))
        return PERI_ERR_INVALID;
    struct peri_fiber *fiber = peri_fiber_wait(PERI_WAIT_SLEEP);
    if (!fiber)
        return PERI_ERR_INVALID;
    peri_timer_start(fiber->vm->loop, &fiber->timer, (uint64_t)(seconds * 1000 + 0.5));
    return PERI_OK;
}

PERI_EXPORT int32_t peri_ffi_forward(struct peri_ffi_slot *slot)
{
    const struct peri_fiber *fiber = peri_fiber_current();
    bool is_own = fiber && !fiber->task && fiber->phase == PERI_PHASE_REQUEST && &fiber->slot->ffi == slot;
    return is_own && peri_fiber_wait(PERI_WAIT_FORWARD) ? PERI_OK : PERI_ERR_INVALID;
}

static void on_fetched(void *data, const struct peri_fetch_result *result)
{
    struct peri_fiber *fiber = data;
    fiber->result = result;
    fiber->fetch = NULL;
    peri_fiber_continue(fiber, result->err);
}

PERI_EXPORT int32_t peri_ffi_fetch(const char *method, size_t method_len, const char *url, size_t url_len,
                                   const struct peri_ffi_str *headers, uint32_t header_count, const char *body,
                                   size_t body_len, double timeout, double max_body)
{
    struct peri_slice pairs[2 * PERI_FETCH_HEADERS_MAX];
    peri_err_t err = PERI_OK;
    if (header_count > PERI_FETCH_HEADERS_MAX || !(timeout >= 0 && timeout <= PERI_FETCH_TIMEOUT_MAX) ||
        !(max_body >= 0 && max_body <= PERI_FETCH_BODY_MAX))
        return PERI_ERR_INVALID;
    for (uint32_t i = 0; i < 2 * header_count; i++)
        pairs[i] = peri_slice(headers[i].ptr, headers[i].len);
    struct peri_fiber *fiber = peri_fiber_wait(PERI_WAIT_FETCH);
    if (!fiber)
        return PERI_ERR_INVALID;
    struct peri_fetch_request request = {
        .generation = fiber->script->whole,
        .method = peri_slice(method, method_len),
        .url = peri_slice(url, url_len),
        .header_pairs = pairs,
        .header_count = header_count,
        .body = peri_slice(body, body_len),
        .timeout_ms = (uint64_t)(timeout * 1000),
        .max_body = (uint64_t)max_body,
        .on_done = on_fetched,
        .data = fiber,
    };
    fiber->fetch = fiber->vm->host->fetch_start(&request, &err);
    if (!fiber->fetch)
        fiber->wait = PERI_WAIT_NONE;
    return fiber->fetch ? PERI_OK : err;
}

static const struct peri_fetch_result *result(void)
{
    const struct peri_fiber *fiber = peri_fiber_current();
    return fiber ? fiber->result : NULL;
}

PERI_EXPORT int32_t peri_ffi_fetch_status(void)
{
    return result() ? result()->status : 0;
}

PERI_EXPORT void peri_ffi_fetch_body(struct peri_ffi_str *body)
{
    struct peri_slice bytes = result() ? result()->body : peri_slice(NULL, 0);
    *body = (struct peri_ffi_str){bytes.ptr, bytes.len};
}

PERI_EXPORT int32_t peri_ffi_fetch_header(int32_t is_trailer, int32_t index, struct peri_ffi_str *name,
                                          struct peri_ffi_str *value)
{
    const struct peri_headers *headers = NULL;
    if (result())
        headers = is_trailer ? result()->trailers : result()->headers;
    if (!headers || index < 0 || index >= headers->count)
        return 0;
    const struct peri_header *header = &headers->items[index];
    *name = (struct peri_ffi_str){header->name, header->name_len};
    *value = (struct peri_ffi_str){header->value, header->value_len};
    return 1;
}
