// SPDX-License-Identifier: MIT
// What Consul's health API (/v1/health/service/NAME) says of a service, as a list of endpoints in the form of upstream/endpoint_list.
#ifndef PERI_UPSTREAM_ENDPOINT_CONSUL_H
#define PERI_UPSTREAM_ENDPOINT_CONSUL_H

#include <stdbool.h>
#include <stddef.h>

struct peri_json;

/// Is the list one of Consul's: does its first item have a "Service"?
bool peri_endpoint_consul_is(const struct peri_json *answer);

/// The endpoints that Consul would give to those who ask it by DNS: those without a critical check, with their weight for "passing" or
/// "warning" (0: left out), and as labels the service's metadata and its tags ("name=value", others "tag" = "true"; without those that are too
/// long). Of items with the same address the first one. Owned by the caller; NULL when an item has no address or port: `problem` says where.
struct peri_json *peri_endpoint_consul_convert(const struct peri_json *answer, char *problem, size_t size);

#endif
