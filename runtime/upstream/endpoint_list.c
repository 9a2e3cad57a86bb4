// SPDX-License-Identifier: MIT
// What is not understood refuses the whole list: half a set of endpoints would get the load of all.
#include "upstream/endpoint_list.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/attr.h"
#include "codec/json.h"
#include "event/dns.h"
#include "upstream/endpoint.h"

#define TEXT_MAX PERI_ENDPOINT_LIST_LABEL

struct reader {
    char *problem;
    size_t size;
    size_t index; ///< of the item, from 1
};

static bool refuse(const struct reader *r, const char *where, const char *what)
{
    snprintf(r->problem, r->size, "endpoint %zu%s%s: %s", r->index, where[0] ? ", " : "", where, what);
    return false;
}

static bool is_text(const struct peri_json *json, size_t max)
{
    size_t len = peri_json_string(json).len;
    return peri_json_type(json) == PERI_JSON_STRING && len > 0 && len <= max;
}

static bool is_host_byte(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.' ||
           c == '_';
}

static bool is_host(struct peri_slice host)
{
    struct sockaddr_storage address;
    if (host.len == 0 || host.ptr[0] == '[')
        return peri_dns_parse_literal(host, 0, &address);
    for (size_t i = 0; i < host.len; i++)
        if (!is_host_byte(host.ptr[i]))
            return false;
    return true;
}

static bool is_port(struct peri_slice text)
{
    unsigned value = 0;
    for (size_t i = 0; i < text.len; i++) {
        if (i > 4 || text.ptr[i] < '0' || text.ptr[i] > '9')
            return false;
        value = value * 10 + (unsigned)(text.ptr[i] - '0');
    }
    return value > 0 && value <= 65535;
}

static bool is_address(struct peri_slice text)
{
    if (memchr(text.ptr, '\0', text.len))
        return false;
    if (peri_slice_starts(text, PERI_SLICE("unix:/")))
        return text.len > 6;
    const char *colon = memrchr(text.ptr, ':', text.len);
    size_t host = colon ? (size_t)(colon - text.ptr) : text.len;
    return colon && is_host(peri_slice(text.ptr, host)) && is_port(peri_slice(colon + 1, text.len - host - 1));
}

static bool check_labels(const struct reader *r, const struct peri_json *labels)
{
    const struct peri_json *value;
    struct peri_slice name;
    if (peri_json_type(labels) != PERI_JSON_OBJECT || peri_json_count(labels) > PERI_ENDPOINT_LIST_LABELS)
        return refuse(r, "labels", "expected an object of at most 64 texts");
    for (void *cursor = NULL; peri_json_next(labels, &cursor, &name, &value);)
        if (name.len == 0 || name.len > TEXT_MAX || !is_text(value, TEXT_MAX))
            return refuse(r, "labels", "names and values are texts of 1 to 128 bytes");
    return true;
}

static bool check_number(const struct reader *r, const struct peri_json *json, const char *name, int64_t min,
                         int64_t max)
{
    char what[64];
    int64_t value = peri_json_integer(json, min - 1);
    if (value >= min && value <= max)
        return true;
    snprintf(what, sizeof(what), "expected a whole number, %lld to %lld", (long long)min, (long long)max);
    return refuse(r, name, what);
}

static bool check_member(const struct reader *r, struct peri_slice name, const struct peri_json *value)
{
    if (peri_slice_eq(name, PERI_SLICE("address")))
        return true; // checked for every item
    if (peri_slice_eq(name, PERI_SLICE("weight")))
        return check_number(r, value, "weight", 1, 65535);
    if (peri_slice_eq(name, PERI_SLICE("priority")))
        return check_number(r, value, "priority", 0, PERI_PRIORITIES - 1);
    if (peri_slice_eq(name, PERI_SLICE("labels")))
        return check_labels(r, value);
    if (!peri_slice_eq(name, PERI_SLICE("zone")))
        return refuse(r, "", "has a member that is none of address, weight, zone, priority and labels");
    return is_text(value, TEXT_MAX) || refuse(r, "zone", "expected a text of 1 to 128 bytes");
}

static bool check_item(const struct reader *r, const struct peri_json *item)
{
    const struct peri_json *value;
    struct peri_slice name;
    bool is_object = peri_json_type(item) == PERI_JSON_OBJECT;
    const struct peri_json *address = is_object ? peri_json_get(item, "address") : item;
    if (!is_text(address, PERI_ENDPOINT_LIST_ADDRESS) || !is_address(peri_json_string(address)))
        return refuse(r, "", "expected \"host:port\" or \"unix:/path\", or an object with such an address");
    for (void *cursor = NULL; is_object && peri_json_next(item, &cursor, &name, &value);)
        if (!check_member(r, name, value))
            return false;
    return true;
}

