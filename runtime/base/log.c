// SPDX-License-Identifier: MIT
// Formats, escapes and writes log lines; one write(2) a line, so that lines of several processes do not mix.
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define PERI_LOG_LINE 4096

static enum peri_log_level log_level = PERI_LOG_INFO;
static void (*log_sink)(void *, enum peri_log_level, const char *, size_t);
static void *log_sink_data;

static const char *const log_names[] = {"debug", "info", "warn", "error"};

void peri_log_set_level(enum peri_log_level level)
{
    log_level = level;
}

bool peri_log_is_on(enum peri_log_level level)
{
    return level >= log_level;
}

void peri_log_set_sink(void (*sink)(void *, enum peri_log_level, const char *, size_t), void *data)
{
    log_sink = sink;
    log_sink_data = data;
}

// Escapes control bytes of `text` into `out` (room for the worst case is the caller's duty to bound by `size`).
static size_t log_escape(char *out, size_t size, const char *text)
{
    size_t n = 0;
    for (const unsigned char *p = (const unsigned char *)text; *p && n + 5 < size; p++) {
        if (*p == '\n')
            n += (size_t)snprintf(out + n, size - n, "\\n");
        else if ((*p < 0x20 && *p != '\t') || *p == 0x7f)
            n += (size_t)snprintf(out + n, size - n, "\\x%02x", *p);
        else
            out[n++] = (char)*p;
    }
    return n;
}

static size_t log_prefix(char *out, size_t size, enum peri_log_level level)
{
    struct timespec now;
    struct tm utc;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &utc);
    size_t n = strftime(out, size, "%Y-%m-%dT%H:%M:%S", &utc);
    n +=
        (size_t)snprintf(out + n, size - n, ".%03ldZ %s [%d] ", now.tv_nsec / 1000000, log_names[level], (int)getpid());
    return n;
}

void peri_log(enum peri_log_level level, const char *format, ...)
{
    if (!peri_log_is_on(level))
        return;
    char text[PERI_LOG_LINE];
    char line[PERI_LOG_LINE * 2];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    if (log_sink) {
        size_t n = log_escape(line, sizeof(line), text);
        log_sink(log_sink_data, level, line, n);
        return;
    }
    size_t n = log_prefix(line, sizeof(line), level);
    n += log_escape(line + n, sizeof(line) - n - 1, text);
    line[n++] = '\n';
    ssize_t written = write(STDERR_FILENO, line, n);
    PERI_UNUSED(written); // nothing is left to tell when stderr itself is gone
}
