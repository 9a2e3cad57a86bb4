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
// Cost. A node is reached by one sequence of segments and its depth says which segment of the path it looks at, so one search
// visits a node at most once: never more steps than the patterns have segments together, whatever the path. Depth
// is bounded by PERI_PATTERN_SEGMENTS_MAX; segments of a path beyond the deepest pattern are not looked at.
#include "route/tree.h"

#include "base/arena.h"
#include "base/assert.h"
#include "exchange/exchange.h"

struct search {
    struct peri_exchange *x;
    peri_err_t *err;
    const struct peri_entry *best; ///< best prefix so far
    unsigned best_depth;
    struct peri_slice captures[PERI_CAPTURES_MAX];      ///< on the way to the node at hand
    struct peri_slice best_captures[PERI_CAPTURES_MAX]; ///< on the way to `best`
};

static struct peri_tree *add_child(struct peri_tree *tree, struct peri_arena *arena,
                                   const struct peri_pattern_segment *segment)
{
    struct peri_tree *child = segment->is_capture
                                  ? tree->capture
                                  : peri_index_find(&tree->literals, segment->text, peri_index_hash(segment->text));
    if (child)
        return child;
    child = peri_arena_zalloc(arena, sizeof *child);
    if (!child)
        return NULL;
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

static void copy_captures(struct peri_slice *to, const struct peri_slice *from, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        to[i] = from[i];
}

static void look_at_prefix(const struct peri_tree *node, struct search *search, unsigned depth)
{
    if (search->best && search->best_depth >= depth)
        return;
    const struct peri_entry *entry = peri_entry_list_find(&node->prefix, search->x, search->err);
    if (!entry)
        return;
    search->best = entry;
    search->best_depth = depth;
    copy_captures(search->best_captures, search->captures, entry->pattern.capture_count);
}

/// Searches below `node`; `rest` is the path from the '/' behind the segments that led here. A complete entry, or NULL.
static const struct peri_entry *walk(const struct peri_tree *node, struct search *search, struct peri_slice rest,
                                     unsigned depth, unsigned captured)
{
    const struct peri_entry *found = NULL;
    struct peri_slice segment;
    if (!peri_pattern_next_segment(&rest, &segment)) {
        found = peri_entry_list_find(&node->complete, search->x, search->err);
    } else {
        const struct peri_tree *child = NULL;
        if (node->literals.count > 0)
            child = peri_index_find(&node->literals, segment, peri_index_hash(segment));
        if (child)
            found = walk(child, search, rest, depth + 1, captured);
        if (!found && node->capture && segment.len > 0 && *search->err == PERI_OK) {
            search->captures[captured] = segment;
            found = walk(node->capture, search, rest, depth + 1, captured + 1);
        }
    }
    if (!found && node->prefix.first && *search->err == PERI_OK)
        look_at_prefix(node, search, depth);
    return found;
}

const struct peri_entry *peri_tree_find(const struct peri_tree *tree, struct peri_exchange *x, peri_err_t *err)
{
    struct search search;
    search.x = x;
    search.err = err;
    search.best = NULL;
    const struct peri_entry *found = walk(tree, &search, x->req.path, 0, 0);
    if (*err)
        return NULL;
    if (found) {
        copy_captures(x->captures, search.captures, found->pattern.capture_count);
        return found;
    }
    if (search.best)
        copy_captures(x->captures, search.best_captures, search.best->pattern.capture_count);
    return search.best;
}
