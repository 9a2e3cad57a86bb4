// SPDX-License-Identifier: MIT
// Which endpoints a balancer gets to choose from: those of the labels that are asked for, of one priority, available (or all of
// them, in panic), and of one zone where that is sensible. For the files of upstream/ only.
#ifndef PERI_UPSTREAM_SELECT_H
#define PERI_UPSTREAM_SELECT_H

struct peri_endpoint_set;
struct peri_pick;
struct peri_upstream;

/// The set to choose from; it may be empty. Valid until the next call.
const struct peri_endpoint_set *peri_upstream_select(struct peri_upstream *upstream, const struct peri_pick *pick);

#endif
