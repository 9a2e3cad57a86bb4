// SPDX-License-Identifier: MIT
// Upstreams whose endpoints a script sets. The set is the same in all workers: the one who sets it puts it into shared memory, where
// the others look ten times a second.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/attr.h"
#include "codec/json.h"
#include "proxy/discovery_internal.h"
#include "proxy/server_internal.h"
#include "shared/dict.h"
#include "upstream/upstream.h"

#define LOOK_MS 100

static void on_look(struct peri_timer *timer)
{
    struct peri_discovery *d = PERI_CONTAINER(timer, struct peri_discovery, look);
    bool serves = d->generation->server->current == d->generation;
    if (!d->is_ahead && !peri_discovery_recall(d) && serves)
        peri_discovery_remember(d); // dictionaries may lose what they have
    peri_discovery_look_in(d, LOOK_MS);
}

static void start(struct peri_discovery *d)
{
    d->has_looked = true; // there is nothing to wait for
    peri_discovery_look_in(d, LOOK_MS);
}

static void stop(struct peri_discovery *d)
{
    PERI_UNUSED(d); // it only has the timer
}

const struct peri_discovery_source peri_discovery_dynamic = {.start = start, .on_look = on_look, .stop = stop};

// ---- what scripts ask

static struct peri_discovery *find(const struct peri_generation *generation, struct peri_slice name)
{
    struct peri_discovery *d = generation->discoveries;
    while (d && !peri_slice_eq(d->set->upstream->name, name))
        d = d->next;
    return d;
}

// It must fit where the other workers find it.
static peri_err_t check_length(const struct peri_json *list, char *problem, size_t size)
{
    char *text = peri_json_format(list, false);
    size_t len = text ? strlen(text) : 0;
    free(text);
    if (len > PERI_DICT_VALUE_MAX)
        snprintf(problem, size, "the list has %zu bytes as JSON, at most %d are possible", len, PERI_DICT_VALUE_MAX);
    return len > PERI_DICT_VALUE_MAX ? PERI_ERR_INVALID : PERI_OK;
}

// The list is taken; NULL: it could not be read.
static peri_err_t take(struct peri_discovery *d, struct peri_json *list, char *problem, size_t size)
{
    peri_err_t err = list ? check_length(list, problem, size) : PERI_ERR_INVALID;
    if (err != PERI_OK) {
        peri_json_free(list);
        return err;
    }
    err = peri_discovery_replace(d, list);
    if (err == PERI_OK)
        peri_discovery_remember(d); // also when it is the same here: others may have another one
    else
        snprintf(problem, size, "%s", peri_err_info(err)->text);
    return err == PERI_OK ? PERI_OK : PERI_ERR_INVALID;
}

peri_err_t peri_discovery_set(struct peri_generation *generation, struct peri_slice name, struct peri_slice text,
                              char *problem, size_t size)
{
    struct peri_discovery *d = find(generation, name);
    if (!d || d->source != &peri_discovery_dynamic)
        return peri_generation_find_upstream(generation, name) ? PERI_ERR_CLOSED : PERI_ERR_NOT_FOUND;
    peri_err_t err = take(d, peri_endpoint_list_read(text, problem, size), problem, size);
    peri_discovery_count(d, err == PERI_OK ? NULL : problem);
    return err;
}

static const struct peri_json *find_configured(const struct peri_json *config, struct peri_slice name)
{
    const struct peri_json *upstreams = peri_json_get(config, "upstreams");
    for (size_t i = 0; i < peri_json_count(upstreams); i++)
        if (peri_slice_eq(peri_json_get_string(peri_json_at(upstreams, i), "name"), name))
            return peri_json_at(upstreams, i);
    return NULL;
}

char *peri_discovery_list(const struct peri_generation *generation, struct peri_slice name)
{
    const struct peri_discovery *d = find(generation, name);
    if (d && d->set->text)
        return strdup(d->set->text);
    struct peri_json *config = peri_json_parse(peri_slice_from(generation->config), false, NULL, 0);
    const struct peri_json *upstream = find_configured(config, name);
    const struct peri_json *endpoints = peri_json_get(upstream, "endpoints");
    char *text = NULL;
    if (upstream)
        text = endpoints ? peri_json_format(endpoints, false) : strdup("[]");
    peri_json_free(config);
    return text;
}
