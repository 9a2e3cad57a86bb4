// SPDX-License-Identifier: MIT
// Answers requests that the process has no room for: 503, without a route, a policy or an attempt.
#ifndef PERI_PROXY_SHED_H
#define PERI_PROXY_SHED_H

struct peri_owner_ops;

/// The owner of the exchanges that are refused; its data is the server.
extern const struct peri_owner_ops peri_shed_owner;

#endif
