// SPDX-License-Identifier: MIT
// Commands that talk to a running Perigee: reload, rollback, status, drain.
#include <stdlib.h>
#include <string.h>

#include "app/admin_client.h"
#include "app/cli.h"
#include "app/errors.h"
#include "codec/json.h"

#define DEFAULT_ADMIN "127.0.0.1:9901"

struct arguments {
    const char *admin;
    const char *operand; ///< NULL for none
    bool is_json;
};

static int take_option(struct arguments *arguments, int argc, char **argv, int *at)
{
    static const char option[] = "--admin";
    const char *word = argv[*at];
    size_t len = sizeof(option) - 1;
    if (strcmp(word, "--json") == 0 && strcmp(argv[0], "status") == 0) {
        arguments->is_json = true;
    } else if (strncmp(word, option, len) == 0 && word[len] == '=') {
        arguments->admin = word + len + 1;
    } else if (strcmp(word, option) != 0) {
        return peri_cli_usage(argv[0], "there is no option '%s'", word);
    } else if (*at + 1 == argc) {
        return peri_cli_usage(argv[0], "--admin needs an address");
    } else {
        arguments->admin = argv[++*at];
    }
    return PERI_EXIT_OK;
}

static int parse(struct arguments *arguments, int argc, char **argv, bool has_operand)
{
    *arguments = (struct arguments){.admin = getenv("PERIGEE_ADMIN")};
    for (int i = 1; i < argc; i++) {
        int status = PERI_EXIT_OK;
        if (argv[i][0] == '-')
            status = take_option(arguments, argc, argv, &i);
        else if (!has_operand || arguments->operand)
            status = peri_cli_usage(argv[0], "'%s' is one argument too many", argv[i]);
        else
            arguments->operand = argv[i];
        if (status != PERI_EXIT_OK)
            return status;
    }
    if (!arguments->admin || !*arguments->admin)
        arguments->admin = DEFAULT_ADMIN;
    return PERI_EXIT_OK;
}

// Prints why a request was refused.
static void print_refusal(const struct peri_admin_reply *reply)
{
    struct peri_json *json = peri_json_parse(peri_slice_from(reply->body), false, NULL, 0);
    const struct peri_json *errors = peri_json_get(json, "errors");
    struct peri_slice detail = peri_json_get_string(json, "detail");
    char *text = errors ? peri_json_format(errors, false) : NULL;
    if (text)
        peri_errors_print(stderr, "", text);
    if (detail.len > 0)
        peri_cli_error("%.*s", (int)detail.len, detail.ptr);
    else
        peri_cli_error("the admin interface answered with status %d", reply->status);
    free(text);
    peri_json_free(json);
}

// Sends a request and calls print(json) with the answer. Returns the exit status.
static int ask(const struct arguments *arguments, const char *method, const char *target,
               void (*print)(const struct peri_json *json))
{
    struct peri_admin_reply reply;
    char message[512];
    if (peri_admin_request(arguments->admin, method, target, &reply, message, sizeof(message)) != PERI_OK) {
        peri_cli_error("%s", message);
        return PERI_EXIT_FAILED;
    }
    bool is_good = reply.status >= 200 && reply.status < 300;
    if (!is_good) {
        print_refusal(&reply);
    } else if (arguments->is_json) {
        printf("%s\n", reply.body);
    } else {
        struct peri_json *json = peri_json_parse(peri_slice_from(reply.body), false, NULL, 0);
        print(json);
        peri_json_free(json);
    }
    free(reply.body);
    return is_good ? PERI_EXIT_OK : PERI_EXIT_FAILED;
}

static void print_generation(const struct peri_json *json)
{
    printf("generation %lld serves\n", (long long)peri_json_get_integer(json, "generation", 0));
}

static void print_drain(const struct peri_json *json)
{
    PERI_UNUSED(json);
    printf("draining\n");
}

static void print_worker(const struct peri_json *worker)
{
    struct peri_slice state = peri_json_get_string(worker, "state");
    printf("%6lld %8lld  %-9.*s %10lld %11lld %8lld\n", (long long)peri_json_get_integer(worker, "index", 0),
           (long long)peri_json_get_integer(worker, "pid", 0), (int)state.len, state.ptr,
           (long long)peri_json_get_integer(worker, "generation", 0),
           (long long)peri_json_get_integer(worker, "connections", 0),
           (long long)peri_json_get_integer(worker, "restarts", 0));
}

static void print_status(const struct peri_json *json)
{
    const struct peri_json *workers = peri_json_get(json, "workers");
    const struct peri_json *listeners = peri_json_get(json, "listeners");
    struct peri_slice state = peri_json_get_string(json, "state");
    struct peri_slice digest = peri_json_get_string(json, "digest");
    printf("%s%.*s%s, generation %lld (%.12s), up %lld s\n", peri_cli_color(stdout, "1"), (int)state.len, state.ptr,
           peri_cli_color(stdout, "0"), (long long)peri_json_get_integer(json, "generation", 0),
           digest.ptr ? digest.ptr : "", (long long)peri_json_get_integer(json, "uptime_s", 0));
    for (size_t i = 0; i < peri_json_count(listeners); i++)
        printf("listening on %s\n", peri_json_string(peri_json_at(listeners, i)).ptr);
    printf("\n%6s %8s  %-9s %10s %11s %8s\n", "worker", "pid", "state", "generation", "connections", "restarts");
    for (size_t i = 0; i < peri_json_count(workers); i++)
        print_worker(peri_json_at(workers, i));
}

int peri_cli_reload(int argc, char **argv)
{
    struct arguments arguments;
    int status = parse(&arguments, argc, argv, false);
    return status ? status : ask(&arguments, "POST", "/reload", print_generation);
}

int peri_cli_rollback(int argc, char **argv)
{
    struct arguments arguments;
    char target[64] = "/rollback";
    int status = parse(&arguments, argc, argv, true);
    if (status)
        return status;
    if (arguments.operand) {
        size_t len = strspn(arguments.operand, "0123456789");
        if (len == 0 || len > 18 || arguments.operand[len])
            return peri_cli_usage(argv[0], "'%s' is not the number of a generation", arguments.operand);
        snprintf(target, sizeof(target), "/rollback?generation=%s", arguments.operand);
    }
    return ask(&arguments, "POST", target, print_generation);
}

int peri_cli_status(int argc, char **argv)
{
    struct arguments arguments;
    int status = parse(&arguments, argc, argv, false);
    return status ? status : ask(&arguments, "GET", "/status", print_status);
}

int peri_cli_drain(int argc, char **argv)
{
    struct arguments arguments;
    int status = parse(&arguments, argc, argv, false);
    return status ? status : ask(&arguments, "POST", "/drain", print_drain);
}
