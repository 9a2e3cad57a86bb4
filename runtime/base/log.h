// SPDX-License-Identifier: MIT
// The runtime's own log on stderr: one line a message, level and pid first, control bytes escaped. It never holds
// secrets; values of settings marked secret do not reach it. Access logs are another thing (proxy/accesslog).
#ifndef PERI_BASE_LOG_H
#define PERI_BASE_LOG_H

#include <stdbool.h>
#include <stddef.h>

#include "base/attr.h"

enum peri_log_level { PERI_LOG_DEBUG, PERI_LOG_INFO, PERI_LOG_WARN, PERI_LOG_ERROR };

/// Messages below `level` are dropped. Default: PERI_LOG_INFO.
void peri_log_set_level(enum peri_log_level level);

/// Would a message of `level` be written?
bool peri_log_is_on(enum peri_log_level level);

/// Diverts lines to `sink(data, level, line, len)` (no newline) instead of stderr; NULL restores stderr.
void peri_log_set_sink(void (*sink)(void *data, enum peri_log_level level, const char *line, size_t len), void *data);

/// Writes one line, cut at 4 KiB; bytes below 0x20 and 0x7f are escaped as \xNN, newline as "\n" (two characters).
void peri_log(enum peri_log_level level, const char *format, ...) PERI_PRINTF(2, 3);

#define peri_debug(...)                                                                                                \
    do {                                                                                                               \
        if (peri_log_is_on(PERI_LOG_DEBUG))                                                                            \
            peri_log(PERI_LOG_DEBUG, __VA_ARGS__);                                                                     \
    } while (0)
#define peri_info(...) peri_log(PERI_LOG_INFO, __VA_ARGS__)
#define peri_warn(...) peri_log(PERI_LOG_WARN, __VA_ARGS__)
#define peri_error(...) peri_log(PERI_LOG_ERROR, __VA_ARGS__)

#endif
