// SPDX-License-Identifier: MIT
// Reads the settings of the processes out of the normalised JSON. The Lua side has validated it; what is checked here is what
// only this side can know, and that the two agree.
#include "app/config.h"

#include <stdlib.h>

#include "app/address.h"
#include "app/cpus.h"
#include "app/errors.h"
#include "codec/json.h"
#include "shared/shm.h"

static uint64_t get_number(const struct peri_json *json, const char *name, uint64_t fallback)
{
    int64_t value = peri_json_get_integer(json, name, -1);
    return value < 0 ? fallback : (uint64_t)value;
}

static char *read_workers(struct peri_config *config)
{
    const struct peri_json *value = peri_json_get(config->json, "workers");
    int64_t workers = peri_json_integer(value, -1);
    config->is_auto = peri_json_type(value) == PERI_JSON_STRING || peri_json_type(value) == PERI_JSON_NONE;
    if (config->is_auto)
        workers = peri_cpus_count() < PERI_SHM_WORKERS_MAX ? peri_cpus_count() : PERI_SHM_WORKERS_MAX;
    if (workers < 0 || workers > PERI_SHM_WORKERS_MAX)
        return peri_errors_new("workers", "expected \"auto\" or a number from 0 to %d", PERI_SHM_WORKERS_MAX);
    config->is_single = workers == 0;
    config->workers = workers == 0 ? 1 : (uint32_t)workers;
    return NULL;
}

static char *read_listener(struct peri_config *config, size_t index, struct peri_slice text)
{
    struct peri_address address;
    char path[64];
    snprintf(path, sizeof(path), "listeners[%zu].address", index + 1);
    if (peri_address_parse(text, &address) != PERI_OK)
        return peri_errors_new(path,
                               "\"%.*s\" is not an address; write \"127.0.0.1:8080\", \"[::1]:8080\", \"*:8080\" or "
                               "\"unix:/path\"",
                               (int)text.len, text.ptr);
    if (peri_config_has_listener(config, text))
        return peri_errors_new(path, "another listener has the address \"%.*s\"", (int)text.len, text.ptr);
    if (config->listener_count == PERI_CONFIG_LISTENERS)
        return peri_errors_new(path, "at most %d listeners are possible", PERI_CONFIG_LISTENERS);
    config->listeners[config->listener_count++] = text;
    return NULL;
}

static char *read_listeners(struct peri_config *config)
{
    const struct peri_json *list = peri_json_get(config->json, "listeners");
    for (size_t i = 0; i < peri_json_count(list); i++) {
        char *errors = read_listener(config, i, peri_json_get_string(peri_json_at(list, i), "address"));
        if (errors)
            return errors;
        const struct peri_json *tls = peri_json_get(peri_json_at(list, i), "tls");
        if (config->dev_listener == 0 && peri_json_get_bool(tls, "dev", false))
            config->dev_listener = (uint32_t)i + 1;
    }
    return NULL;
}

static char *read_admin(struct peri_config *config)
{
    struct peri_address address;
    config->admin = peri_json_get_string(config->json, "admin");
    if (config->admin.len == 0)
        return NULL;
    if (peri_address_parse(config->admin, &address) != PERI_OK || !peri_address_is_local(&address))
        return peri_errors_new("admin",
                               "expected a loopback address such as \"127.0.0.1:9901\" or \"unix:/path\"; whoever "
                               "reaches this address controls the proxy");
    return NULL;
}

#define MILLION 1000000

static char *read_reload(struct peri_config *config)
{
    const struct peri_json *json = peri_json_get(config->json, "reload");
    uint64_t canary = get_number(json, "canary", 0);
    config->reload = (struct peri_config_reload){
        .is_tested = peri_json_get_bool(json, "test", false),
        .test_ms = get_number(json, "test_timeout_ms", 30000),
        .canary = (uint32_t)canary,
        .window_ms = get_number(json, "window_ms", 30000),
        .max_errors = (double)get_number(json, "max_errors", 20000) / MILLION,
        .max_slowdown = peri_json_number(peri_json_get(json, "max_slowdown"), 2),
    };
    return canary > MILLION ? peri_errors_new("reload.canary", "is more than all") : NULL;
}

static char *read_all(struct peri_config *config)
{
    config->is_watched = peri_json_get_bool(config->json, "watch", false);
    config->watchdog_ms = get_number(config->json, "watchdog_ms", 2000);
    config->drain_ms = get_number(config->json, "drain_ms", 30000);
    config->shared_memory = get_number(config->json, "shared_memory", 0);
    config->lua_memory = get_number(config->json, "lua_memory", 0);
    config->keep_generations = (uint32_t)get_number(config->json, "keep_generations", 5);
    char *errors = read_workers(config);
    if (!errors)
        errors = read_reload(config);
    if (!errors)
        errors = read_admin(config);
    return errors ? errors : read_listeners(config);
}

struct peri_config *peri_config_parse(struct peri_slice text, char **errors)
{
    char message[256];
    struct peri_config *config = calloc(1, sizeof(*config));
    *errors = NULL;
    if (!config) {
        *errors = peri_errors_new(NULL, "out of memory");
        return NULL;
    }
    config->json = peri_json_parse(text, false, message, sizeof(message));
    *errors = config->json ? read_all(config) : peri_errors_new(NULL, "the normalised configuration: %s", message);
    if (!*errors)
        return config;
    peri_config_free(config);
    return NULL;
}

void peri_config_free(struct peri_config *config)
{
    if (config)
        peri_json_free(config->json);
    free(config);
}

bool peri_config_has_listener(const struct peri_config *config, struct peri_slice address)
{
    for (uint32_t i = 0; i < config->listener_count; i++)
        if (peri_slice_eq(config->listeners[i], address))
            return true;
    return false;
}

// The number of CPUs may change while the processes run: "auto" stays "auto".
static bool has_same_workers(const struct peri_config *from, const struct peri_config *to)
{
    if (from->is_auto || to->is_auto)
        return from->is_auto && to->is_auto;
    return from->workers == to->workers && from->is_single == to->is_single;
}

const char *peri_config_fixed_change(const struct peri_config *from, const struct peri_config *to)
{
    if (!has_same_workers(from, to))
        return "workers";
    if (!peri_slice_eq(from->admin, to->admin))
        return "admin";
    if (from->watchdog_ms != to->watchdog_ms)
        return "watchdog";
    if (from->shared_memory != to->shared_memory)
        return "shared_memory";
    if (from->lua_memory != to->lua_memory)
        return "lua_memory";
    return NULL;
}
