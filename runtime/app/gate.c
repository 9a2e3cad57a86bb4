// SPDX-License-Identifier: MIT
// Finds the specs, runs them in a test process of their own (test_command.c), and collects what fails.
#include "app/gate.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "app/errors.h"
#include "app/spec_files.h"
#include "app/test_command.h"
#include "codec/json.h"
#include "script/testing.h"

#define MESSAGE_MAX 1024
#define ERRORS_MAX 100 ///< of failing specs; what is beyond is only counted

struct gate {
    const struct peri_gate_options *options;
    struct peri_json *errors;
    unsigned count; ///< specs that were run
    bool has_ended; ///< all were
};

static void add_error(struct peri_json *errors, struct peri_slice file, int64_t line, struct peri_slice message)
{
    struct peri_json *error = peri_json_new_object();
    if (peri_json_count(errors) >= ERRORS_MAX) {
        peri_json_free(error);
        return;
    }
    if (file.len > 0)
        peri_json_set(error, "file", peri_json_new_string(file));
    if (file.len > 0 && line > 0)
        peri_json_set(error, "line", peri_json_new_integer(line));
    peri_json_set(error, "message", peri_json_new_string(message));
    peri_json_append(errors, error);
}

static void on_running(void *data, struct peri_slice file, int line, struct peri_slice name)
{
    struct gate *gate = data;
    struct peri_json *spec = peri_json_new_object();
    peri_json_set(spec, "file", peri_json_new_string(file));
    peri_json_set(spec, "line", peri_json_new_integer(line));
    peri_json_set(spec, "name", peri_json_new_string(name));
    char *text = peri_json_format(spec, false);
    if (text)
        gate->options->on_running(text, gate->options->limit_ms);
    free(text);
    peri_json_free(spec);
}

static void on_failed(void *data, struct peri_slice file, int line, struct peri_slice message)
{
    struct gate *gate = data;
    add_error(gate->errors, file, line, message);
}

static void on_ended(void *data, unsigned count)
{
    struct gate *gate = data;
    gate->count = count;
    gate->has_ended = true;
}

// What is wrong although no spec failed; NULL when nothing is.
static const char *other_problem(const struct gate *gate, int status)
{
    if (peri_json_count(gate->errors) > 0)
        return NULL;
    if (!gate->has_ended)
        return "reload.test: the specs could not be run, or one ended the process; standard error says more";
    if (gate->count == 0)
        return "reload.test: the spec files have no test";
    return status != 0 ? "reload.test: the specs failed" : NULL;
}

static void run(struct gate *gate, struct peri_spec_files *files)
{
    const struct peri_testing_gate testing = {
        .source = gate->options->source,
        .on_running = on_running,
        .on_failed = on_failed,
        .on_ended = on_ended,
        .data = gate,
    };
    int status = peri_test_run((int)files->count, files->paths, &testing);
    const char *problem = other_problem(gate, status);
    if (problem)
        add_error(gate->errors, PERI_SLICE(""), 0, peri_slice_from(problem));
}

static const char *find(const struct peri_gate_options *options, struct peri_spec_files *files)
{
    if (peri_spec_files_find(options->directory, files) != PERI_OK)
        return "reload.test: the folders 'spec' and 'policies' cannot be read, or have more than 1000 specs";
    if (files->count == 0)
        return "reload.test: there is no spec; expected spec/*_spec.lua or policies/*/*_spec.lua beside the "
               "configuration";
    if (chdir(options->directory) != 0)
        return "reload.test: the folder of the configuration cannot be entered";
    return NULL;
}

char *peri_gate_run(const struct peri_gate_options *options)
{
    struct gate gate = {.options = options, .errors = peri_json_new_array()};
    struct peri_spec_files files;
    options->on_running("{}", options->limit_ms);
    const char *problem = find(options, &files);
    if (problem)
        add_error(gate.errors, PERI_SLICE(""), 0, peri_slice_from(problem));
    else
        run(&gate, &files);
    peri_spec_files_close(&files);
    char *errors = gate.errors ? peri_json_format(gate.errors, false) : strdup("[]");
    bool is_good = gate.errors && peri_json_count(gate.errors) == 0;
    peri_json_free(gate.errors);
    if (is_good) {
        free(errors);
        return NULL;
    }
    return errors;
}

char *peri_gate_broken_off(const char *spec, const char *how)
{
    char message[MESSAGE_MAX];
    struct peri_json *json = peri_json_parse(peri_slice_from(spec), false, NULL, 0);
    struct peri_json *errors = peri_json_new_array();
    struct peri_slice name = peri_json_get_string(json, "name");
    if (name.len > 0)
        snprintf(message, sizeof(message), "the spec '%.*s' %s", (int)name.len, name.ptr, how);
    else
        snprintf(message, sizeof(message), "the loading of the specs %s", how);
    add_error(errors, peri_json_get_string(json, "file"), peri_json_get_integer(json, "line", 0),
              peri_slice_from(message));
    char *text = peri_json_format(errors, false);
    peri_json_free(errors);
    peri_json_free(json);
    return text;
}
