// SPDX-License-Identifier: MIT
// Redis for scripts: a call arms the running fiber, the reply is read value by value before the fiber waits again.
#include "base/attr.h"
#include "event/redis.h"
#include "event/redis_reply.h"
#include "script/fiber.h"
#include "script/script_types.h"
#include "script/vm.h"

#define PERI_REDIS_TIMEOUT_MAX 3600            // seconds
#define PERI_REDIS_COMMAND_BYTES (1024 * 1024) // of all arguments
#define PERI_REDIS_DATABASE_MAX 65535

static struct peri_slice slice_of(const struct peri_ffi_str *text)
{
    return peri_slice(text->ptr, text->len);
}

static bool read_target(const struct peri_ffi_redis *ffi, struct peri_redis_target *target)
{
    if (!(ffi->timeout > 0 && ffi->timeout <= PERI_REDIS_TIMEOUT_MAX) || ffi->port < 0 || ffi->port > 65535 ||
        ffi->database < 0 || ffi->database > PERI_REDIS_DATABASE_MAX || ffi->host.len == 0)
        return false;
    *target = (struct peri_redis_target){
        .host = slice_of(&ffi->host),
        .user = slice_of(&ffi->user),
        .password = slice_of(&ffi->password),
        .timeout_ms = ffi->timeout < 0.001 ? 1 : (uint64_t)(ffi->timeout * 1000 + 0.5),
        .database = (uint32_t)ffi->database,
        .port = (uint16_t)ffi->port,
    };
    return true;
}

static struct peri_redis *redis_of(const struct peri_fiber *fiber)
{
    return fiber && fiber->script->whole ? fiber->vm->host->redis(fiber->script->whole) : NULL;
}

static void on_reply(void *data, peri_err_t err, const struct peri_redis_reply *reply)
{
    struct peri_fiber *fiber = data;
    fiber->reply = reply;
    fiber->redis = NULL;
    peri_fiber_continue(fiber, err);
}

PERI_EXPORT int32_t peri_ffi_redis_call(const struct peri_ffi_redis *target, const struct peri_ffi_str *args,
                                        uint32_t count)
{
    struct peri_slice slices[PERI_REDIS_ARGS];
    struct peri_redis_target server;
    size_t bytes = 0;
    peri_err_t err = PERI_OK;
    if (count < 1 || count > PERI_REDIS_ARGS || !read_target(target, &server))
        return PERI_ERR_INVALID;
    for (uint32_t i = 0; i < count; i++) {
        slices[i] = slice_of(&args[i]);
        if (args[i].len > PERI_REDIS_COMMAND_BYTES || (bytes += args[i].len) > PERI_REDIS_COMMAND_BYTES)
            return PERI_ERR_INVALID;
    }
    struct peri_fiber *fiber = peri_fiber_wait(PERI_WAIT_REDIS);
    if (!fiber)
        return PERI_ERR_INVALID;
    struct peri_redis *redis = redis_of(fiber);
    if (redis)
        fiber->redis = peri_redis_call(redis, &server, slices, count, on_reply, fiber, &err);
    if (!fiber->redis)
        fiber->wait = PERI_WAIT_NONE;
    return redis ? err : PERI_ERR_NOT_FOUND;
}

PERI_EXPORT int32_t peri_ffi_redis_value(uint32_t index, struct peri_ffi_redis_value *value)
{
    static const int32_t types[] = {
        [PERI_REDIS_NIL] = PERI_FFI_REDIS_NIL,         [PERI_REDIS_STRING] = PERI_FFI_REDIS_STRING,
        [PERI_REDIS_INTEGER] = PERI_FFI_REDIS_INTEGER, [PERI_REDIS_ERROR] = PERI_FFI_REDIS_ERROR,
        [PERI_REDIS_ARRAY] = PERI_FFI_REDIS_ARRAY,
    };
    const struct peri_fiber *fiber = peri_fiber_current();
    const struct peri_redis_reply *reply = fiber ? fiber->reply : NULL;
    if (!reply || index >= reply->count)
        return 0;
    const struct peri_redis_value *from = &reply->values[index];
    struct peri_slice text = peri_redis_text(reply, from);
    value->type = types[from->type];
    value->count = (int32_t)from->count;
    value->number = (double)from->integer;
    value->text = (struct peri_ffi_str){text.ptr, text.len};
    return 1;
}

PERI_EXPORT void peri_ffi_redis_refusal(const struct peri_ffi_redis *target, struct peri_ffi_str *text)
{
    struct peri_redis *redis = redis_of(peri_fiber_current());
    struct peri_redis_target server;
    struct peri_slice refusal = peri_slice(NULL, 0);
    if (redis && read_target(target, &server))
        refusal = peri_redis_refusal(redis, &server);
    *text = (struct peri_ffi_str){refusal.ptr, refusal.len};
}
