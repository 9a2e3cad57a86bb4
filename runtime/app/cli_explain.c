// SPDX-License-Identifier: MIT
// `perigee explain`: evaluates a configuration as `check` does, builds the routes and upstreams of it, and prints which way
// one request would take. The JSON of proxy/explain.h is the whole answer; what people read is made of it.
#include <stdlib.h>
#include <string.h>

#include "app/check.h"
#include "app/cli.h"
#include "app/errors.h"
#include "codec/json.h"
#include "event/loop.h"
#include "exchange/exchange.h"
#include "proxy/explain.h"
#include "proxy/generation.h"
#include "shared/shm.h"
#include "upstream/pool.h"

#define HEADERS_MAX 100

struct arguments {
    const char *words[3]; ///< file, method, URL
    uint32_t word_count;
    struct peri_slice headers[HEADERS_MAX];
    uint32_t header_count;
    bool is_json;
};

// ---- arguments ----

static int take_header(struct arguments *arguments, int argc, char **argv, int *at)
{
    const char *text = argv[*at] + 2;
    if (*text == '\0' && *at + 1 == argc)
        return peri_cli_usage(argv[0], "-H needs a header");
    if (*text == '\0')
        text = argv[++*at];
    if (arguments->header_count == HEADERS_MAX)
        return peri_cli_usage(argv[0], "there are more than %d headers", HEADERS_MAX);
    arguments->headers[arguments->header_count++] = peri_slice_from(text);
    return PERI_EXIT_OK;
}

static int parse(struct arguments *arguments, int argc, char **argv)
{
    static const char *const missing[] = {"which configuration? Name its file", "which method? GET, for example",
                                          "which URL? http://host/path, for example"};
    bool is_plain = false;
    for (int i = 1; i < argc; i++) {
        int status = PERI_EXIT_OK;
        if (is_plain || argv[i][0] != '-') {
            if (arguments->word_count == PERI_COUNT(arguments->words))
                return peri_cli_usage(argv[0], "'%s' is one argument too many", argv[i]);
            arguments->words[arguments->word_count++] = argv[i];
        } else if (strcmp(argv[i], "--") == 0) {
            is_plain = true;
        } else if (strcmp(argv[i], "--json") == 0) {
            arguments->is_json = true;
        } else if (argv[i][1] == 'H') {
            status = take_header(arguments, argc, argv, &i);
        } else {
            status = peri_cli_usage(argv[0], "there is no option '%s'", argv[i]);
        }
        if (status != PERI_EXIT_OK)
            return status;
    }
    if (arguments->word_count < PERI_COUNT(arguments->words))
        return peri_cli_usage(argv[0], "%s", missing[arguments->word_count]);
    return PERI_EXIT_OK;
}

static int read_request(struct peri_exchange *x, const struct arguments *arguments)
{
    char message[256] = "";
    struct peri_explain_request request = {
        .method = peri_slice_from(arguments->words[1]),
        .url = peri_slice_from(arguments->words[2]),
        .headers = arguments->headers,
        .header_count = arguments->header_count,
    };
    peri_err_t err = peri_explain_read(x, &request, message, sizeof(message));
    if (err == PERI_OK)
        return PERI_EXIT_OK;
    if (err == PERI_ERR_INVALID)
        return peri_cli_usage("explain", "%s", message);
    const struct peri_err_info *info = peri_err_info(err);
    return peri_cli_usage("explain", "such a request reaches no route; the answer is %d %s: %s", info->status,
                          info->name, info->text);
}

// ---- output for people ----

// Names and values come from the configuration and the request; their control bytes are not for the terminal.
static void put(struct peri_slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        if (c < 0x20 || c == 0x7f)
            printf("\\x%02x", c);
        else
            putchar(c);
    }
}

static void put_member(const char *before, const struct peri_json *json, const char *name, const char *after)
{
    fputs(before, stdout);
    put(peri_json_get_string(json, name));
    fputs(after, stdout);
}

static void put_title(const char *title)
{
    printf("%s%s%s", peri_cli_color(stdout, "1"), title, peri_cli_color(stdout, "0"));
}

static void print_request(const struct peri_json *request)
{
    put_title("Request");
    put_member("\n  method    ", request, "method", "\n");
    put_member("  host      ", request, "host", peri_json_get_string(request, "host").len ? "\n" : "(none)\n");
    put_member("  path      ", request, "path", "\n");
    if (peri_json_get_string(request, "query").len)
        put_member("  query     ", request, "query", "\n");
}

static void put_conditions(const struct peri_json *list, const char *kind)
{
    for (size_t i = 0; i < peri_json_count(list); i++) {
        const struct peri_json *field = peri_json_at(list, i);
        printf(" %s ", kind);
        put_member("", field, "name", "");
        if (peri_json_get(field, "regex"))
            put_member(" ~ ", field, "regex", "");
        else if (peri_json_get(field, "value"))
            put_member(" = ", field, "value", "");
    }
}

