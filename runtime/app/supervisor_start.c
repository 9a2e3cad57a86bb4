// SPDX-License-Identifier: MIT
// How the supervisor starts: the first check, then listeners, admin interface, shared memory and workers.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/admin.h"
#include "app/check.h"
#include "app/config.h"
#include "app/dev.h"
#include "app/errors.h"
#include "app/listening.h"
#include "app/supervisor_internal.h"
#include "app/workers.h"
#include "base/footprint.h"

#define ADMIN_MODE 0600 ///< of an admin unix socket: whoever reaches it controls the proxy

void peri_supervisor_refuse(struct peri_supervisor *supervisor, const char *errors)
{
    const char *file = supervisor->options->file;
    const char *slash = strrchr(file, '/');
    char *located = peri_errors_locate(strdup(errors ? errors : "[]"), peri_slice_from(slash ? slash + 1 : file));
    peri_errors_print(stderr, file, located);
    fprintf(stderr, "perigee: not started: %s\n", file);
    free(located);
}

// Gives up before anything serves; `errors` is taken.
static void fail(struct peri_supervisor *supervisor, char *errors)
{
    peri_supervisor_refuse(supervisor, errors);
    free(errors);
    peri_supervisor_stop(supervisor, 1);
}

static char *open_admin(struct peri_supervisor *supervisor, const struct peri_config *config)
{
    char message[512];
    if (config->admin.len == 0)
        return NULL;
    if (peri_listening_open(config->admin, 1, ADMIN_MODE, &supervisor->admin.socket, message, sizeof(message)) !=
        PERI_OK)
        return peri_errors_new("admin", "%s", message);
    supervisor->admin.interface = peri_admin_open(supervisor->loop, supervisor->admin.socket, supervisor);
    return supervisor->admin.interface ? NULL : peri_errors_new("admin", "out of memory");
}

static char *make_workers(struct peri_supervisor *supervisor, const struct peri_config *config)
{
    supervisor->shm =
        peri_shm_create(&(struct peri_shm_options){.workers = config->workers, .dict_bytes = config->shared_memory});
    if (!supervisor->shm)
        return peri_errors_new("shared_memory", "the system does not give the shared memory");
    peri_tls_ticket_rotation_start(&supervisor->tickets, supervisor->loop, peri_shm_ticket_keys(supervisor->shm));
    supervisor->workers = peri_workers_new(&(struct peri_workers_options){
        .loop = supervisor->loop,
        .shm = supervisor->shm,
        .children = supervisor->children,
        .count = config->workers,
        .is_local = config->is_single,
        .lua_memory = config->lua_memory,
        .watchdog_ms = config->watchdog_ms,
        .role = supervisor->options->role,
        .dev = supervisor->dev ? peri_dev_server(supervisor->dev) : NULL,
        .ops = &peri_supervisor_workers_ops,
        .data = supervisor,
    });
    return supervisor->workers ? NULL : peri_errors_new(NULL, "out of memory");
}

// As many descriptors as the system allows: the soft limit is there for programs that use select().
static char *open_all(struct peri_supervisor *supervisor, const struct peri_config *config)
{
    peri_footprint_raise_descriptor_limit();
    supervisor->listeners.workers = config->workers;
    char *errors = peri_listeners_open(&supervisor->listeners, config);
    if (!errors)
        errors = open_admin(supervisor, config);
    return errors ? errors : make_workers(supervisor, config);
}

// `perigee dev` starts with files that cannot be used, too: on a configuration of its own, which answers with the errors.
static void take_placeholder(struct peri_supervisor *supervisor, struct peri_check_result *result)
{
    const char *file = supervisor->options->file;
    const char *slash = strrchr(file, '/');
    result->errors = peri_errors_locate(result->errors, peri_slice_from(slash ? slash + 1 : file));
    peri_errors_print(stderr, file, result->errors);
    peri_dev_set_errors(supervisor->dev, result->errors);
    peri_check_result_close(result);
    char *text = peri_dev_make_placeholder(supervisor->dev);
    struct peri_check_options options = {.file = file, .role = supervisor->options->role, .is_dev = true, .text = text};
    peri_check_run(&options, result);
    free(text);
}

static void on_loaded(void *data, struct peri_check_result *result)
{
    struct peri_supervisor *supervisor = data;
    struct peri_edition *edition = NULL;
    supervisor->check = NULL;
    if (supervisor->dev)
        peri_dev_set_snapshot(supervisor->dev, result->snapshot);
    if (supervisor->dev && result->errors)
        take_placeholder(supervisor, result);
    char *errors = result->errors;
    result->errors = NULL;
    if (!errors)
        edition = peri_supervisor_make_edition(supervisor, result, &errors);
    if (!errors) {
        supervisor->entry = peri_chronicle_add(&supervisor->chronicle, 0, NULL, edition->snapshot);
        if (supervisor->entry)
            supervisor->entry->number = edition->number;
        peri_history_add(&supervisor->history, edition, edition->config->keep_generations);
        errors = open_all(supervisor, edition->config);
    }
    if (errors) {
        fail(supervisor, errors);
        return;
    }
    peri_supervisor_set_state(supervisor, PERI_SUPERVISOR_STARTING);
    peri_workers_start(supervisor->workers);
}

bool peri_supervisor_load(struct peri_supervisor *supervisor)
{
    struct peri_check_options options = {
        .file = supervisor->options->file, .role = supervisor->options->role, .is_dev = supervisor->options->is_dev};
    supervisor->check = peri_check_start(supervisor->loop, supervisor->children, &options, on_loaded, supervisor);
    return supervisor->check != NULL;
}
