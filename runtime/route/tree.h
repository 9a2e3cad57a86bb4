// SPDX-License-Identifier: MIT
// A tree of path segments: finds the patterns with captures and the prefixes that match a path, in order of precedence.
// Built while the table is sealed, then only read.
#ifndef PERI_ROUTE_TREE_H
#define PERI_ROUTE_TREE_H

#include <stdbool.h>
#include <stdint.h>

#include "route/entry.h"
#include "route/index.h"

struct peri_arena;
struct peri_exchange;

/// Everything below one sequence of segments. All zero: nothing.
struct peri_tree {
    struct peri_slice run;           ///< literal segments ("/api/v1") that must follow first; empty for none
    uint16_t depth;                  ///< segments that lead here, with those of `run`
    uint16_t captured;               ///< captures among them
    struct peri_index literals;      ///< struct peri_tree by literal segment
    struct peri_tree *capture;       ///< below a segment that is captured; NULL for none
    struct peri_entry_list complete; ///< CAPTURES patterns that end here
    struct peri_entry_list prefix;   ///< PREFIX patterns that end here
};

/// Adds an entry whose pattern is CAPTURES or PREFIX; entries come in order of precedence. Memory comes from `arena`. False
/// when out of memory.
bool peri_tree_add(struct peri_tree *tree, struct peri_arena *arena, struct peri_entry *entry);

/// Makes every chain of literal segments without a branch one run. Called once after the last add. False when out of memory:
/// the tree is then to be thrown away.
bool peri_tree_compress(struct peri_tree *tree, struct peri_arena *arena);

/// The entry that x->req belongs to, with its captured segments in x->captures; &peri_entry_untestable, or NULL for none.
const struct peri_entry *peri_tree_find(const struct peri_tree *tree, struct peri_exchange *x);

#endif
