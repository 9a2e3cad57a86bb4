// SPDX-License-Identifier: MIT
// `perigee explain`: asks the proxy which way one request takes and what is decided about it. With FILE the proxy is one in memory, which
// reaches nobody and whose time stands still; with --admin it is a running one. Both answer with the JSON of proxy/explain.h.
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "app/admin_client.h"
#include "app/check.h"
#include "app/cli.h"
#include "app/errors.h"
#include "app/snapshot.h"
#include "codec/json.h"
#include "event/loop.h"
#include "exchange/exchange.h"
#include "proxy/explain.h"
#include "proxy/server.h"
#include "shared/shm.h"

struct arguments {
    const char *words[3]; ///< file, method, URL; without the file when `admin` is given
    uint32_t word_count;
    struct peri_slice headers[PERI_EXPLAIN_HEADERS];
    uint32_t header_count;
    const char *admin;
    const char *body;
    const char *client;
    bool is_json;
};

// ---- arguments ----

// The value of an option: behind its name (`rest`), or the next argument. NULL when there is none (told).
static const char *take_value(int argc, char **argv, int *at, const char *rest, const char *what)
{
    if (*rest)
        return rest;
    if (*at + 1 < argc)
        return argv[++*at];
    peri_cli_usage(argv[0], "%s needs %s", argv[*at], what);
    return NULL;
}

static int take_header(struct arguments *arguments, int argc, char **argv, int *at)
{
    const char *text = take_value(argc, argv, at, argv[*at] + 2, "a header");
    if (!text)
        return PERI_EXIT_USAGE;
    if (arguments->header_count == PERI_EXPLAIN_HEADERS)
        return peri_cli_usage(argv[0], "there are more than %d headers", PERI_EXPLAIN_HEADERS);
    arguments->headers[arguments->header_count++] = peri_slice_from(text);
    return PERI_EXIT_OK;
}

// Is `word` the option `name`, alone or with "=VALUE"? *rest is what follows.
static bool is_long(const char *word, const char *name, const char **rest)
{
    size_t len = strlen(name);
    if (strncmp(word, name, len) != 0 || (word[len] != '\0' && word[len] != '='))
        return false;
    *rest = word + len + (word[len] == '=');
    return true;
}

static int take_option(struct arguments *arguments, int argc, char **argv, int *at)
{
    const char *word = argv[*at], *rest, **value;
    const char *what = "an address";
    if (strcmp(word, "--json") == 0) {
        arguments->is_json = true;
        return PERI_EXIT_OK;
    }
    if (word[1] == 'H')
        return take_header(arguments, argc, argv, at);
    if (word[1] == 'd') {
        rest = word + 2;
        what = "a body";
        value = &arguments->body;
    } else if (is_long(word, "--admin", &rest)) {
        value = &arguments->admin;
    } else if (is_long(word, "--client", &rest)) {
        value = &arguments->client;
    } else {
        return peri_cli_usage(argv[0], "there is no option '%s'", word);
    }
    *value = take_value(argc, argv, at, rest, what);
    return *value ? PERI_EXIT_OK : PERI_EXIT_USAGE;
}

static int check_words(struct arguments *arguments, const char *command)
{
    static const char *const missing[] = {"which configuration? Name its file", "which method? GET, for example",
                                          "which URL? http://host/path, for example"};
    uint32_t first = arguments->admin ? 1 : 0;
    if (arguments->word_count > PERI_COUNT(missing) - first)
        return peri_cli_usage(command, "'%s' is one argument too many", arguments->words[PERI_COUNT(missing) - 1]);
    if (arguments->word_count < PERI_COUNT(missing) - first)
        return peri_cli_usage(command, "%s", missing[arguments->word_count + first]);
    if (first)
        memmove(arguments->words + 1, arguments->words, 2 * sizeof(*arguments->words));
    return PERI_EXIT_OK;
}

static int parse(struct arguments *arguments, int argc, char **argv)
{
    bool is_plain = false;
    for (int i = 1; i < argc; i++) {
        int status = PERI_EXIT_OK;
        if (is_plain || argv[i][0] != '-') {
            if (arguments->word_count == PERI_COUNT(arguments->words))
                return peri_cli_usage(argv[0], "'%s' is one argument too many", argv[i]);
            arguments->words[arguments->word_count++] = argv[i];
        } else if (strcmp(argv[i], "--") == 0) {
            is_plain = true;
        } else {
            status = take_option(arguments, argc, argv, &i);
        }
        if (status != PERI_EXIT_OK)
            return status;
    }
    return check_words(arguments, argv[0]);
}

