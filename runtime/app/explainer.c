// SPDX-License-Identifier: MIT
// Jobs: a run of proxy/explain, or a refusal that waits for the next turn of the loop.
#include "app/explainer.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "codec/json.h"
#include "event/loop.h"
#include "proxy/explain.h"
#include "proxy/server.h"

#define OUT_OF_MEMORY PERI_SLICE("{\"refused\":\"the proxy is out of memory\"}")

struct job {
    struct peri_list link;
    struct peri_explainer_job job;
    struct peri_explain *run; ///< NULL when it was refused
    struct peri_defer refusal;
    char message[512];
};

static void job_free(struct job *job)
{
    peri_defer_cancel(&job->refusal);
    peri_list_remove(&job->link);
    free(job);
}

// Answers with `json` (borrowed), and the job is over.
static void job_answer(struct job *job, const struct peri_json *json)
{
    char *text = json ? peri_json_format(json, false) : NULL;
    struct peri_explainer_job told = job->job;
    job_free(job);
    told.on_done(told.data, told.id, text ? peri_slice_from(text) : OUT_OF_MEMORY);
    free(text);
}

static void on_done(void *data, struct peri_json *view)
{
    job_answer(data, view);
}

static void on_refusal(struct peri_defer *defer)
{
    struct job *job = PERI_CONTAINER(defer, struct job, refusal);
    struct peri_json *json = peri_json_new_object();
    peri_json_set(json, "refused", peri_json_new_string(peri_slice_from(job->message)));
    job_answer(job, json);
    peri_json_free(json);
}

static void job_start(struct job *job, struct peri_server *server, struct peri_slice text)
{
    char *lines = NULL;
    struct peri_explain_request request;
    struct peri_json *json = peri_json_parse(text, false, job->message, sizeof(job->message));
    bool is_good = json && peri_explain_parse(json, &request, &lines, job->message, sizeof(job->message));
    if (is_good && peri_server_generation(server) == 0)
        snprintf(job->message, sizeof(job->message), "no generation answers yet");
    else if (is_good)
        job->run = peri_explain_start(server, &request, on_done, job, job->message, sizeof(job->message));
    free(lines);
    peri_json_free(json);
}

void peri_explainer_init(struct peri_explainer *explainer)
{
    peri_list_init(&explainer->jobs);
}

void peri_explainer_start(struct peri_explainer *explainer, struct peri_server *server, struct peri_loop *loop,
                          const struct peri_explainer_job *order)
{
    struct job *job = calloc(1, sizeof(*job));
    if (!job) {
        peri_error("no memory to explain a request"); // whoever asked gives up after a time
        return;
    }
    job->job = *order;
    peri_defer_init(&job->refusal, on_refusal);
    peri_list_append(&explainer->jobs, &job->link);
    job_start(job, server, order->request);
    if (!job->run)
        peri_defer_schedule(loop, &job->refusal);
}

void peri_explainer_close(struct peri_explainer *explainer)
{
    while (!peri_list_is_empty(&explainer->jobs)) {
        struct job *job = PERI_LIST_ITEM(explainer->jobs.next, struct job, link);
        if (job->run)
            peri_explain_cancel(job->run);
        job_free(job);
    }
}
