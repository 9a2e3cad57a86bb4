// SPDX-License-Identifier: MIT
// Each run is a process of its own, so that nothing of the last one is left. Events of the file system only say that it is
// time to look: what decides is whether the files differ from those that the last run began with, so no change is missed, and
// reports that a run writes start no other one.
//
//   run -> ended -> (event, quiet) -> look -> the same: wait | another: run
//
// A change during a run is looked at when that run has ended.
#include "app/test_watch.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "app/child.h"
#include "app/cli.h"
#include "app/test_folders.h"
#include "app/test_scan.h"
#include "event/loop.h"
#include "event/signal.h"

#define QUIET_MS 150 ///< how long nothing must have happened
#define ROOTS_MAX 64

struct watcher {
    struct peri_loop *loop;
    struct peri_children *children;
    struct peri_child child;
    struct peri_test_folders *folders;
    char *roots[ROOTS_MAX]; ///< owned
    unsigned root_count;
    const char **args;          ///< of the child; owned
    struct peri_test_scan scan; ///< the files that the last run began with
    uint64_t began_ms;
    bool is_running;
    bool is_ending;
    int status;
};

static void start_run(struct watcher *watcher);

// ---- looking at files ----

static void on_quiet(void *data)
{
    struct watcher *watcher = data;
    struct peri_test_scan now;
    if (watcher->is_running || watcher->is_ending)
        return; // the end of the run looks
    peri_test_folders_look(watcher->folders, &now);
    if (now.digest == watcher->scan.digest)
        return;
    if (now.newest_ns > watcher->scan.newest_ns)
        fprintf(stderr, "\nperigee: %s changed\n", now.newest);
    else
        fprintf(stderr, "\nperigee: files were renamed or removed\n");
    start_run(watcher);
}

// ---- runs ----

static void print_end(const struct watcher *watcher, int status)
{
    char how[64];
    unsigned ms = (unsigned)(peri_loop_now_ms(watcher->loop) - watcher->began_ms);
    bool has_passed = status == 0; // as waitpid tells it
    peri_child_format_status(status, how, sizeof(how));
    fprintf(stderr,
            "%sperigee: the specs %s%s%s%s after %u.%u s; waiting for changes in %u folder%s%s, Ctrl-C ends%s\n",
            peri_cli_color(stderr, has_passed ? "32" : "31"), has_passed ? "passed" : "failed", has_passed ? "" : " (",
            has_passed ? "" : how, has_passed ? "" : ")", ms / 1000, ms % 1000 / 100, watcher->scan.directories,
            watcher->scan.directories == 1 ? "" : "s", watcher->scan.is_cut ? " (there are more)" : "",
            peri_cli_color(stderr, "0"));
}

static void on_exit_of_child(struct peri_child *child, int status)
{
    struct watcher *watcher = PERI_CONTAINER(child, struct watcher, child);
    watcher->is_running = false;
    if (watcher->is_ending) {
        peri_loop_stop(watcher->loop);
        return;
    }
    print_end(watcher, status);
    peri_test_folders_look_soon(watcher->folders); // what changed meanwhile
}

static void end(struct watcher *watcher, int status)
{
    watcher->is_ending = true;
    watcher->status = status;
    if (watcher->is_running)
        peri_child_kill(&watcher->child, SIGTERM);
    else
        peri_loop_stop(watcher->loop);
}

static void start_run(struct watcher *watcher)
{
    int nothing = open("/dev/null", O_RDWR | O_CLOEXEC);
    peri_test_folders_look(watcher->folders, &watcher->scan);
    watcher->child = (struct peri_child){.on_exit = on_exit_of_child};
    watcher->began_ms = peri_loop_now_ms(watcher->loop);
    if (nothing >= 0 && peri_child_start(watcher->children, &watcher->child, watcher->args, nothing) == PERI_OK) {
        watcher->is_running = true;
    } else {
        peri_cli_error("the specs could not be started");
        end(watcher, PERI_EXIT_FAILED);
    }
    if (nothing >= 0)
        close(nothing);
}

static void on_signal(void *data, int number)
{
    PERI_UNUSED(number);
    struct watcher *watcher = data;
    if (watcher->is_ending)
        peri_child_kill(&watcher->child, SIGKILL);
    else
        end(watcher, PERI_EXIT_OK);
}

// ---- arguments ----

static bool is_watch(const char *word)
{
    return strcmp(word, "--watch") == 0;
}

bool peri_test_wants_watch(int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        if (is_watch(argv[i]))
            return true;
    return false;
}

static void add_root(struct watcher *watcher, const char *path)
{
    char *root = watcher->root_count < ROOTS_MAX ? peri_test_scan_root(path) : NULL;
    if (root)
        watcher->roots[watcher->root_count++] = root;
}

static bool read_arguments(struct watcher *watcher, int argc, char **argv)
{
    int count = 0;
    watcher->args = calloc((size_t)argc + 2, sizeof(*watcher->args));
    if (!watcher->args)
        return false;
    add_root(watcher, ".");
    watcher->args[count++] = "perigee";
    for (int i = 0; i < argc; i++) {
        if (is_watch(argv[i]))
            continue;
        watcher->args[count++] = argv[i];
        if (i > 0)
            add_root(watcher, argv[i]);
    }
    return true;
}

// ---- the command ----

static void run(struct watcher *watcher)
{
    struct peri_signal *interrupt = peri_signal_open(watcher->loop, SIGINT, on_signal, watcher);
    struct peri_signal *terminate = peri_signal_open(watcher->loop, SIGTERM, on_signal, watcher);
    watcher->children = peri_children_new(watcher->loop);
    watcher->folders = peri_test_folders_new(&(struct peri_test_folders_options){
        .loop = watcher->loop,
        .roots = watcher->roots,
        .count = watcher->root_count,
        .quiet_ms = QUIET_MS,
        .on_quiet = on_quiet,
        .data = watcher,
    });
    if (interrupt && terminate && watcher->children && watcher->folders) {
        start_run(watcher);
        if (!watcher->is_ending)
            peri_loop_run(watcher->loop);
    }
    peri_test_folders_free(watcher->folders);
    peri_children_free(watcher->children);
    peri_signal_close(interrupt);
    peri_signal_close(terminate);
}

int peri_test_watch(int argc, char **argv)
{
    struct watcher *watcher = calloc(1, sizeof(*watcher));
    int status = PERI_EXIT_FAILED;
    if (watcher && read_arguments(watcher, argc, argv) && (watcher->loop = peri_loop_new(false)) != NULL) {
        watcher->status = PERI_EXIT_FAILED;
        run(watcher);
        status = watcher->status;
        peri_loop_free(watcher->loop);
    }
    for (unsigned i = 0; watcher && i < watcher->root_count; i++)
        free(watcher->roots[i]);
    if (watcher)
        free(watcher->args);
    free(watcher);
    return status;
}
