// SPDX-License-Identifier: MIT
// Sentences of refusal.
#include "route/refuse.h"

#include <stdarg.h>
#include <stdio.h>

peri_err_t peri_route_refuse(char *message, size_t size, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    if (size > 0)
        vsnprintf(message, size, format, args);
    va_end(args);
    return PERI_ERR_INVALID;
}
