// SPDX-License-Identifier: MIT
// The state behind the error pages.
#include "app/dev.h"

#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/address.h"
#include "app/config.h"
#include "app/dev_console.h"
#include "app/dev_page.h"
#include "app/dev_specs.h"
#include "app/snapshot.h"
#include "event/loop.h"
#include "exchange/exchange.h"
#include "proxy/server.h"

#define DRAIN_MS 1000 ///< what is open has this long to finish when the process ends or starts again
#define ADDRESS_MAX 128
#define ENTRY_MAX 65536                  ///< bytes of the configuration that are searched for an address
#define DEFAULT_ADDRESS "127.0.0.1:8080" ///< default of the setting "listeners"

struct peri_dev {
    struct peri_loop *loop;
    const char *file;
    struct peri_server_dev server;
    struct peri_dev_specs *specs;   ///< NULL once stopped
    struct peri_snapshot *snapshot; ///< one reference
    char *errors;                   ///< owned; NULL while requests are served
};

// The time of this turn began before a handler did: the clock is read again, so that what one spends is seen.
static void on_end(void *data, const struct peri_exchange *x, int status)
{
    const struct peri_dev *dev = data;
    peri_loop_read_clock(dev->loop);
    peri_dev_console_exchange(x, status, peri_loop_now_ns(dev->loop) - x->facts.start_ns);
}

static bool is_refused(void *data)
{
    const struct peri_dev *dev = data;
    return dev->errors != NULL;
}

static void explain(void *data, struct peri_exchange *x, peri_err_t err)
{
    const struct peri_dev *dev = data;
    if (dev->errors)
        peri_dev_page_refused(x, dev->snapshot, dev->errors);
    else if (x->facts.failure.len > 0 && (err == PERI_ERR_POLICY || err == PERI_ERR_HANDLER))
        peri_dev_page_failed(x, dev->snapshot, err);
}

struct peri_dev *peri_dev_new(struct peri_loop *loop, struct peri_children *children, const char *file)
{
    struct peri_dev *dev = calloc(1, sizeof(*dev));
    char *copy = strdup(file);
    if (dev && copy)
        dev->specs = peri_dev_specs_new(loop, children, dirname(copy));
    free(copy);
    if (!dev || !dev->specs) {
        free(dev);
        return NULL;
    }
    dev->loop = loop;
    dev->file = file;
    dev->server = (struct peri_server_dev){.on_end = on_end, .is_refused = is_refused, .explain = explain, .data = dev};
    peri_dev_console_open();
    return dev;
}

void peri_dev_run_specs(struct peri_dev *dev)
{
    if (dev->specs)
        peri_dev_specs_run_soon(dev->specs);
}

void peri_dev_stop(struct peri_dev *dev)
{
    if (!dev)
        return;
    peri_dev_specs_free(dev->specs);
    dev->specs = NULL;
}

void peri_dev_free(struct peri_dev *dev)
{
    if (!dev)
        return;
    peri_dev_stop(dev);
    peri_dev_console_close();
    peri_snapshot_unref(dev->snapshot);
    free(dev->errors);
    free(dev);
}

const struct peri_server_dev *peri_dev_server(const struct peri_dev *dev)
{
    return &dev->server;
}

void peri_dev_adapt(struct peri_config *config)
{
    config->is_single = true;
    config->is_auto = false;
    config->workers = 1;
    config->is_watched = true;
    config->reload.canary = 0;
    if (config->drain_ms > DRAIN_MS)
        config->drain_ms = DRAIN_MS;
}

void peri_dev_set_snapshot(struct peri_dev *dev, struct peri_snapshot *snapshot)
{
    if (!snapshot)
        return;
    peri_snapshot_ref(snapshot);
    peri_snapshot_unref(dev->snapshot);
    dev->snapshot = snapshot;
}

struct peri_snapshot *peri_dev_snapshot(const struct peri_dev *dev)
{
    return dev->snapshot;
}

void peri_dev_set_errors(struct peri_dev *dev, const char *errors)
{
    free(dev->errors);
    dev->errors = errors ? strdup(errors) : NULL;
}

// ---- a configuration for the time being ----

// Reads the beginning of the configuration into `text`. From disk: of a file that never ends loading there is no snapshot.
static struct peri_slice read_entry(const struct peri_dev *dev, char text[ENTRY_MAX])
{
    FILE *in = fopen(dev->file, "re");
    size_t len = in ? fread(text, 1, ENTRY_MAX, in) : 0;
    if (in)
        fclose(in);
    return peri_slice(text, len);
}

// The next text between double quotes at or behind *at, which moves behind it. False when there is none.
static bool next_quoted(struct peri_slice text, size_t *at, struct peri_slice *quoted)
{
    const char *begin = memchr(text.ptr + *at, '"', text.len - *at);
    const char *limit = text.ptr + text.len;
    const char *end = begin ? memchr(begin + 1, '"', (size_t)(limit - begin - 1)) : NULL;
    if (!end)
        return false;
    *quoted = peri_slice(begin + 1, (size_t)(end - begin - 1));
    *at = (size_t)(end + 1 - text.ptr);
    return true;
}

// A literal that can be written into another file as it is.
static bool is_address(struct peri_slice text)
{
    struct peri_address address;
    if (text.len >= ADDRESS_MAX)
        return false;
    for (size_t i = 0; i < text.len; i++)
        if ((unsigned char)text.ptr[i] <= ' ' || text.ptr[i] == '\\')
            return false;
    return peri_address_parse(text, &address) == PERI_OK;
}

static struct peri_slice find_address(struct peri_slice text)
{
    const char *word = text.len > 0 ? memmem(text.ptr, text.len, "listeners", 9) : NULL;
    struct peri_slice found;
    size_t at = word ? (size_t)(word + 9 - text.ptr) : 0;
    while (word && next_quoted(text, &at, &found))
        if (is_address(found))
            return found;
    return PERI_SLICE(DEFAULT_ADDRESS);
}

char *peri_dev_make_placeholder(const struct peri_dev *dev)
{
    char entry[ENTRY_MAX];
    struct peri_slice address = find_address(read_entry(dev, entry));
    size_t len = strlen(dev->file);
    bool is_json = len > 5 && strcmp(dev->file + len - 5, ".json") == 0;
    const char *form = is_json ? "{ \"listeners\": [ { \"address\": \"%.*s\" } ], \"routes\": [] }"
                               : "return { listeners = { { address = \"%.*s\" } }, routes = {} }";
    char *text = NULL;
    return asprintf(&text, form, (int)address.len, address.ptr) < 0 ? NULL : text;
}
