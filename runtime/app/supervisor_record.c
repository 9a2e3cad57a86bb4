// SPDX-License-Identifier: MIT
// What a recording means for the supervisor: every worker that runs is told, and so is every one that starts.
#include "app/link.h"
#include "app/recording.h"
#include "app/supervisor_internal.h"
#include "app/workers.h"

static void brief_one(void *data, struct peri_link *link)
{
    peri_recording_brief(data, link);
}

static void stop_one(void *data, struct peri_link *link)
{
    PERI_UNUSED(data);
    link->ops->record(link, NULL, -1);
}

peri_err_t peri_supervisor_record(struct peri_supervisor *supervisor, const struct peri_recording_settings *settings,
                                  struct peri_recording_sink *sink)
{
    if (supervisor->state != PERI_SUPERVISOR_SERVING)
        return PERI_ERR_DRAINING;
    if (supervisor->recording)
        return PERI_ERR_AGAIN;
    supervisor->recording = peri_recording_open(supervisor->loop, settings, sink);
    if (!supervisor->recording)
        return PERI_ERR_SYSTEM;
    peri_workers_each(supervisor->workers, brief_one, supervisor->recording);
    return PERI_OK;
}

void peri_supervisor_record_resume(struct peri_supervisor *supervisor)
{
    if (supervisor->recording)
        peri_recording_resume(supervisor->recording);
}

void peri_supervisor_record_stop(struct peri_supervisor *supervisor)
{
    if (!supervisor->recording)
        return;
    peri_workers_each(supervisor->workers, stop_one, NULL);
    peri_recording_close(supervisor->recording);
    supervisor->recording = NULL;
}