// ---- the order

static struct peri_slice address_of(const struct peri_json *item)
{
    return peri_json_type(item) == PERI_JSON_OBJECT ? peri_json_get_string(item, "address") : peri_json_string(item);
}

static int compare(const void *a, const void *b)
{
    const struct peri_json *const *left = a, *const *right = b;
    struct peri_slice x = address_of(*left), y = address_of(*right);
    int order = memcmp(x.ptr, y.ptr, x.len < y.len ? x.len : y.len);
    return order != 0 ? order : (x.len > y.len) - (x.len < y.len);
}

static void copy_member(struct peri_json *to, const struct peri_json *from, const char *name)
{
    const struct peri_json *value = peri_json_get(from, name);
    if (value)
        peri_json_set(to, name, peri_json_copy(value));
}

static struct peri_json *normalise(const struct peri_json *item)
{
    struct peri_json *written = peri_json_new_object();
    peri_json_set(written, "address", peri_json_new_string(address_of(item)));
    peri_json_set(written, "weight", peri_json_new_integer(peri_json_get_integer(item, "weight", 1)));
    copy_member(written, item, "zone");
    if (peri_json_get_integer(item, "priority", 0) > 0)
        copy_member(written, item, "priority");
    copy_member(written, item, "labels");
    return written;
}

static struct peri_json *sort(const struct peri_json *list, struct reader *r)
{
    size_t count = peri_json_count(list);
    const struct peri_json **items = calloc(count + 1, sizeof(struct peri_json *));
    struct peri_json *sorted = items ? peri_json_new_array() : NULL;
    for (size_t i = 0; sorted && i < count; i++)
        items[i] = peri_json_at(list, i);
    if (sorted)
        qsort(items, count, sizeof(struct peri_json *), compare);
    else
        snprintf(r->problem, r->size, "out of memory");
    for (size_t i = 0; sorted && i < count; i++) {
        if (i == 0 || compare(&items[i - 1], &items[i]) != 0) {
            peri_json_append(sorted, normalise(items[i]));
            continue;
        }
        struct peri_slice address = address_of(items[i]);
        snprintf(r->problem, r->size, "%.*s is there twice; give it more weight", (int)address.len, address.ptr);
        peri_json_free(sorted);
        sorted = NULL;
    }
    free(items);
    return sorted;
}

struct peri_json *peri_endpoint_list_read(struct peri_slice text, char *problem, size_t size)
{
    struct peri_json *list = peri_json_parse(text, false, problem, size);
    return list ? peri_endpoint_list_take(list, problem, size) : NULL;
}

struct peri_json *peri_endpoint_list_take(struct peri_json *list, char *problem, size_t size)
{
    struct reader r = {.problem = problem, .size = size, .index = 1};
    struct peri_json *sorted = NULL;
    size_t count = peri_json_count(list);
    bool is_good = peri_json_type(list) == PERI_JSON_ARRAY && count <= PERI_ENDPOINT_LIST_MAX;
    if (!is_good)
        snprintf(problem, size, "expected a list of at most %d endpoints", PERI_ENDPOINT_LIST_MAX);
    for (; is_good && r.index <= count; r.index++)
        is_good = check_item(&r, peri_json_at(list, r.index - 1));
    if (is_good)
        sorted = sort(list, &r);
    peri_json_free(list);
    return sorted;
}

static int compare_items(const void *a, const void *b)
{
    const struct peri_endpoint_item *left = a, *right = b;
    int order = strcmp(left->address, right->address);
    if (order == 0)
        order = (int)left->priority - (int)right->priority;
    return order != 0 ? order : (int)right->weight - (int)left->weight;
}

struct peri_json *peri_endpoint_list_make(struct peri_endpoint_item *items, size_t count)
{
    struct peri_json *list = peri_json_new_array();
    qsort(items, count, sizeof(*items), compare_items);
    for (size_t i = 0; list && i < count; i++) {
        if (i > 0 && strcmp(items[i - 1].address, items[i].address) == 0)
            continue;
        struct peri_json *item = peri_json_new_object();
        peri_json_set(item, "address", peri_json_new_string(peri_slice_from(items[i].address)));
        peri_json_set(item, "weight", peri_json_new_integer(items[i].weight));
        if (items[i].priority > 0)
            peri_json_set(item, "priority", peri_json_new_integer(items[i].priority));
        peri_json_append(list, item);
    }
    return list;
}
