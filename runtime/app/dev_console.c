// SPDX-License-Identifier: MIT
// Lines for people.
#include "app/dev_console.h"

#include <time.h>

#include "app/cli.h"
#include "base/log.h"
#include "exchange/exchange.h"
#include "proxy/plan.h"

#define INDENT "               " ///< of the lines behind the first one of a message
#define PATH_WIDTH 32

static const char *const level_colors[] = {"2", "36", "33", "31"}; // by enum peri_log_level
static const char *const level_names[] = {"debug", "info", "warn", "error"};

void peri_dev_console_begin(FILE *out, const char *word, const char *color)
{
    char text[16];
    time_t now = time(NULL);
    struct tm local;
    localtime_r(&now, &local);
    strftime(text, sizeof(text), "%H:%M:%S", &local);
    fprintf(out, "%s%s%s %s%-5s%s ", peri_cli_color(out, "2"), text, peri_cli_color(out, "0"),
            peri_cli_color(out, color), word, peri_cli_color(out, "0"));
}

// ---- messages ----

// Line breaks come as the two characters "\n" (base/log.h).
static void on_message(void *data, enum peri_log_level level, const char *line, size_t len)
{
    PERI_UNUSED(data);
    peri_dev_console_begin(stderr, level_names[level], level_colors[level]);
    for (size_t i = 0; i < len; i++) {
        if (line[i] == '\\' && i + 1 < len && line[i + 1] == 'n') {
            fputs("\n" INDENT, stderr);
            i++;
        } else {
            fputc(line[i], stderr);
        }
    }
    fputc('\n', stderr);
}

void peri_dev_console_open(void)
{
    peri_log_set_sink(on_message, NULL);
}

void peri_dev_console_close(void)
{
    peri_log_set_sink(NULL, NULL);
}

// ---- exchanges ----

// Writes text of a peer, escaped, padded to `width` columns.
static void write_text(FILE *out, struct peri_slice text, size_t width)
{
    size_t columns = 0;
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        bool is_plain = c >= 0x20 && c < 0x7f;
        columns += is_plain ? 1 : 4;
        fprintf(out, is_plain ? "%c" : "\\x%02x", c);
    }
    for (; columns < width; columns++)
        fputc(' ', out);
}

static const char *status_color(int status)
{
    return status >= 500 ? "31" : status >= 400 ? "33" : status >= 300 ? "36" : "32";
}

static void write_way(FILE *out, const struct peri_exchange *x)
{
    const struct peri_exchange_facts *facts = &x->facts;
    if (x->route) {
        fputs("  ", out);
        write_text(out, x->route->name, 0);
    }
    if (facts->upstream.len > 0) {
        fputs(" -> ", out);
        write_text(out, facts->upstream, 0);
        fputc(' ', out);
        write_text(out, facts->endpoint, 0);
    }
    if (facts->err != PERI_OK && facts->err != PERI_ERR_INVALID)
        fprintf(out, "  %s%s%s", peri_cli_color(out, "31"), peri_err_info(facts->err)->text, peri_cli_color(out, "0"));
}

void peri_dev_console_exchange(const struct peri_exchange *x, int status, uint64_t ns)
{
    char number[8];
    snprintf(number, sizeof(number), "%d", status);
    peri_dev_console_begin(stdout, number, status_color(status));
    write_text(stdout, x->req.method_name, 7);
    write_text(stdout, x->req.target, PATH_WIDTH);
    printf(" %s%8.2f ms%s", peri_cli_color(stdout, "2"), (double)ns / 1e6, peri_cli_color(stdout, "0"));
    write_way(stdout, x);
    fputc('\n', stdout);
    fflush(stdout);
}
