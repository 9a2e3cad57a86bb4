// SPDX-License-Identifier: MIT
// Memory listeners by name.
#include "proxy/memory.h"

#include <stdlib.h>

#include "downstream/listener.h"
#include "event/stream.h"
#include "proxy/pipeline.h"
#include "proxy/server_internal.h"

struct memory_listener {
    struct peri_list link;
    struct peri_listener *listener;
    char *name;
};

bool peri_memory_listen(struct peri_server *server, struct peri_slice name, struct peri_server *target)
{
    struct peri_listener_settings settings = peri_listener_defaults();
    struct memory_listener *m = calloc(1, sizeof(*m));
    char *copy = malloc(name.len + 1);
    if (!m || !copy)
        goto fail;
    m->listener = peri_listener_open_memory(target->loop, &settings, &peri_pipeline_owner, target);
    if (!m->listener)
        goto fail;
    memcpy(copy, name.ptr, name.len);
    copy[name.len] = '\0';
    m->name = copy;
    peri_list_append(&server->memory, &m->link);
    return true;
fail:
    free(m);
    free(copy);
    return false;
}

struct peri_stream *peri_memory_connect(void *data, struct peri_slice name)
{
    struct peri_server *server = data;
    for (struct peri_list *link = server->memory.next; link != &server->memory; link = link->next) {
        struct memory_listener *m = PERI_LIST_ITEM(link, struct memory_listener, link);
        struct peri_stream *pair[2];
        if (!peri_slice_eq(peri_slice_from(m->name), name))
            continue;
        if (!peri_stream_open_pair(server->loop, pair))
            return NULL;
        peri_listener_adopt(m->listener, pair[1]);
        return pair[0];
    }
    return NULL;
}

void peri_memory_close_all(struct peri_server *server)
{
    while (!peri_list_is_empty(&server->memory)) {
        struct memory_listener *m = PERI_LIST_ITEM(server->memory.next, struct memory_listener, link);
        peri_list_remove(&m->link);
        peri_listener_close(m->listener);
        free(m->name);
        free(m);
    }
}
