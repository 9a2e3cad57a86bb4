// SPDX-License-Identifier: MIT
// Assertions that stay on in release builds. They state what the code relies on; misuse ends the process, and the
// supervisor replaces it. Never used for input from a peer or from a configuration.
#ifndef PERI_BASE_ASSERT_H
#define PERI_BASE_ASSERT_H

#include "base/attr.h"

/// Ends the process when `condition` is false, naming the expression and the place.
#define peri_assert(condition)                                                                                         \
    do {                                                                                                               \
        if (PERI_UNLIKELY(!(condition)))                                                                               \
            peri_assert_failed(#condition, __FILE__, __LINE__);                                                        \
    } while (0)

/// The same where it would cost too much on the way of every request: checked in builds with the sanitizers only.
#ifdef PERI_SANITIZE
#define peri_debug_assert(condition) peri_assert(condition)
#else
#define peri_debug_assert(condition) ((void)sizeof(!(condition)))
#endif

/// Prints the failed expression to stderr and aborts. Never returns.
_Noreturn void peri_assert_failed(const char *expression, const char *file, int line);

#endif
