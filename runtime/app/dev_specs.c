// SPDX-License-Identifier: MIT
// One child at a time, and when to start it.
#include "app/dev_specs.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "app/child.h"
#include "app/dev_report.h"
#include "app/spec_files.h"
#include "app/test_folders.h"
#include "app/test_scan.h"
#include "event/loop.h"
#include "event/timer.h"

#define QUIET_MS 300   ///< beyond the quiet time of the configuration's watcher, so that one save is one run
#define LIMIT_MS 60000 ///< time that a run may take
#define OUTPUT 65536   ///< bytes read of what a run said

// A run. Frees itself when its child has ended, also when nobody waits for it any more (specs NULL).
struct run {
    struct peri_child child;
    struct peri_dev_specs *specs;
    int output; ///< memory that the child writes to
    bool is_late;
};

struct peri_dev_specs {
    struct peri_loop *loop;
    struct peri_children *children;
    char *directory; ///< owned
    struct run *run; ///< under way; NULL for none
    struct peri_timer limit;
    struct peri_test_folders *folders;
    bool is_wanted;  ///< run even if no file in the folders has changed
    uint64_t digest; ///< of these files, when they were looked at last
};

static bool has_specs(const struct peri_dev_specs *specs)
{
    struct peri_spec_files files;
    peri_err_t err = peri_spec_files_find(specs->directory, &files);
    bool is_there = err != PERI_OK || files.count > 0; // the run says what is wrong
    peri_spec_files_close(&files);
    return is_there;
}

// ---- a run ----

static void on_exit_of(struct peri_child *child, int status)
{
    struct run *run = PERI_CONTAINER(child, struct run, child);
    struct peri_dev_specs *specs = run->specs;
    char *output = malloc(OUTPUT + 1);
    ssize_t len = output ? pread(run->output, output, OUTPUT, 0) : -1;
    close(run->output);
    if (specs) {
        specs->run = NULL;
        peri_timer_stop(&specs->limit);
    }
    if (specs && run->is_late) {
        peri_dev_report_late(LIMIT_MS / 1000);
    } else if (specs && len >= 0) {
        output[len] = '\0';
        peri_dev_report(output, status);
    }
    free(output);
    free(run);
}

static void cancel(struct peri_dev_specs *specs)
{
    peri_timer_stop(&specs->limit);
    if (!specs->run)
        return;
    specs->run->specs = NULL;
    peri_child_kill(&specs->run->child, SIGKILL);
    specs->run = NULL;
}

static void start(struct peri_dev_specs *specs)
{
    const char *args[] = {"perigee", "_specs", specs->directory, NULL};
    struct run *run = calloc(1, sizeof(*run));
    int fd = run ? memfd_create("perigee-specs", MFD_CLOEXEC) : -1;
    if (fd < 0) {
        free(run);
        return;
    }
    run->specs = specs;
    run->output = fd;
    run->child.on_exit = on_exit_of;
    if (peri_child_start(specs->children, &run->child, args, fd) != PERI_OK) {
        close(fd);
        free(run);
        return;
    }
    specs->run = run;
    peri_timer_start(specs->loop, &specs->limit, LIMIT_MS);
}

static void on_late(struct peri_timer *timer)
{
    struct peri_dev_specs *specs = PERI_CONTAINER(timer, struct peri_dev_specs, limit);
    specs->run->is_late = true;
    peri_child_kill(&specs->run->child, SIGKILL);
}

static void on_quiet(void *data)
{
    struct peri_dev_specs *specs = data;
    struct peri_test_scan scan;
    peri_test_folders_look(specs->folders, &scan);
    bool is_wanted = specs->is_wanted || scan.digest != specs->digest;
    specs->is_wanted = false;
    specs->digest = scan.digest;
    if (!is_wanted || !has_specs(specs))
        return;
    cancel(specs);
    start(specs);
}

// ---- public ----

struct peri_dev_specs *peri_dev_specs_new(struct peri_loop *loop, struct peri_children *children, const char *directory)
{
    struct peri_dev_specs *specs = calloc(1, sizeof(*specs));
    if (!specs || !(specs->directory = strdup(directory))) {
        free(specs);
        return NULL;
    }
    specs->loop = loop;
    specs->children = children;
    specs->folders = peri_test_folders_new(&(struct peri_test_folders_options){
        .loop = loop,
        .roots = &specs->directory,
        .count = 1,
        .quiet_ms = QUIET_MS,
        .on_quiet = on_quiet,
        .data = specs,
    });
    peri_timer_init(&specs->limit, on_late);
    if (!specs->folders) {
        peri_dev_specs_free(specs);
        return NULL;
    }
    peri_dev_specs_run_soon(specs);
    return specs;
}

void peri_dev_specs_run_soon(struct peri_dev_specs *specs)
{
    specs->is_wanted = true;
    peri_test_folders_look_soon(specs->folders);
}

void peri_dev_specs_free(struct peri_dev_specs *specs)
{
    if (!specs)
        return;
    cancel(specs);
    peri_test_folders_free(specs->folders);
    free(specs->directory);
    free(specs);
}
