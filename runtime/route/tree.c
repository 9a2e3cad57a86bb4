// SPDX-License-Identifier: MIT
// Depth first: the literal child, then the capture, then back up.
//
//   /orders/{id}, /orders/{id}/items/*, /orders/new/{step}, /orders/*
//
//   root ── orders ──┬── new ── {} ●          ● a complete pattern ends here
//              ◆     └── {} ● ── items ◆      ◆ a prefix ends here
//
// A complete pattern found ends the search, since complete patterns go before prefixes and the walk meets them in order of
// precedence. Prefixes are looked at on the way back, so that the deepest of a branch comes first; the best one so far is
// kept, and a later one replaces it only when it is longer.
//
// A chain of literals without a branch is one node: it is compared as a run of bytes ("/api/v1"), not hashed one by one.
//
// Cost. A node is reached by one sequence of segments and its depth says which segment of the path it looks at, so one search
// visits a node at most once: never more steps than the patterns have segments together, whatever the path. Depth
// is bounded by PERI_PATTERN_SEGMENTS_MAX; segments of a path beyond the deepest pattern are not looked at.
#include "route/tree.h"

#include "base/arena.h"
#include "base/assert.h"
#include "exchange/exchange.h"

struct search {
    struct peri_exchange *x; ///< captures on the way to the node at hand are in x->captures
    const char *end;         ///< of the path
    uint16_t best_depth;
    const struct peri_entry *best;                      ///< best prefix so far
    struct peri_slice best_captures[PERI_CAPTURES_MAX]; ///< on the way to it
};

static struct peri_tree *add_child(struct peri_tree *tree, struct peri_arena *arena,
                                   const struct peri_pattern_segment *segment)
{
    struct peri_tree *child = segment->is_capture ? tree->capture : peri_index_find(&tree->literals, segment->text);
    if (child)
        return child;
    child = peri_arena_zalloc(arena, sizeof *child);
    if (!child)
        return NULL;
    child->depth = tree->depth + 1;
    child->captured = tree->captured + segment->is_capture;
    if (!segment->is_capture)
        return peri_index_put(&tree->literals, arena, segment->text, child) ? child : NULL;
    tree->capture = child;
    return child;
}

bool peri_tree_add(struct peri_tree *tree, struct peri_arena *arena, struct peri_entry *entry)
{
    const struct peri_pattern *pattern = &entry->pattern;
    peri_assert(pattern->kind == PERI_PATTERN_CAPTURES || pattern->kind == PERI_PATTERN_PREFIX);
    for (uint32_t i = 0; i < pattern->segment_count && tree; i++)
        tree = add_child(tree, arena, &pattern->segments[i]);
    if (!tree)
        return false;
    peri_entry_list_append(pattern->kind == PERI_PATTERN_PREFIX ? &tree->prefix : &tree->complete, entry);
    return true;
}

/// Takes the only child of `tree` into it.
static bool merge_child(struct peri_tree *tree, struct peri_arena *arena)
{
    uint32_t at = 0;
    const struct peri_index_slot *slot = peri_index_next(&tree->literals, &at);
    struct peri_tree *child = slot->value;
    struct peri_slice run = peri_arena_printf(arena, "/%.*s%.*s", (int)slot->key_len, slot->key, (int)child->run.len,
                                              child->run.len ? child->run.ptr : "");
    *tree = *child;
    tree->run = run;
    return run.ptr != NULL;
}

bool peri_tree_compress(struct peri_tree *tree, struct peri_arena *arena)
{
    uint32_t at = 0;
    for (const struct peri_index_slot *slot; (slot = peri_index_next(&tree->literals, &at));)
        if (!peri_tree_compress(slot->value, arena))
            return false;
    if (tree->capture && !peri_tree_compress(tree->capture, arena))
        return false;
    bool is_chain = tree->literals.count == 1 && !tree->capture && !tree->complete.first && !tree->prefix.first;
    return !is_chain || merge_child(tree, arena);
}

static void copy_captures(struct peri_slice *to, const struct peri_slice *from, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        to[i] = from[i];
}

/// Keeps the prefix that ends at `node` when it is longer than the best so far. One that cannot be tested is kept like any
/// other: it ends the search in its turn, not before a better entry of another branch.
static void look_at_prefix(const struct peri_tree *node, struct search *search)
{
    if (search->best && search->best_depth >= node->depth)
        return;
    const struct peri_entry *entry = peri_entry_list_find(&node->prefix, search->x);
    if (!entry)
        return;
    search->best = entry;
    search->best_depth = node->depth;
    copy_captures(search->best_captures, search->x->captures, node->captured);
}

/// Takes the node's run off the path at `at`, whole segments only. The place behind it, or NULL.
static inline const char *skip_run(const struct peri_tree *node, const char *at, const char *end)
{
    size_t len = node->run.len, left = (size_t)(end - at);
    if (left < len || (left > len && at[len] != '/') || memcmp(at, node->run.ptr, len) != 0)
        return NULL;
    return at + len;
}

/// Searches below `node` from `at`, the '/' behind the segments that led here, or the end. A complete entry,
/// &peri_entry_untestable, or NULL. Goes down in a loop where there is nothing to come back for.
static const struct peri_entry *walk(const struct peri_tree *node, struct search *search, const char *at)
{
    const struct peri_entry *found = NULL;
    for (;;) {
        if (node->run.len > 0 && !(at = skip_run(node, at, search->end)))
            return NULL;
        if (at == search->end) {
            found = peri_entry_list_find(&node->complete, search->x);
            break;
        }
        struct peri_slice segment = peri_pattern_segment(at, search->end);
        const struct peri_tree *child = peri_index_find(&node->literals, segment);
        const struct peri_tree *capture = segment.len > 0 ? node->capture : NULL;
        at = segment.ptr + segment.len;
        if (child && (capture || node->prefix.first)) {
            found = walk(child, search, at);
            if (found)
                return found;
            child = NULL;
        }
        if (capture)
            search->x->captures[node->captured] = segment;
        else if (!child)
            break;
        if (node->prefix.first) {
            found = walk(capture, search, at);
            break;
        }
        node = child ? child : capture;
    }
    if (!found && node->prefix.first)
        look_at_prefix(node, search);
    return found;
}

const struct peri_entry *peri_tree_find(const struct peri_tree *tree, struct peri_exchange *x)
{
    struct search search;
    search.x = x;
    search.end = x->req.path.ptr + x->req.path.len;
    search.best = NULL;
    const struct peri_entry *found = walk(tree, &search, x->req.path.ptr);
    if (found || !search.best)
        return found;
    copy_captures(x->captures, search.best_captures, search.best->pattern.capture_count);
    return search.best;
}
