// SPDX-License-Identifier: MIT
// The table: matches sorted by precedence, grouped by host, and within a host by how a path finds them.
//
//   host ── exact index ── longest wildcard … shortest ── no host
//                 each a scope:  exact path index ── segment tree ── regular expressions ── any path
//
// A search goes from left to right and takes the first entry whose every condition holds; a scope without one leaves the
// request to the next. A condition that cannot be tested (a regular expression that costs too much, no memory) ends the
// search without a route: falling through to a laxer route would let a peer choose its policies.
#include "route/table.h"

#include <stdlib.h>

#include "base/arena.h"
#include "base/assert.h"
#include "codec/regex.h"
#include "codec/url.h"
#include "exchange/exchange.h"
#include "route/entry.h"
#include "route/refuse.h"
#include "route/tree.h"

/// The entries of one host.
struct scope {
    struct peri_index exact; ///< struct peri_entry_list by path
    struct peri_tree tree;
    struct peri_entry_list regexes;
    struct peri_entry_list any;
    bool has_tree;
};

struct peri_route_table {
    struct peri_arena arena;
    struct peri_entry **entries; ///< owned array of entries in the arena; in order of precedence once sealed
    uint32_t count;
    uint32_t capacity;
    bool is_sealed;
    struct peri_index hosts;     ///< struct scope by host
    struct peri_index wildcards; ///< struct scope by ".suffix"
    struct scope fallback;       ///< entries without a host
};

// ---------------------------------------------------------------- building

struct peri_route_table *peri_route_table_new(void)
{
    struct peri_route_table *table = calloc(1, sizeof *table);
    if (table)
        peri_arena_init(&table->arena, SIZE_MAX);
    return table;
}

static void entry_close(struct peri_entry *entry)
{
    peri_pattern_close(&entry->pattern);
    peri_predicate_close(&entry->predicate);
}

void peri_route_table_free(struct peri_route_table *table)
{
    if (!table)
        return;
    for (uint32_t i = 0; i < table->count; i++)
        entry_close(table->entries[i]);
    free(table->entries);
    peri_arena_close(&table->arena);
    free(table);
}

static bool reserve_entry(struct peri_route_table *table)
{
    if (table->count < table->capacity)
        return true;
    uint32_t capacity = table->capacity ? table->capacity * 2 : 16;
    struct peri_entry **entries = realloc(table->entries, capacity * sizeof(struct peri_entry *));
    if (!entries)
        return false;
    table->entries = entries;
    table->capacity = capacity;
    return true;
}

/// Brings the host to the form of x->req.host.
static peri_err_t parse_host(struct peri_entry *entry, struct peri_arena *arena, struct peri_slice host, char *message,
                             size_t size)
{
    uint16_t port = 0;
    entry->host_kind = PERI_HOST_ANY;
    if (host.len == 0)
        return PERI_OK;
    bool is_wildcard = peri_slice_starts(host, PERI_SLICE("*."));
    struct peri_slice name = is_wildcard ? peri_slice(host.ptr + 2, host.len - 2) : host;
    peri_err_t err = peri_url_parse_authority(arena, name, &name, &port);
    if (err == PERI_ERR_NOMEM)
        return err;
    if (err == PERI_OK && port != 0)
        return peri_route_refuse(message, size, "host '%.*s': a host is matched without its port", (int)host.len,
                                 host.ptr);
    if (err || (is_wildcard && name.ptr[0] == '['))
        return peri_route_refuse(message, size, "host '%.*s' is neither a host name nor '*.' and a host name",
                                 (int)host.len, host.ptr);
    entry->host_kind = is_wildcard ? PERI_HOST_WILDCARD : PERI_HOST_EXACT;
    entry->host = peri_arena_printf(arena, "%s%.*s", is_wildcard ? "." : "", (int)name.len, name.ptr);
    return entry->host.ptr ? PERI_OK : PERI_ERR_NOMEM;
}

