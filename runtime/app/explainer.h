// SPDX-License-Identifier: MIT
// The explanations that a worker is asked for: JSON in, JSON out, each answered once from the loop.
#ifndef PERI_APP_EXPLAINER_H
#define PERI_APP_EXPLAINER_H

#include <stdint.h>

#include "base/list.h"
#include "base/slice.h"

struct peri_loop;
struct peri_server;

struct peri_explainer {
    struct peri_list jobs; ///< under way
};

/// One request for an explanation.
struct peri_explainer_job {
    uint64_t id;
    struct peri_slice request; ///< JSON (proxy/explain.h); borrowed for the call
    void (*on_done)(void *data, uint64_t id, struct peri_slice answer);
    void *data;
};

/// Prepares an explainer without jobs.
void peri_explainer_init(struct peri_explainer *explainer);

/// Explains a request with the current generation of `server`. The answer is { "refused": sentence } for what is no request.
void peri_explainer_start(struct peri_explainer *explainer, struct peri_server *server, struct peri_loop *loop,
                          const struct peri_explainer_job *job);

/// Ends all jobs; nobody is told.
void peri_explainer_close(struct peri_explainer *explainer);

#endif
