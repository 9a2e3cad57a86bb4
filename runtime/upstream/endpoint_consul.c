// SPDX-License-Identifier: MIT
// An item is { "Node": { "Address" }, "Service": { "Address", "Port", "Weights", "Tags", "Meta" }, "Checks": [ { "Status" } ] }; what it
// has beyond that is not looked at.
#include "upstream/endpoint_consul.h"

#include <stdio.h>
#include <string.h>

#include "codec/json.h"
#include "upstream/endpoint_list.h"

static const char *worst_status(const struct peri_json *checks)
{
    const char *worst = "passing";
    for (size_t i = 0; i < peri_json_count(checks); i++) {
        struct peri_slice status = peri_json_get_string(peri_json_at(checks, i), "Status");
        if (peri_slice_eq(status, PERI_SLICE("critical")) || peri_slice_eq(status, PERI_SLICE("maintenance")))
            return "critical";
        if (peri_slice_eq(status, PERI_SLICE("warning")))
            worst = "warning";
    }
    return worst;
}

static int64_t weight_of(const struct peri_json *item)
{
    const struct peri_json *weights = peri_json_get(peri_json_get(item, "Service"), "Weights");
    const char *status = worst_status(peri_json_get(item, "Checks"));
    if (strcmp(status, "critical") == 0)
        return 0;
    return peri_json_get_integer(weights, strcmp(status, "warning") == 0 ? "Warning" : "Passing", 1);
}

static void set_label(struct peri_json *labels, struct peri_slice name, struct peri_slice value)
{
    char text[PERI_ENDPOINT_LIST_LABEL + 1];
    if (name.len == 0 || name.len >= sizeof(text) || value.len == 0 || value.len >= sizeof(text) ||
        memchr(name.ptr, '\0', name.len) || peri_json_count(labels) >= PERI_ENDPOINT_LIST_LABELS)
        return;
    memcpy(text, name.ptr, name.len);
    text[name.len] = '\0';
    peri_json_set(labels, text, peri_json_new_string(value));
}

static struct peri_json *read_labels(const struct peri_json *service)
{
    struct peri_json *labels = peri_json_new_object();
    const struct peri_json *tags = peri_json_get(service, "Tags");
    const struct peri_json *value;
    struct peri_slice name;
    for (size_t i = 0; i < peri_json_count(tags); i++) {
        struct peri_slice tag = peri_json_string(peri_json_at(tags, i));
        const char *equals = tag.len > 0 ? memchr(tag.ptr, '=', tag.len) : NULL;
        size_t len = equals ? (size_t)(equals - tag.ptr) : tag.len;
        set_label(labels, peri_slice(tag.ptr, len),
                  equals ? peri_slice(equals + 1, tag.len - len - 1) : PERI_SLICE("true"));
    }
    for (void *cursor = NULL; peri_json_next(peri_json_get(service, "Meta"), &cursor, &name, &value);)
        set_label(labels, name, peri_json_string(value));
    return labels;
}

// An IPv6 address gets the brackets that stand around it in front of a port.
static struct peri_json *read_address(const struct peri_json *item)
{
    char text[PERI_ENDPOINT_LIST_ADDRESS + 1];
    const struct peri_json *service = peri_json_get(item, "Service");
    struct peri_slice host = peri_json_get_string(service, "Address");
    int64_t port = peri_json_get_integer(service, "Port", 0);
    if (host.len == 0)
        host = peri_json_get_string(peri_json_get(item, "Node"), "Address");
    if (host.len == 0 || host.len + 9 > sizeof(text) || memchr(host.ptr, '\0', host.len) || port < 1 || port > 65535)
        return NULL;
    bool is_v6 = memchr(host.ptr, ':', host.len) != NULL;
    snprintf(text, sizeof(text), is_v6 ? "[%.*s]:%u" : "%.*s:%u", (int)host.len, host.ptr, (unsigned)port);
    return peri_json_new_string(peri_slice_from(text));
}

static bool has_address(const struct peri_json *list, struct peri_slice address)
{
    for (size_t i = 0; i < peri_json_count(list); i++)
        if (peri_slice_eq(peri_json_get_string(peri_json_at(list, i), "address"), address))
            return true;
    return false;
}

bool peri_endpoint_consul_is(const struct peri_json *answer)
{
    return peri_json_get(peri_json_at(answer, 0), "Service") != NULL;
}

struct peri_json *peri_endpoint_consul_convert(const struct peri_json *answer, char *problem, size_t size)
{
    struct peri_json *list = peri_json_new_array();
    size_t count = peri_json_count(answer);
    for (size_t i = 0; list && i < count; i++) {
        const struct peri_json *item = peri_json_at(answer, i);
        struct peri_json *address = read_address(item);
        int64_t weight = weight_of(item);
        if (!address) {
            snprintf(problem, size, "item %zu: expected a service with an address and a port", i + 1);
            peri_json_free(list);
            return NULL;
        }
        if (weight == 0 || has_address(list, peri_json_string(address))) {
            peri_json_free(address);
            continue;
        }
        struct peri_json *endpoint = peri_json_new_object();
        struct peri_json *labels = read_labels(peri_json_get(item, "Service"));
        peri_json_set(endpoint, "address", address);
        peri_json_set(endpoint, "weight", peri_json_new_integer(weight));
        if (peri_json_count(labels) > 0)
            peri_json_set(endpoint, "labels", labels);
        else
            peri_json_free(labels);
        peri_json_append(list, endpoint);
    }
    if (!list)
        snprintf(problem, size, "out of memory");
    return list;
}
