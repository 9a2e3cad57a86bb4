// SPDX-License-Identifier: MIT
// Makes a process for tests and replays: a loop whose time stands still, shared memory of its own, and one VM for the specs and all
// the servers that they ask for.
#include "app/test_command.h"

#include <stdlib.h>
#include <string.h>

#include "app/cli.h"
#include "app/spec_files.h"
#include "app/test_watch.h"
#include "base/log.h"
#include "event/loop.h"
#include "proxy/server.h"
#include "proxy/tap.h"
#include "script/chain.h"
#include "script/fetch.h"
#include "script/testing.h"
#include "script/vm.h"
#include "shared/shm.h"

#define TEST_LUA_MEMORY (1024ull * 1024 * 1024) // the specs and busted are in it too
#define TEST_TURNS 1000                         // for what is still closing at the end

struct world {
    struct peri_loop *loop;
    struct peri_shm *shm;
    struct peri_vm *vm;
    struct peri_script_host scripts;
};

static struct peri_server *
open_server(void *data, struct peri_stream *(*connect)(void *data, struct peri_slice address), void *connect_data)
{
    struct world *world = data;
    struct peri_server_options options = {
        .loop = world->loop,
        .shm = world->shm,
        .vm = world->vm,
        .connect = connect,
        .connect_data = connect_data,
    };
    return peri_server_new(&options);
}

// Files come from Lua (perigee/test/project.lua), which gives them to the build itself.
static peri_err_t read_nothing(void *data, struct peri_slice path, struct peri_slice *bytes)
{
    PERI_UNUSED(data);
    PERI_UNUSED(path);
    PERI_UNUSED(bytes);
    return PERI_ERR_NOT_FOUND;
}

static bool build(struct peri_server *server, struct peri_slice entry, uint64_t number, char **errors)
{
    static const struct peri_source source = {.read = read_nothing};
    return peri_server_build(server, &source, entry, number, PERI_SLICE("test"), errors) == PERI_OK;
}

static bool listen_memory(struct peri_server *server, struct peri_slice address)
{
    return peri_server_listen_memory(server, address) == PERI_OK;
}

// A fake upstream belongs to no gateway whose upstreams it could fetch from.
static struct peri_fetch *start_fetch(struct peri_fetch_request *request, peri_err_t *err)
{
    if (request->generation)
        return peri_server_script_host()->fetch_start(request, err);
    *err = PERI_ERR_NOT_FOUND;
    return NULL;
}

static bool record(struct peri_server *server, void (*emit)(void *data, struct peri_slice line), void *data)
{
    const struct peri_tap_options options = {.sample = 1, .keeps_credentials = true, .emit = emit, .data = data};
    return peri_server_tap(server, &options);
}

static bool world_open(struct world *world)
{
    struct peri_shm_options memory = {.workers = 1};
    world->scripts = *peri_server_script_host();
    world->scripts.fetch_start = start_fetch;
    world->loop = peri_loop_new(true);
    world->shm = peri_shm_create(&memory);
    if (!world->loop || !world->shm)
        return false;
    struct peri_vm_options options = {
        .loop = world->loop, .shm = world->shm, .host = &world->scripts, .memory_limit = TEST_LUA_MEMORY};
    world->vm = peri_vm_new(&options);
    return world->vm != NULL;
}

static void world_close(struct world *world)
{
    if (world->vm)
        peri_vm_free(world->vm);
    for (int i = 0; world->loop && i < TEST_TURNS && peri_loop_turn(world->loop); i++)
        ;
    if (world->loop)
        peri_loop_free(world->loop);
    peri_shm_close(world->shm);
}

// Runs the embedded module `name` in a process of its own kind.
static int run(const char *name, int count, char **arguments, const struct peri_testing_gate *gate)
{
    struct world world = {0};
    const struct peri_testing_host host = {
        .open = open_server,
        .build = build,
        .activate = peri_server_switch,
        .listen = listen_memory,
        .connect = peri_server_connect,
        .drain = peri_server_drain,
        .config = peri_server_config,
        .record = record,
        .log_to = peri_server_log_to,
        .close = peri_server_free,
        .data = &world,
        .gate = gate,
    };
    int status = PERI_EXIT_USAGE;
    if (world_open(&world))
        status = peri_testing_run(world.vm, &host, name, count, arguments);
    else
        peri_cli_error("the process could not be set up; the log says why");
    world_close(&world);
    return status;
}

int peri_test_run(int count, char **arguments, const struct peri_testing_gate *gate)
{
    return run(gate ? "perigee.test.gate" : "perigee.test.runner", count, arguments, gate);
}

int peri_test_run_all(const char *output)
{
    struct peri_spec_files files;
    const char *arguments[PERI_SPEC_FILES + 2] = {"-o", output};
    int status = PERI_EXIT_USAGE;
    if (peri_spec_files_find(".", &files) != PERI_OK) {
        peri_cli_error("the folders 'spec' and 'policies' cannot be read, or have more than %d specs", PERI_SPEC_FILES);
    } else if (files.count == 0) {
        peri_cli_error(
            "there is no spec to run; expected spec/*_spec.lua or policies/*/*_spec.lua beside the configuration");
    } else {
        memcpy(arguments + 2, files.paths, files.count * sizeof(*arguments));
        status = peri_test_run((int)files.count + 2, (char **)arguments, NULL);
    }
    peri_spec_files_close(&files);
    return status;
}

int peri_test_main(int argc, char **argv)
{
    if (peri_test_wants_watch(argc, argv))
        return peri_test_watch(argc, argv);
    return peri_test_run(argc - 1, argv + 1, NULL);
}

int peri_replay_main(int argc, char **argv)
{
    return run("perigee.test.replay.command", argc - 1, argv + 1, NULL);
}