peri_err_t peri_route_table_add(struct peri_route_table *table, const struct peri_match *match, const void *route,
                                char *message, size_t message_size)
{
    peri_assert(!table->is_sealed && route);
    struct peri_entry *entry = peri_arena_zalloc(&table->arena, sizeof *entry);
    if (!entry || !reserve_entry(table))
        return PERI_ERR_NOMEM;
    entry->route = route;
    entry->order = table->count;
    peri_err_t err = parse_host(entry, &table->arena, match->host, message, message_size);
    if (err == PERI_OK)
        err = peri_pattern_parse(&entry->pattern, &table->arena, match, message, message_size);
    if (err == PERI_OK)
        err = peri_predicate_compile(&entry->predicate, &table->arena, match, message, message_size);
    if (err == PERI_OK)
        table->entries[table->count++] = entry;
    else
        entry_close(entry);
    return err;
}

static int compare_hosts(const struct peri_entry *a, const struct peri_entry *b)
{
    if (a->host_kind != b->host_kind)
        return a->host_kind < b->host_kind ? -1 : 1;
    if (a->host.len != b->host.len)
        return a->host.len > b->host.len ? -1 : 1;
    return a->host.len ? memcmp(a->host.ptr, b->host.ptr, a->host.len) : 0;
}

static int compare_entries(const void *left, const void *right)
{
    const struct peri_entry *a = *(struct peri_entry *const *)left, *b = *(struct peri_entry *const *)right;
    int order = compare_hosts(a, b);
    if (order == 0)
        order = peri_pattern_compare(&a->pattern, &b->pattern);
    if (order == 0)
        order = peri_predicate_compare(&a->predicate, &b->predicate);
    return order ? order : (a->order > b->order) - (a->order < b->order);
}

/// Value of `key`, or a new zeroed one of `size` bytes; NULL when out of memory.
static void *find_or_put(struct peri_index *index, struct peri_arena *arena, struct peri_slice key, size_t size)
{
    void *value = peri_index_find(index, key);
    if (value)
        return value;
    value = peri_arena_zalloc(arena, size);
    return value && peri_index_put(index, arena, key, value) ? value : NULL;
}

static struct scope *scope_of(struct peri_route_table *table, const struct peri_entry *entry)
{
    if (entry->host_kind == PERI_HOST_ANY)
        return &table->fallback;
    struct peri_index *index = entry->host_kind == PERI_HOST_EXACT ? &table->hosts : &table->wildcards;
    return find_or_put(index, &table->arena, entry->host, sizeof(struct scope));
}

static bool scope_add(struct scope *scope, struct peri_arena *arena, struct peri_entry *entry)
{
    struct peri_entry_list *list = NULL;
    switch (entry->pattern.kind) {
    case PERI_PATTERN_EXACT: list = find_or_put(&scope->exact, arena, entry->pattern.text, sizeof *list); break;
    case PERI_PATTERN_CAPTURES:
    case PERI_PATTERN_PREFIX: scope->has_tree = true; return peri_tree_add(&scope->tree, arena, entry);
    case PERI_PATTERN_REGEX: list = &scope->regexes; break;
    case PERI_PATTERN_ANY: list = &scope->any; break;
    }
    if (list)
        peri_entry_list_append(list, entry);
    return list != NULL;
}

static bool compress_scopes(const struct peri_index *scopes, struct peri_arena *arena)
{
    uint32_t at = 0;
    for (const struct peri_index_slot *slot; (slot = peri_index_next(scopes, &at));)
        if (!peri_tree_compress(&((struct scope *)slot->value)->tree, arena))
            return false;
    return true;
}

peri_err_t peri_route_table_seal(struct peri_route_table *table)
{
    peri_assert(!table->is_sealed);
    table->is_sealed = true;
    if (table->count > 0)
        qsort(table->entries, table->count, sizeof(struct peri_entry *), compare_entries);
    for (uint32_t i = 0; i < table->count; i++) {
        struct scope *scope = scope_of(table, table->entries[i]);
        if (!scope || !scope_add(scope, &table->arena, table->entries[i]))
            return PERI_ERR_NOMEM;
    }
    bool is_done = compress_scopes(&table->hosts, &table->arena) && compress_scopes(&table->wildcards, &table->arena) &&
                   peri_tree_compress(&table->fallback.tree, &table->arena);
    return is_done ? PERI_OK : PERI_ERR_NOMEM;
}

