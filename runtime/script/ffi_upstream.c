// SPDX-License-Identifier: MIT
// Endpoints that scripts set: handed to the proxy as JSON, which checks them as it checks a file.
#include <stdio.h>
#include <stdlib.h>

#include "base/attr.h"
#include "script/fiber.h"
#include "script/script_types.h"
#include "script/vm.h"

static char problem[256];
static char *list_text; ///< until the next question

// The host and the generation of the script that runs; NULL while the generation is not whole yet, or outside one.
static const struct peri_script_host *find_host(void **generation)
{
    const struct peri_fiber *fiber = peri_fiber_current();
    const struct peri_script_host *host = fiber ? fiber->vm->host : NULL;
    *generation = fiber && fiber->script ? fiber->script->whole : NULL;
    return *generation && host && host->set_endpoints ? host : NULL;
}

PERI_EXPORT int32_t peri_ffi_upstream_set(const char *name, size_t name_len, const char *list, size_t len,
                                          struct peri_ffi_str *message)
{
    void *generation;
    const struct peri_script_host *host = find_host(&generation);
    if (!host)
        return PERI_FFI_UPSTREAM_NOWHERE;
    problem[0] = '\0';
    peri_err_t err =
        host->set_endpoints(generation, peri_slice(name, name_len), peri_slice(list, len), problem, sizeof(problem));
    *message = (struct peri_ffi_str){problem, strlen(problem)};
    switch (err) {
    case PERI_OK: return 0;
    case PERI_ERR_NOT_FOUND: return PERI_FFI_UPSTREAM_UNKNOWN;
    case PERI_ERR_CLOSED: return PERI_FFI_UPSTREAM_FIXED;
    default: return PERI_FFI_UPSTREAM_REFUSED;
    }
}

PERI_EXPORT int32_t peri_ffi_upstream_get(const char *name, size_t name_len, struct peri_ffi_str *list)
{
    void *generation;
    const struct peri_script_host *host = find_host(&generation);
    if (!host)
        return PERI_FFI_UPSTREAM_NOWHERE;
    free(list_text);
    list_text = host->endpoints(generation, peri_slice(name, name_len));
    *list = (struct peri_ffi_str){list_text, list_text ? strlen(list_text) : 0};
    return list_text ? 0 : PERI_FFI_UPSTREAM_UNKNOWN;
}
