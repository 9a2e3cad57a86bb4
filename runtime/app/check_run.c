// SPDX-License-Identifier: MIT
// The evaluating side of a check: a VM that serves nothing, over a source that records what it reads.
#include <errno.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>

#include "app/check.h"
#include "app/config.h"
#include "app/errors.h"
#include "app/gate.h"
#include "app/snapshot.h"
#include "event/loop.h"
#include "proxy/generation.h"
#include "script/vm.h"
#include "shared/shm.h"
#include "upstream/pool.h"

// The configuration's place: its directory, which the recorder reads below, and its name in there.
struct place {
    char *copies[2]; ///< owned; dirname and basename cut their argument
    const char *directory;
    const char *name;
};

static bool open_place(struct place *place, const char *file)
{
    place->copies[0] = strdup(file);
    place->copies[1] = strdup(file);
    if (!place->copies[0] || !place->copies[1])
        return false;
    place->directory = dirname(place->copies[0]);
    place->name = basename(place->copies[1]);
    return true;
}

static void close_place(struct place *place)
{
    free(place->copies[0]);
    free(place->copies[1]);
}

// Builds routes, upstreams and TLS of the normalised configuration, as a worker will, and records the files that these read;
// a list of errors, or NULL.
static char *build_routes(struct peri_loop *loop, struct peri_shm *shm, const struct peri_source *source,
                          const char *config)
{
    char *errors = NULL;
    char *copy = strdup(config);
    struct peri_pools *pools = peri_pools_new(&(struct peri_pools_options){.loop = loop});
    if (!pools || !copy) {
        free(copy);
        errors = peri_errors_new(NULL, "out of memory");
    } else {
        struct peri_generation *generation =
            peri_generation_new(NULL, copy, source, 1, PERI_SLICE(""), pools, shm, peri_shm_metrics(shm, 0), &errors);
        if (generation)
            peri_generation_unref(generation);
    }
    if (pools)
        peri_pools_free(pools);
    return errors;
}

// A certificate that nobody vouches for is not served by mistake.
static char *refuse_dev(const struct peri_config *config)
{
    char path[64];
    snprintf(path, sizeof(path), "listeners[%u].tls", config->dev_listener);
    return peri_errors_new(path, "\"dev\" is for `perigee dev` only; write cert and key");
}

static void evaluate(struct peri_vm *vm, const struct peri_check_options *options, const struct peri_source *source,
                     const char *name, struct peri_check_result *result)
{
    struct peri_build build = {0};
    peri_err_t err = peri_script_build(vm, source, peri_slice_from(name), 1, &build);
    if (build.script)
        peri_script_release(build.script);
    if (err != PERI_OK) {
        free(build.config);
        result->errors = build.errors ? build.errors : peri_errors_new(NULL, "out of memory");
        return;
    }
    result->config = build.config;
    struct peri_config *config = peri_config_parse(peri_slice_from(build.config), &result->errors);
    result->test_ms = config && config->reload.is_tested ? config->reload.test_ms : 0;
    if (config && config->dev_listener > 0 && !options->is_dev)
        result->errors = refuse_dev(config);
    peri_config_free(config);
}

static void run_vm(const struct peri_check_options *options, const struct peri_source *source, const char *name,
                   struct peri_check_result *result)
{
    struct peri_loop *loop = peri_loop_new(false);
    struct peri_shm *shm = peri_shm_create(&(struct peri_shm_options){.workers = 1, .dict_bytes = 1});
    struct peri_vm *vm = NULL;
    if (loop && shm)
        vm = peri_vm_new(&(struct peri_vm_options){.loop = loop, .shm = shm, .role = options->role});
    if (vm)
        evaluate(vm, options, source, name, result);
    else
        result->errors = peri_errors_new(NULL, "the Lua runtime could not be started");
    if (vm && !result->errors)
        result->errors = build_routes(loop, shm, source, result->config);
    if (vm) {
        result->errors = peri_script_locate(vm, source, peri_slice_from(name), result->errors);
        peri_vm_free(vm);
    }
    peri_shm_close(shm);
    if (loop)
        peri_loop_free(loop);
}

// A missing or unreadable file is told in plain words, before Lua would.
static bool is_readable(const struct peri_check_options *options, const struct peri_source *source, const char *name,
                        struct peri_check_result *result)
{
    struct peri_slice bytes;
    peri_err_t err = source->read(source->data, peri_slice_from(name), &bytes);
    if (err == PERI_OK)
        return true;
    const char *why = err == PERI_ERR_NOT_FOUND ? "there is no such file"
                      : err == PERI_ERR_LIMIT   ? "the file is larger than 8 MiB"
                                                : "the file cannot be read";
    result->errors = peri_errors_new(NULL, "%s: %s", options->file, why);
    return false;
}

static void record(const struct peri_check_options *options, const struct place *place,
                   struct peri_check_result *result)
{
    struct peri_recorder *recorder = peri_recorder_new(place->directory);
    if (!recorder) {
        result->errors = peri_errors_new(NULL, "%s: %s", place->directory, strerror(errno));
        return;
    }
    const struct peri_source *source = peri_recorder_source(recorder);
    if (options->text && peri_recorder_put(recorder, peri_slice_from(place->name), options->text) != PERI_OK)
        result->errors = peri_errors_new(NULL, "out of memory");
    else if (is_readable(options, source, place->name, result))
        run_vm(options, source, place->name, result);
    if (!result->errors && result->test_ms > 0 && options->on_spec)
        result->errors = peri_gate_run(&(struct peri_gate_options){.directory = place->directory,
                                                                   .source = source,
                                                                   .limit_ms = result->test_ms,
                                                                   .on_running = options->on_spec});
    int fd = peri_recorder_finish(recorder, peri_slice_from(place->name));
    if (fd >= 0)
        peri_snapshot_open(fd, &result->snapshot);
    if (!result->snapshot && !result->errors)
        result->errors = peri_errors_new(NULL, "the files of the configuration do not fit in memory");
    peri_recorder_free(recorder);
}

void peri_check_run(const struct peri_check_options *options, struct peri_check_result *result)
{
    struct place place = {0};
    *result = (struct peri_check_result){0};
    if (open_place(&place, options->file))
        record(options, &place, result);
    else
        result->errors = peri_errors_new(NULL, "out of memory");
    if (result->errors) {
        result->errors = peri_errors_locate(result->errors, peri_slice_from(place.name));
        free(result->config);
        result->config = NULL;
    }
    close_place(&place);
}