// ---------------------------------------------------------------- searching

static const struct peri_entry *find_regex(const struct peri_entry_list *list, struct peri_exchange *x)
{
    const char *reason;
    for (const struct peri_entry *entry = list->first; entry; entry = entry->next) {
        peri_err_t err = peri_predicate_test(&entry->predicate, x, &reason);
        if (err == PERI_OK)
            err = peri_pattern_match(&entry->pattern, x->req.path, x->captures);
        if (err != PERI_ERR_NOT_FOUND)
            return err == PERI_OK ? entry : &peri_entry_untestable;
    }
    return NULL;
}

static const struct peri_entry *scope_find(const struct scope *scope, struct peri_exchange *x)
{
    const struct peri_entry *found = NULL;
    const struct peri_entry_list *list = peri_index_find(&scope->exact, x->req.path);
    if (list)
        found = peri_entry_list_find(list, x);
    if (!found && scope->has_tree && x->req.path.len > 0 && x->req.path.ptr[0] == '/')
        found = peri_tree_find(&scope->tree, x);
    if (!found && scope->regexes.first)
        found = find_regex(&scope->regexes, x);
    if (!found && scope->any.first)
        found = peri_entry_list_find(&scope->any, x);
    return found;
}

static const struct peri_entry *find_wildcard(const struct peri_route_table *table, struct peri_exchange *x)
{
    struct peri_slice host = x->req.host;
    const struct peri_entry *found = NULL;
    for (size_t at = 1; at < host.len && !found; at++) {
        if (host.ptr[at] != '.')
            continue;
        const struct scope *scope = peri_index_find(&table->wildcards, peri_slice(host.ptr + at, host.len - at));
        if (scope)
            found = scope_find(scope, x);
    }
    return found;
}

const void *peri_route_table_find(const struct peri_route_table *table, struct peri_exchange *x)
{
    const struct peri_entry *found = NULL;
    peri_assert(table->is_sealed);
    const struct scope *scope = peri_index_find(&table->hosts, x->req.host);
    if (scope)
        found = scope_find(scope, x);
    if (!found && table->wildcards.count > 0)
        found = find_wildcard(table, x);
    if (!found)
        found = scope_find(&table->fallback, x);
    return found ? found->route : NULL;
}

// ---------------------------------------------------------------- explaining

static bool match_host(const struct peri_entry *entry, struct peri_slice host)
{
    if (entry->host_kind == PERI_HOST_ANY)
        return true;
    if (entry->host_kind == PERI_HOST_EXACT)
        return peri_slice_eq(entry->host, host);
    size_t len = entry->host.len;
    return host.len > len && peri_slice_eq(entry->host, peri_slice(host.ptr + host.len - len, len));
}

/// Why the entry does not match; NULL when it does.
static const char *entry_reason(const struct peri_entry *entry, struct peri_exchange *x)
{
    struct peri_slice captures[PERI_CAPTURES_MAX];
    const char *reason;
    if (!match_host(entry, x->req.host))
        return "host";
    peri_err_t path = peri_pattern_match(&entry->pattern, x->req.path, captures);
    if (path == PERI_ERR_NOT_FOUND)
        return "path";
    peri_err_t err = peri_predicate_test(&entry->predicate, x, &reason);
    if (err == PERI_ERR_NOT_FOUND)
        return reason;
    return path || err ? PERI_ROUTE_UNTESTABLE : NULL;
}

void peri_route_table_explain(const struct peri_route_table *table, struct peri_exchange *x,
                              void (*on_candidate)(void *data, const void *route, const char *reason), void *data)
{
    const char *ended = NULL;
    peri_assert(table->is_sealed);
    for (uint32_t i = 0; i < table->count; i++) {
        const struct peri_entry *entry = table->entries[i];
        const char *reason = entry_reason(entry, x);
        on_candidate(data, entry->route, reason ? reason : ended);
        if (!ended && !reason)
            ended = "a route before it matched";
        else if (!ended && strcmp(reason, PERI_ROUTE_UNTESTABLE) == 0)
            ended = "a route before it could not be tested";
    }
}
