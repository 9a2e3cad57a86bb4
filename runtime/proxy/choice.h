// SPDX-License-Identifier: MIT
// Why an endpoint was chosen, in words, for an exchange with a trace. Decides nothing.
#ifndef PERI_PROXY_CHOICE_H
#define PERI_PROXY_CHOICE_H

#include <stdbool.h>

struct peri_exchange;
struct peri_pick;
struct peri_upstream;

/// `pick` has just been answered by `upstream`: notes in x->trace what it was answered by, among whom, and who was left out.
void peri_choice_note(struct peri_exchange *x, const struct peri_upstream *upstream, const struct peri_pick *pick);

/// A function of the configuration, or with `is_policy` a policy, chose the endpoint: notes so when there is a trace.
void peri_choice_note_script(struct peri_exchange *x, bool is_policy);

#endif