static void put_match(const struct peri_json *match)
{
    const struct peri_json *methods = peri_json_get(match, "methods");
    bool has_path = peri_json_get_string(match, "path").len > 0;
    for (size_t i = 0; i < peri_json_count(methods); i++) {
        fputs(i ? "," : "", stdout);
        put(peri_json_string(peri_json_at(methods, i)));
    }
    fputs(peri_json_count(methods) ? " " : "", stdout);
    put_member("", match, "host", "");
    if (has_path)
        put_member("", match, "path", "");
    else if (peri_json_get_string(match, "path_regex").len)
        put_member(" ~ ", match, "path_regex", "");
    else
        fputs(peri_json_get_string(match, "host").len ? "/*" : "any path", stdout);
    put_conditions(peri_json_get(match, "headers"), "header");
    put_conditions(peri_json_get(match, "query"), "query");
}

// The words of route/table.h for a condition, as a sentence; others are one already.
static void put_reason(struct peri_slice reason)
{
    static const char *const sentences[][2] = {
        {"host", "another host"},
        {"path", "another path"},
        {"method", "another method"},
        {"header", "a header is missing or another"},
        {"query", "a query parameter is missing or another"},
    };
    for (size_t i = 0; i < PERI_COUNT(sentences); i++)
        if (peri_slice_eq(reason, peri_slice_from(sentences[i][0])))
            reason = peri_slice_from(sentences[i][1]);
    put(reason);
}

static void print_candidate(const struct peri_json *candidate)
{
    struct peri_slice reason = peri_json_get_string(candidate, "reason");
    bool is_chosen = !reason.ptr;
    printf("%s  %s ", is_chosen ? peri_cli_color(stdout, "32") : "", is_chosen ? ">" : " ");
    put_member("", candidate, "route", " (");
    put_match(peri_json_get(candidate, "match"));
    fputs("): ", stdout);
    put_reason(is_chosen ? PERI_SLICE("matches") : reason);
    printf("%s\n", is_chosen ? peri_cli_color(stdout, "0") : "");
}

static void print_candidates(const struct peri_json *candidates)
{
    put_title("\nRoutes");
    printf(", in the order in which they are tried\n");
    for (size_t i = 0; i < peri_json_count(candidates); i++)
        print_candidate(peri_json_at(candidates, i));
    if (peri_json_count(candidates) == 0)
        printf("    there are none\n");
}

static void print_captures(const struct peri_json *captures)
{
    void *cursor = NULL;
    struct peri_slice name;
    const struct peri_json *value;
    while (peri_json_next(captures, &cursor, &name, &value)) {
        fputs("  capture   ", stdout);
        put(name);
        fputs(" = ", stdout);
        put(peri_json_string(value));
        putchar('\n');
    }
}

static void print_policy(const struct peri_json *policy)
{
    const struct peri_json *hooks = peri_json_get(policy, "hooks");
    put_member("  policy    ", policy, "name", ": ");
    for (size_t i = 0; i < peri_json_count(hooks); i++) {
        fputs(i ? ", " : "", stdout);
        put(peri_json_string(peri_json_at(hooks, i)));
    }
    if (peri_json_count(hooks) == 0)
        fputs("no hook", stdout);
    if (peri_json_get_bool(policy, "when", false))
        fputs("; only when its condition holds", stdout);
    if (peri_json_get_bool(policy, "dry_run", false))
        fputs("; dry run", stdout);
    put_member("; fails ", policy, "on_failure", "\n");
}

static void print_edit(const struct peri_json *edit)
{
    put_member("  edit      ", edit, "on", ": ");
    put_member("", edit, "op", " ");
    put_member("", edit, "name", "");
    if (peri_json_get(edit, "value"))
        put_member(": ", edit, "value", "");
    putchar('\n');
}

static void print_list(const struct peri_json *list, void (*print)(const struct peri_json *item))
{
    for (size_t i = 0; i < peri_json_count(list); i++)
        print(peri_json_at(list, i));
}

static void print_upstream(const struct peri_json *upstream)
{
    const struct peri_json *endpoints = peri_json_get(upstream, "endpoints");
    put_member("  upstream  ", upstream, "name", "");
    printf(", weight %lld", (long long)peri_json_get_integer(upstream, "weight", 1));
    put_member(", ", upstream, "balance", "\n");
    for (size_t i = 0; i < peri_json_count(endpoints); i++) {
        put_member("    endpoint  ", peri_json_at(endpoints, i), "address", "");
        printf(", weight %lld\n", (long long)peri_json_get_integer(peri_json_at(endpoints, i), "weight", 1));
    }
}

