// SPDX-License-Identifier: MIT
// An allocator that fails when a test says so. Include it in one file of a test program: its malloc, calloc and realloc stand
// before those of libc (and of AddressSanitizer), count the calls while armed and let the n-th one, or every one, fail.
#ifndef PERI_SPEC_FAIL_ALLOC_H
#define PERI_SPEC_FAIL_ALLOC_H

#include <dlfcn.h>
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static struct {
    bool is_armed;
    bool is_all;      ///< every call from `fail_at` on fails, not only that one
    unsigned calls;   ///< since it was armed
    unsigned fail_at; ///< the first call is 1
    unsigned failed;
} fail_alloc;

/// Lets the n-th allocation from now on fail; 0: none, only count.
__attribute__((unused)) static void fail_alloc_at(unsigned n)
{
    memset(&fail_alloc, 0, sizeof(fail_alloc));
    fail_alloc.fail_at = n;
    fail_alloc.is_armed = true;
}

/// Lets every allocation from now on fail.
__attribute__((unused)) static void fail_alloc_all(void)
{
    fail_alloc_at(1);
    fail_alloc.is_all = true;
}

/// Back to normal; true when an allocation was made to fail.
__attribute__((unused)) static bool fail_alloc_stop(void)
{
    fail_alloc.is_armed = false;
    return fail_alloc.failed > 0;
}

/// Leaves the test itself in peace; the old state is to be put back.
__attribute__((unused)) static bool fail_alloc_pause(void)
{
    bool was_armed = fail_alloc.is_armed;
    fail_alloc.is_armed = false;
    return was_armed;
}

/// realloc for what the test itself keeps: neither counted nor failing.
__attribute__((unused)) static void *fail_alloc_spared(void *ptr, size_t size)
{
    bool was_armed = fail_alloc_pause();
    ptr = realloc(ptr, size);
    fail_alloc.is_armed = was_armed;
    if (!ptr)
        abort();
    return ptr;
}

static bool fail_alloc_hit(void)
{
    if (!fail_alloc.is_armed)
        return false;
    fail_alloc.calls++;
    bool is_hit = fail_alloc.fail_at > 0 && (fail_alloc.calls == fail_alloc.fail_at ||
                                             (fail_alloc.is_all && fail_alloc.calls > fail_alloc.fail_at));
    fail_alloc.failed += is_hit;
    if (is_hit)
        errno = ENOMEM;
    return is_hit;
}

// What dlsym itself asks for while it looks the real functions up; never freed.
static char fail_alloc_early[4096];
static size_t fail_alloc_used;
static bool fail_alloc_is_looking;

static void *fail_alloc_next(const char *name)
{
    fail_alloc_is_looking = true;
    void *next = dlsym(RTLD_NEXT, name);
    fail_alloc_is_looking = false;
    return next;
}

static void *fail_alloc_take_early(size_t size)
{
    size = (size + 15) & ~(size_t)15;
    if (size > sizeof(fail_alloc_early) - fail_alloc_used)
        return NULL;
    fail_alloc_used += size;
    return fail_alloc_early + fail_alloc_used - size;
}

__attribute__((visibility("default"))) void *malloc(size_t size)
{
    static void *(*next)(size_t);
    if (fail_alloc_is_looking)
        return fail_alloc_take_early(size);
    if (!next)
        next = (void *(*)(size_t))(uintptr_t)fail_alloc_next("malloc");
    return fail_alloc_hit() ? NULL : next(size);
}

__attribute__((visibility("default"))) void *calloc(size_t count, size_t size)
{
    static void *(*next)(size_t, size_t);
    if (fail_alloc_is_looking)
        return fail_alloc_take_early(count * size);
    if (!next)
        next = (void *(*)(size_t, size_t))(uintptr_t)fail_alloc_next("calloc");
    return fail_alloc_hit() ? NULL : next(count, size);
}

__attribute__((visibility("default"))) void *realloc(void *ptr, size_t size)
{
    static void *(*next)(void *, size_t);
    if (!next)
        next = (void *(*)(void *, size_t))(uintptr_t)fail_alloc_next("realloc");
    return fail_alloc_hit() ? NULL : next(ptr, size);
}

#endif
