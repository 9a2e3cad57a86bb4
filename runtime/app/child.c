// SPDX-License-Identifier: MIT
// posix_spawn of this same program, and waitpid on SIGCHLD. Every other
// descriptor of this process is close-on-exec.
#include "app/child.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "app/control.h"
#include "event/signal.h"

extern char **environ;

struct peri_children {
    struct peri_list list;
    struct peri_signal *signal;
};

// Path of the program that runs, through a descriptor kept open from the first use: it stays this program when the file is
// replaced. Not /proc/self/exe itself, which under a debugger's or profiler's loader is the loader.
static const char *binary(void)
{
    static char path[32];
    char real[PATH_MAX];
    if (path[0] == '\0') {
        ssize_t len = readlink("/proc/self/exe", real, sizeof(real) - 1);
        int fd = len > 0 ? (real[len] = '\0', open(real, O_PATH | O_CLOEXEC)) : -1;
        if (fd < 0)
            return "/proc/self/exe";
        snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    }
    return path;
}

static void reap(struct peri_child *child, int options)
{
    int status;
    pid_t pid;
    do
        pid = waitpid(child->pid, &status, options);
    while (pid < 0 && errno == EINTR);
    if (pid == 0)
        return;
    peri_list_remove(&child->link);
    child->pid = 0;
    child->on_exit(child, status);
}

static void on_child(void *data, int number)
{
    (void)number;
    struct peri_children *children = data;
    struct peri_list *next;
    for (struct peri_list *node = children->list.next; node != &children->list; node = next) {
        next = node->next;
        reap(PERI_LIST_ITEM(node, struct peri_child, link), WNOHANG);
    }
}

struct peri_children *peri_children_new(struct peri_loop *loop)
{
    struct peri_children *children = calloc(1, sizeof(*children));
    if (!children)
        return NULL;
    peri_list_init(&children->list);
    children->signal = peri_signal_open(loop, SIGCHLD, on_child, children);
    if (!children->signal) {
        free(children);
        return NULL;
    }
    return children;
}

void peri_children_free(struct peri_children *children)
{
    if (!children)
        return;
    peri_signal_close(children->signal);
    while (!peri_list_is_empty(&children->list)) {
        struct peri_child *child = PERI_LIST_ITEM(children->list.next, struct peri_child, link);
        peri_child_kill(child, SIGKILL);
        reap(child, 0);
    }
    free(children);
}

static int prepare_attributes(posix_spawnattr_t *attributes)
{
    sigset_t set;
    sigfillset(&set);
    int error = posix_spawnattr_setsigdefault(attributes, &set);
    sigemptyset(&set);
    if (error == 0)
        error = posix_spawnattr_setsigmask(attributes, &set);
    if (error == 0)
        error = posix_spawnattr_setflags(attributes, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
    return error;
}

static int spawn(pid_t *pid, const char *const *args, int fd)
{
    posix_spawnattr_t attributes;
    posix_spawn_file_actions_t actions;
    posix_spawnattr_init(&attributes);
    posix_spawn_file_actions_init(&actions);
    int error = prepare_attributes(&attributes);
    if (error == 0)
        error = posix_spawn_file_actions_adddup2(&actions, fd, PERI_CONTROL_CHILD_FD);
    if (error == 0)
        error = posix_spawn(pid, binary(), &actions, &attributes, (char *const *)args, environ);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    return error;
}

peri_err_t peri_child_start(struct peri_children *children, struct peri_child *child, const char *const *args, int fd)
{
    pid_t pid;
    int error = spawn(&pid, args, fd);
    if (error != 0) {
        errno = error;
        return PERI_ERR_SYSTEM;
    }
    child->pid = pid;
    peri_list_append(&children->list, &child->link);
    return PERI_OK;
}

void peri_child_kill(const struct peri_child *child, int signal)
{
    if (child->pid > 0)
        kill(child->pid, signal);
}

void peri_child_format_status(int status, char *text, size_t size)
{
    if (WIFSIGNALED(status))
        snprintf(text, size, "signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
    else
        snprintf(text, size, "exit status %d", WEXITSTATUS(status));
}
