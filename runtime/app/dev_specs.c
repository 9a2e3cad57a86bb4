// SPDX-License-Identifier: MIT
// One child at a time, and when to start it.
#include "app/dev_specs.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "app/child.h"
#include "app/dev_files.h"
#include "app/dev_report.h"
#include "event/loop.h"
#include "event/timer.h"

#define QUIET_MS 300   ///< beyond the quiet time of the configuration's watcher, so that one save is one run
#define LIMIT_MS 60000 ///< time that a run may take
#define OUTPUT 65536   ///< bytes read of what a run said
#define PATH_SIZE 4096

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
    struct peri_timer quiet;
    struct peri_timer limit;
    bool is_wanted;       ///< run even if no file below spec/ and policies/ has changed
    uint64_t fingerprint; ///< of those files, at the last run
    struct peri_dev_files *files;
};

static bool has_specs(const struct peri_dev_specs *specs)
{
    char path[PATH_SIZE];
    struct stat info;
    snprintf(path, sizeof(path), "%s/spec", specs->directory);
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
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

static void on_quiet(struct peri_timer *timer)
{
    struct peri_dev_specs *specs = PERI_CONTAINER(timer, struct peri_dev_specs, quiet);
    uint64_t fingerprint = peri_dev_files_scan(specs->files);
    bool is_wanted = specs->is_wanted || fingerprint != specs->fingerprint;
    specs->is_wanted = false;
    specs->fingerprint = fingerprint;
    if (!is_wanted || !has_specs(specs))
        return;
    cancel(specs);
    start(specs);
}

// ---- public ----

static void on_event(void *data)
{
    struct peri_dev_specs *specs = data;
    peri_timer_start(specs->loop, &specs->quiet, QUIET_MS);
}

struct peri_dev_specs *peri_dev_specs_new(struct peri_loop *loop, struct peri_children *children, const char *directory)
{
    struct peri_dev_specs *specs = calloc(1, sizeof(*specs));
    char *copy = strdup(directory);
    struct peri_dev_files *files = copy ? peri_dev_files_new(loop, copy, on_event, specs) : NULL;
    if (!specs || !files) {
        peri_dev_files_free(files);
        free(specs);
        free(copy);
        return NULL;
    }
    specs->loop = loop;
    specs->children = children;
    specs->directory = copy;
    specs->files = files;
    peri_timer_init(&specs->quiet, on_quiet);
    peri_timer_init(&specs->limit, on_late);
    peri_dev_specs_run_soon(specs);
    return specs;
}

void peri_dev_specs_run_soon(struct peri_dev_specs *specs)
{
    specs->is_wanted = true;
    on_event(specs);
}

void peri_dev_specs_free(struct peri_dev_specs *specs)
{
    if (!specs)
        return;
    cancel(specs);
    peri_timer_stop(&specs->quiet);
    peri_dev_files_free(specs->files);
    free(specs->directory);
    free(specs);
}