static struct peri_slice optional(const char *text)
{
    return text ? peri_slice_from(text) : peri_slice(NULL, 0);
}

static struct peri_explain_request request_of(const struct arguments *arguments)
{
    return (struct peri_explain_request){
        .method = peri_slice_from(arguments->words[1]),
        .url = peri_slice_from(arguments->words[2]),
        .headers = arguments->headers,
        .header_count = arguments->header_count,
        .body = optional(arguments->body),
        .client = optional(arguments->client),
    };
}

// What no client can send is told before anything is loaded or asked.
static int check_request(const struct arguments *arguments)
{
    char message[512] = "";
    struct peri_explain_request request = request_of(arguments);
    struct peri_exchange *x = peri_exchange_new();
    peri_err_t err = x ? peri_explain_read(x, &request, message, sizeof(message)) : PERI_ERR_NOMEM;
    if (x)
        peri_exchange_free(x);
    peri_exchange_pool_close();
    return err == PERI_OK ? PERI_EXIT_OK : peri_cli_usage("explain", "%s", message);
}

// ---- output ----

static int print(const struct peri_json *view, bool is_json)
{
    char *text = is_json ? peri_json_format(view, true) : NULL;
    bool has_route = peri_json_type(peri_json_get(view, "route")) == PERI_JSON_OBJECT;
    if (text)
        puts(text);
    else
        peri_cli_print_explanation(view);
    free(text);
    return has_route ? PERI_EXIT_OK : PERI_EXIT_FAILED;
}

// ---- a proxy in memory ----

struct run {
    const struct arguments *arguments;
    struct peri_loop *loop;
    struct peri_shm *shm;
    bool is_done;
    int status;
};

static void on_done(void *data, struct peri_json *view)
{
    struct run *run = data;
    run->is_done = true;
    run->status = view ? print(view, run->arguments->is_json) : PERI_EXIT_FAILED;
}

// Nobody is there: whatever a policy asks of others fails.
static struct peri_stream *refuse_connection(void *data, struct peri_slice address)
{
    PERI_UNUSED(data);
    PERI_UNUSED(address);
    return NULL;
}

static void explain(struct run *run, struct peri_server *server)
{
    char message[512];
    struct peri_explain_request request = request_of(run->arguments);
    if (!peri_explain_start(server, &request, on_done, run, message, sizeof(message))) {
        peri_cli_error("%s", message);
        return;
    }
    while (!run->is_done) {
        uint64_t now = peri_loop_now_ms(run->loop), next = peri_loop_next_ms(run->loop);
        if (!peri_loop_turn(run->loop) && !run->is_done)
            peri_loop_advance(run->loop, next > now && next != UINT64_MAX ? next - now : 1);
    }
}

// What only the building of a generation refuses is told with the file, as errors of the evaluation are.
static void print_errors(const char *file, char *errors)
{
    const char *slash = strrchr(file, '/');
    errors = peri_errors_locate(errors, peri_slice_from(slash ? slash + 1 : file));
    peri_errors_print(stderr, file, errors);
    free(errors);
}

static void serve(struct run *run, struct peri_server *server, struct peri_snapshot *snapshot)
{
    char *errors = NULL;
    peri_err_t err = peri_server_build(server, peri_snapshot_source(snapshot), peri_snapshot_entry(snapshot), 1,
                                       peri_snapshot_digest(snapshot), &errors);
    if (err != PERI_OK) {
        print_errors(run->arguments->words[0], errors);
        return;
    }
    peri_server_switch(server);
    explain(run, server);
}

static int explain_snapshot(const struct arguments *arguments, struct peri_snapshot *snapshot)
{
    struct run run = {.arguments = arguments, .status = PERI_EXIT_FAILED};
    struct peri_server *server = NULL;
    run.loop = peri_loop_new(true);
    run.shm = peri_shm_create(&(struct peri_shm_options){.workers = 1});
    if (run.loop && run.shm)
        server = peri_server_new(&(struct peri_server_options){
            .loop = run.loop, .shm = run.shm, .is_quiet = true, .connect = refuse_connection});
    if (server) {
        peri_loop_set_wall(run.loop, (uint64_t)time(NULL) * 1000); // tokens and the like expire by it
        serve(&run, server, snapshot);
        peri_server_free(server);
    } else {
        peri_cli_error("the proxy in memory could not be set up; the log says why");
    }
    peri_exchange_pool_close();
    if (run.loop)
        peri_loop_free(run.loop);
    peri_shm_close(run.shm);
    return run.status;
}

