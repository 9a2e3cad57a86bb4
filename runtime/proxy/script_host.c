// SPDX-License-Identifier: MIT
// What scripts may ask of the proxy.
#include "proxy/discovery.h"
#include "proxy/fetch.h"
#include "proxy/forward.h"
#include "proxy/pipeline.h"
#include "proxy/server_internal.h"
#include "proxy/target.h"
#include "proxy/timing.h"
#include "proxy/trace.h"
#include "script/vm.h"

static struct peri_redis *redis_of(void *generation)
{
    return ((const struct peri_generation *)generation)->server->redis;
}

static peri_err_t set_endpoints(void *generation, struct peri_slice name, struct peri_slice list, char *problem,
                                size_t size)
{
    return peri_discovery_set(generation, name, list, problem, size);
}

static char *endpoints(void *generation, struct peri_slice name)
{
    return peri_discovery_list(generation, name);
}

static const struct peri_script_host script_host = {
    .on_verdict = peri_pipeline_on_verdict,
    .read_body = peri_forward_read_body,
    .set_body = peri_forward_set_body,
    .limit_body = peri_forward_limit_body,
    .choose_upstream = peri_target_set,
    .note_failure = peri_pipeline_note_failure,
    .target = peri_target_decide,
    .endpoint = peri_target_endpoint,
    .wish = peri_target_wish,
    .limit = peri_timing_set,
    .trace = peri_trace_add,
    .fetch_start = peri_fetch_start,
    .fetch_cancel = peri_fetch_cancel,
    .redis = redis_of,
    .set_endpoints = set_endpoints,
    .endpoints = endpoints,
};

const struct peri_script_host *peri_server_script_host(void)
{
    return &script_host;
}
