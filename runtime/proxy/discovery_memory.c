// SPDX-License-Identifier: MIT
// The sets that are known, in a dictionary in shared memory: a worker that takes the place of another begins with them, and what a script
// sets in one worker is found there by the others. Lists that are too long for a dictionary are not there.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/xxh64.h"
#include "codec/json.h"
#include "event/loop.h"
#include "proxy/discovery_internal.h"
#include "proxy/server_internal.h"
#include "shared/dict.h"
#include "upstream/upstream.h"

char *peri_discovery_identity(const struct peri_discovery *d)
{
    const struct peri_json *discovery = peri_json_get(d->settings, "discovery");
    const struct peri_json *url = peri_json_get(peri_json_get(discovery, "poll"), "url");
    const struct peri_json *value;
    struct peri_slice name;
    struct peri_json *identity = peri_json_new_object();
    for (void *cursor = NULL; peri_json_next(discovery, &cursor, &name, &value);)
        if (peri_json_type(value) != PERI_JSON_OBJECT)
            peri_json_set(identity, name.ptr, peri_json_copy(value));
    if (url)
        peri_json_set(identity, "url", peri_json_copy(url));
    char *text = peri_json_format(identity, false);
    peri_json_free(identity);
    return text;
}

// The name of the upstream, and what stands for its source: another one has found nothing yet.
static bool find_place(const struct peri_discovery *d, struct peri_dict_at *at, char key[PERI_DICT_KEY_MAX])
{
    const struct peri_slice name = d->set->upstream->name;
    char *source = peri_discovery_identity(d);
    uint64_t hash = source ? peri_xxh64(peri_slice_from(source), 0) : 0;
    int len = snprintf(key, PERI_DICT_KEY_MAX, "%.*s %016llx", (int)name.len, name.ptr, (unsigned long long)hash);
    bool is_good = source && len > 0 && len < PERI_DICT_KEY_MAX;
    free(source);
    *at = (struct peri_dict_at){
        .shm = d->shm,
        .dict = is_good ? peri_dict_open(d->shm, PERI_SLICE("perigee:endpoints")) : -1,
        .key = peri_slice(key, is_good ? (size_t)len : 0),
        .now_ms = peri_loop_now_ms(d->generation->server->loop),
    };
    return at->dict >= 0;
}

// Gateways of the test kit share their memory, and nothing else.
static bool is_alone(const struct peri_discovery *d)
{
    return d->generation->server->dns == NULL;
}

void peri_discovery_remember(struct peri_discovery *d)
{
    struct peri_dict_at at;
    char key[PERI_DICT_KEY_MAX];
    bool is_stored = false;
    d->is_ahead = d->generation->server->current != d->generation; // what it finds is no others' until it serves
    if (d->is_ahead || !d->set->text || is_alone(d) || !find_place(d, &at, key))
        return;
    struct peri_dict_value value = {.type = PERI_DICT_STRING, .string = peri_slice_from(d->set->text)};
    peri_dict_put(&at, &value, PERI_DICT_SET, 0, &is_stored); // a list that does not fit is found anew
}

bool peri_discovery_recall(struct peri_discovery *d)
{
    struct peri_dict_at at;
    char key[PERI_DICT_KEY_MAX];
    struct peri_dict_value value = {.type = PERI_DICT_NONE};
    char *text = is_alone(d) ? NULL : malloc(PERI_DICT_VALUE_MAX);
    if (text && find_place(d, &at, key))
        peri_dict_get(&at, &value, text);
    bool is_there = value.type == PERI_DICT_STRING;
    if (is_there && !(d->set->text && peri_slice_eq(value.string, peri_slice_from(d->set->text))))
        peri_discovery_replace(d, peri_json_parse(value.string, false, NULL, 0));
    free(text);
    return is_there;
}