static int explain_file(const struct arguments *arguments)
{
    struct peri_check_result result;
    if (!peri_cli_load(arguments->words[0], true, &result))
        return PERI_EXIT_FAILED;
    int status = explain_snapshot(arguments, result.snapshot);
    peri_check_result_close(&result);
    return status;
}

// ---- a running proxy ----

static struct peri_slice name_of(struct peri_slice line)
{
    const char *colon = memchr(line.ptr, ':', line.len);
    return peri_slice(line.ptr, (size_t)(colon - line.ptr));
}

// The values of all headers with the name of header `first`; NULL when an earlier one has it.
static struct peri_json *values_of(const struct arguments *arguments, uint32_t first)
{
    struct peri_slice name = name_of(arguments->headers[first]);
    for (uint32_t i = 0; i < first; i++)
        if (peri_slice_ieq(name_of(arguments->headers[i]), name))
            return NULL;
    struct peri_json *list = peri_json_new_array();
    for (uint32_t i = first; i < arguments->header_count; i++) {
        struct peri_slice line = arguments->headers[i];
        if (peri_slice_ieq(name_of(line), name))
            peri_json_append(list, peri_json_new_string(
                                       peri_slice_trim(peri_slice(line.ptr + name.len + 1, line.len - name.len - 1))));
    }
    return list;
}

// The request was checked: every header has a name.
static char *format_request(const struct arguments *arguments)
{
    struct peri_json *json = peri_json_new_object(), *headers = peri_json_new_object();
    peri_json_set(json, "method", peri_json_new_string(peri_slice_from(arguments->words[1])));
    peri_json_set(json, "url", peri_json_new_string(peri_slice_from(arguments->words[2])));
    for (uint32_t i = 0; i < arguments->header_count; i++) {
        char name[256];
        struct peri_slice text = name_of(arguments->headers[i]);
        struct peri_json *values = values_of(arguments, i);
        snprintf(name, sizeof(name), "%.*s", (int)text.len, text.ptr);
        if (values)
            peri_json_set(headers, name, values);
    }
    peri_json_set(json, "headers", headers);
    if (arguments->body)
        peri_json_set(json, "body", peri_json_new_string(peri_slice_from(arguments->body)));
    if (arguments->client)
        peri_json_set(json, "client", peri_json_new_string(peri_slice_from(arguments->client)));
    char *text = peri_json_format(json, false);
    peri_json_free(json);
    return text;
}

static int print_reply(const struct peri_admin_reply *reply, bool is_json)
{
    struct peri_json *json = peri_json_parse(peri_slice_from(reply->body), false, NULL, 0);
    struct peri_slice detail = peri_json_get_string(json, "detail");
    int status = PERI_EXIT_FAILED;
    if (reply->status == 200)
        status = print(json, is_json);
    else if (detail.len > 0)
        peri_cli_error("%.*s", (int)detail.len, detail.ptr);
    else
        peri_cli_error("the admin interface answered with status %d", reply->status);
    peri_json_free(json);
    return status;
}

static int explain_running(const struct arguments *arguments)
{
    struct peri_admin_reply reply;
    char message[512] = "out of memory";
    char *body = format_request(arguments);
    if (!body || peri_admin_post(arguments->admin, "/explain", body, &reply, message, sizeof(message)) != PERI_OK) {
        free(body);
        peri_cli_error("%s", message);
        return PERI_EXIT_FAILED;
    }
    int status = print_reply(&reply, arguments->is_json);
    free(body);
    free(reply.body);
    return status;
}

int peri_cli_explain(int argc, char **argv)
{
    struct arguments arguments = {0};
    int status = parse(&arguments, argc, argv);
    if (status == PERI_EXIT_OK)
        status = check_request(&arguments);
    if (status != PERI_EXIT_OK)
        return status;
    return arguments.admin ? explain_running(&arguments) : explain_file(&arguments);
}
