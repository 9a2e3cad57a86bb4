// SPDX-License-Identifier: MIT
// The supervisor's side of a check: starts the child, waits for its one message, its end or the time limit.
#include "app/check.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "app/child.h"
#include "app/control.h"
#include "app/errors.h"
#include "app/gate.h"
#include "app/snapshot.h"
#include "base/log.h"
#include "event/poll.h"
#include "event/timer.h"

// The object lives until its child has ended, also when nobody waits for it any more (on_done NULL).
struct peri_check {
    struct peri_child child;
    struct peri_loop *loop;
    struct peri_timer timer;
    struct peri_poll *poll;
    char *spec; ///< owned; what is told of the spec that runs; NULL before
    int fd;
    void (*on_done)(void *data, struct peri_check_result *result);
    void *data;
};

static void stop(struct peri_check *check)
{
    peri_timer_stop(&check->timer);
    peri_poll_close(check->poll);
    check->poll = NULL;
    check->on_done = NULL;
    peri_child_kill(&check->child, SIGKILL);
}

static void finish(struct peri_check *check, struct peri_check_result *result)
{
    void (*on_done)(void *, struct peri_check_result *) = check->on_done;
    stop(check);
    if (on_done)
        on_done(check->data, result);
    peri_check_result_close(result);
}

static void read_message(struct peri_control_message *message, struct peri_check_result *result)
{
    char *text = (char *)message->text.ptr;
    int fd = peri_control_take_fd(message);
    if (fd >= 0 && peri_snapshot_open(fd, &result->snapshot) != PERI_OK)
        result->errors = peri_errors_new(NULL, "the files of the configuration could not be handed over");
    else if (message->type == PERI_CONTROL_ACCEPTED && fd >= 0)
        result->config = text;
    else
        result->errors = text;
    if (result->config == text || result->errors == text)
        message->text = peri_slice(NULL, 0);
    peri_control_release(message);
}

// A spec begins. All of them have their time from the first one on.
static void note_spec(struct peri_check *check, struct peri_control_message *message)
{
    if (!check->spec)
        peri_timer_start(check->loop, &check->timer, message->number);
    free(check->spec);
    check->spec = (char *)message->text.ptr;
    message->text = peri_slice(NULL, 0);
    peri_control_release(message);
}

// Takes what the child has sent: PERI_OK after its answer, PERI_ERR_AGAIN when it may still send one, PERI_ERR_CLOSED.
static peri_err_t receive(struct peri_check *check)
{
    struct peri_control_message message;
    struct peri_check_result result = {0};
    peri_err_t err;
    while ((err = peri_control_receive(check->fd, &message)) == PERI_OK && message.type == PERI_CONTROL_TESTING)
        note_spec(check, &message);
    if (err == PERI_ERR_AGAIN || err == PERI_ERR_CLOSED)
        return err;
    if (err == PERI_OK)
        read_message(&message, &result);
    else
        result.errors = peri_errors_new(NULL, "the answer of the check could not be read");
    finish(check, &result);
    return PERI_OK;
}

static void on_readable(void *data)
{
    struct peri_check *check = data;
    if (receive(check) != PERI_ERR_CLOSED)
        return;
    peri_poll_close(check->poll); // the end of the child tells the rest
    check->poll = NULL;
}

static void on_late(struct peri_timer *timer)
{
    struct peri_check *check = PERI_CONTAINER(timer, struct peri_check, timer);
    struct peri_check_result result = {
        .errors = check->spec ? peri_gate_broken_off(check->spec, PERI_GATE_LATE)
                              : peri_errors_new(NULL, "%s", PERI_CHECK_LATE),
    };
    finish(check, &result);
}

// Why there is no answer.
static char *tell_end(const struct peri_check *check, int status)
{
    char how[64], text[96];
    peri_child_format_status(status, how, sizeof(how));
    snprintf(text, sizeof(text), "ended the process by %s", how);
    if (check->spec)
        return peri_gate_broken_off(check->spec, text);
    return peri_errors_new(NULL, "the process that loads the configuration ended by %s", how);
}

static void on_child_exit(struct peri_child *child, int status)
{
    struct peri_check *check = PERI_CONTAINER(child, struct peri_check, child);
    if (check->on_done && receive(check) != PERI_OK) {
        struct peri_check_result result = {.errors = tell_end(check, status)};
        finish(check, &result);
    }
    close(check->fd);
    free(check->spec);
    free(check);
}

static peri_err_t spawn(struct peri_check *check, struct peri_children *children,
                        const struct peri_check_options *options)
{
    int ends[2];
    const char *args[] = {"perigee", "_check", options->file, options->role, options->is_dev ? "dev" : "", NULL};
    if (peri_control_pair(ends) != PERI_OK)
        return PERI_ERR_SYSTEM;
    peri_err_t err = peri_child_start(children, &check->child, args, ends[1]);
    int saved = errno;
    close(ends[1]);
    check->fd = ends[0];
    if (err != PERI_OK)
        close(check->fd);
    errno = saved;
    return err;
}

struct peri_check *peri_check_start(struct peri_loop *loop, struct peri_children *children,
                                    const struct peri_check_options *options,
                                    void (*on_done)(void *data, struct peri_check_result *result), void *data)
{
    struct peri_check *check = calloc(1, sizeof(*check));
    if (!check)
        return NULL;
    check->child.on_exit = on_child_exit;
    peri_timer_init(&check->timer, on_late);
    if (spawn(check, children, options) != PERI_OK) {
        peri_error("cannot start the check of the configuration: %s", strerror(errno));
        free(check);
        return NULL;
    }
    check->on_done = on_done;
    check->data = data;
    check->loop = loop;
    check->poll = peri_poll_open(loop, check->fd, on_readable, check);
    peri_timer_start(loop, &check->timer, PERI_CHECK_MS);
    return check;
}

void peri_check_cancel(struct peri_check *check)
{
    stop(check);
}

void peri_check_result_close(struct peri_check_result *result)
{
    peri_snapshot_unref(result->snapshot);
    free(result->config);
    free(result->errors);
    *result = (struct peri_check_result){0};
}
