// SPDX-License-Identifier: MIT
// One socket pair for all workers: messages keep their borders, so lines never mix.
#include "app/recording.h"

#include <stdlib.h>
#include <unistd.h>

#include "app/control.h"
#include "app/link.h"
#include "app/worker.h"
#include "codec/digest.h"
#include "event/poll.h"

#define TURN 64 ///< messages that are read in one go: the supervisor has other work

struct peri_recording {
    struct peri_loop *loop;
    struct peri_recording_settings settings;
    struct peri_recording_sink *sink;
    struct peri_poll *poll; ///< NULL while the sink is full
    int ends[2];            ///< read here, written by workers
};

// Takes one message. False when there is no more to take now.
static bool take(struct peri_recording *recording)
{
    struct peri_control_message message;
    bool takes_more = true;
    if (peri_control_receive(recording->ends[0], &message) != PERI_OK)
        return false;
    recording->sink->dropped += message.number;
    if (message.type == PERI_CONTROL_RECORDED && message.text.len > 0)
        takes_more = recording->sink->on_line(recording->sink, message.text);
    peri_control_release(&message);
    if (!takes_more) {
        peri_poll_close(recording->poll);
        recording->poll = NULL;
    }
    return takes_more;
}

static void on_readable(void *data)
{
    for (int i = 0; i < TURN && take(data); i++)
        ;
}

void peri_recording_resume(struct peri_recording *recording)
{
    if (!recording->poll)
        recording->poll = peri_poll_open(recording->loop, recording->ends[0], on_readable, recording);
}

struct peri_recording *peri_recording_open(struct peri_loop *loop, const struct peri_recording_settings *settings,
                                           struct peri_recording_sink *sink)
{
    struct peri_recording *recording = calloc(1, sizeof(*recording));
    if (!recording)
        return NULL;
    recording->loop = loop;
    recording->settings = *settings;
    recording->sink = sink;
    if (peri_digest_random(recording->settings.key, PERI_MASK_KEY) != PERI_OK ||
        peri_control_pair(recording->ends) != PERI_OK) {
        free(recording);
        return NULL;
    }
    peri_recording_resume(recording);
    if (recording->poll)
        return recording;
    peri_recording_close(recording);
    return NULL;
}

void peri_recording_brief(struct peri_recording *recording, struct peri_link *link)
{
    link->ops->record(link, &recording->settings, recording->ends[1]);
}

void peri_recording_close(struct peri_recording *recording)
{
    if (!recording)
        return;
    peri_poll_close(recording->poll);
    close(recording->ends[0]);
    close(recording->ends[1]);
    free(recording);
}
