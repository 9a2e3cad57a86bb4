// SPDX-License-Identifier: MIT
// The end of a process that broke one of its own rules.
#include "base/assert.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

_Noreturn void peri_assert_failed(const char *expression, const char *file, int line)
{
    fprintf(stderr, "perigee[%d]: assertion failed: %s at %s:%d\n", (int)getpid(), expression, file, line);
    abort();
}