static void print_target(const struct peri_json *target)
{
    struct peri_slice kind = peri_json_get_string(target, "kind");
    int64_t status = peri_json_get_integer(target, "status", 0);
    if (peri_slice_eq(kind, PERI_SLICE("handler"))) {
        printf("  target    a handler in Lua answers\n");
    } else if (peri_slice_eq(kind, PERI_SLICE("lua"))) {
        printf("  target    a function in Lua chooses the upstream\n");
    } else if (peri_slice_eq(kind, PERI_SLICE("redirect"))) {
        printf("  target    redirect %lld", (long long)status);
        put_member(" to ", target, "location", "\n");
    } else if (peri_slice_eq(kind, PERI_SLICE("reply"))) {
        printf("  target    reply %lld, %zu bytes\n", (long long)status, peri_json_get_string(target, "body").len);
    } else {
        print_list(peri_json_get(target, "upstreams"), print_upstream);
    }
}

static void print_route(const struct peri_json *answer)
{
    const struct peri_json *route = peri_json_get(answer, "route"), *rewrite = peri_json_get(answer, "rewrite");
    put_title("\nRoute");
    put_member(" ", route, "name", "\n");
    print_captures(peri_json_get(route, "captures"));
    print_list(peri_json_get(answer, "policies"), print_policy);
    print_list(peri_json_get(answer, "edits"), print_edit);
    if (peri_json_get_string(rewrite, "to").ptr) {
        put_member("  rewrite   ", rewrite, "from", " -> ");
        put_member("", rewrite, "to", "\n");
    }
    print_target(peri_json_get(answer, "target"));
    if (peri_json_get_bool(answer, "lua", false))
        printf("\nNothing in Lua was run: it may answer, or change the headers, the path or the upstream.\n");
}

static void print_answer(const struct peri_json *answer)
{
    const struct peri_json *error = peri_json_get(answer, "answer");
    print_request(peri_json_get(answer, "request"));
    print_candidates(peri_json_get(answer, "candidates"));
    if (peri_json_type(peri_json_get(answer, "route")) == PERI_JSON_OBJECT)
        print_route(answer);
    if (peri_json_type(error) != PERI_JSON_OBJECT)
        return;
    printf("\n%sThe answer is %lld ", peri_cli_color(stdout, "31"),
           (long long)peri_json_get_integer(error, "status", 0));
    put_member("", error, "error", ".");
    printf("%s\n", peri_cli_color(stdout, "0"));
}

// ---- the command ----

static int print(const struct peri_json *answer, bool is_json)
{
    char *text = is_json ? peri_json_format(answer, true) : NULL;
    bool has_route = peri_json_type(peri_json_get(answer, "route")) == PERI_JSON_OBJECT;
    if (text)
        puts(text);
    else
        print_answer(answer);
    free(text);
    return has_route ? PERI_EXIT_OK : PERI_EXIT_FAILED;
}

static int explain(struct peri_exchange *x, const struct arguments *arguments, struct peri_generation *generation)
{
    struct peri_json *answer = peri_explain(generation, x);
    int status = print(answer, arguments->is_json);
    peri_json_free(answer);
    peri_generation_unref(generation);
    return status;
}

// What the routes themselves refuse is told with the file, as errors of the evaluation are.
static void print_errors(const char *file, char *errors)
{
    const char *slash = strrchr(file, '/');
    errors = peri_errors_locate(errors, peri_slice_from(slash ? slash + 1 : file));
    peri_errors_print(stderr, file, errors);
    free(errors);
}

// Takes the normalised configuration. What a generation needs beside it is there, but idle.
static int build(struct peri_exchange *x, const struct arguments *arguments, char *config)
{
    char *errors = NULL;
    int status = PERI_EXIT_FAILED;
    struct peri_loop *loop = peri_loop_new(false);
    struct peri_shm *shm = peri_shm_create(&(struct peri_shm_options){.workers = 1, .dict_bytes = 1});
    struct peri_pools *pools = loop ? peri_pools_new(&(struct peri_pools_options){.loop = loop}) : NULL;
    struct peri_generation *generation = NULL;
    if (pools && shm)
        generation =
            peri_generation_new(NULL, config, 1, PERI_SLICE(""), pools, shm, peri_shm_metrics(shm, 0), &errors);
    else
        free(config);
    if (generation)
        status = explain(x, arguments, generation);
    else
        print_errors(arguments->words[0], errors);
    if (pools)
        peri_pools_free(pools);
    peri_shm_close(shm);
    if (loop)
        peri_loop_free(loop);
    return status;
}

static int load(struct peri_exchange *x, const struct arguments *arguments)
{
    struct peri_check_result result;
    if (!peri_cli_load(arguments->words[0], &result))
        return PERI_EXIT_FAILED;
    char *config = result.config;
    result.config = NULL;
    peri_check_result_close(&result);
    return build(x, arguments, config);
}

int peri_cli_explain(int argc, char **argv)
{
    struct arguments arguments = {0};
    int status = parse(&arguments, argc, argv);
    if (status != PERI_EXIT_OK)
        return status;
    struct peri_exchange *x = peri_exchange_new();
    if (!x) {
        peri_cli_error("out of memory");
        return PERI_EXIT_FAILED;
    }
    status = read_request(x, &arguments);
    if (status == PERI_EXIT_OK)
        status = load(x, &arguments);
    peri_exchange_free(x);
    peri_exchange_pool_close();
    return status;
}
