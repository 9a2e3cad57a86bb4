// SPDX-License-Identifier: MIT
// Commands that talk to a running Perigee: reload, rollback, generations, status, drain.
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "app/admin_client.h"
#include "app/cli.h"
#include "app/errors.h"
#include "codec/json.h"

#define DEFAULT_ADMIN "127.0.0.1:9901"
#define POLL_MS 200 ///< between two questions while a canary is on

struct arguments {
    const char *admin;
    const char *operand; ///< NULL for none
    bool is_json;
    bool is_patient; ///< waits for the end of a canary
};

static int take_option(struct arguments *arguments, int argc, char **argv, int *at)
{
    static const char option[] = "--admin";
    const char *word = argv[*at];
    size_t len = sizeof(option) - 1;
    if (strcmp(word, "--json") == 0 && (strcmp(argv[0], "status") == 0 || strcmp(argv[0], "generations") == 0)) {
        arguments->is_json = true;
    } else if (strcmp(word, "--no-wait") == 0 && strcmp(argv[0], "reload") == 0) {
        arguments->is_patient = false;
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
    *arguments = (struct arguments){.admin = getenv("PERIGEE_ADMIN"), .is_patient = true};
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

// Sends a request. True when it was done: then the body is the caller's; otherwise the reason was printed.
static bool request(const struct arguments *arguments, const char *method, const char *target, char **body)
{
    struct peri_admin_reply reply;
    char message[512];
    if (peri_admin_request(arguments->admin, method, target, &reply, message, sizeof(message)) != PERI_OK) {
        peri_cli_error("%s", message);
        return false;
    }
    bool is_good = reply.status >= 200 && reply.status < 300;
    if (is_good) {
        *body = reply.body;
        return true;
    }
    print_refusal(&reply);
    free(reply.body);
    return false;
}

// The same, with the body as JSON; NULL when it was not done.
static struct peri_json *request_json(const struct arguments *arguments, const char *method, const char *target)
{
    char *body;
    if (!request(arguments, method, target, &body))
        return NULL;
    struct peri_json *json = peri_json_parse(peri_slice_from(body), false, NULL, 0);
    if (!json)
        peri_cli_error("the admin interface answers something else than JSON");
    free(body);
    return json;
}

// Sends a request and calls print(json) with the answer. Returns the exit status.
static int ask(const struct arguments *arguments, const char *method, const char *target,
               void (*print)(const struct peri_json *json))
{
    char *body = NULL;
    if (arguments->is_json) {
        bool is_good = request(arguments, method, target, &body);
        if (is_good)
            printf("%s\n", body);
        free(body);
        return is_good ? PERI_EXIT_OK : PERI_EXIT_FAILED;
    }
    struct peri_json *json = request_json(arguments, method, target);
    if (json)
        print(json);
    peri_json_free(json);
    return json ? PERI_EXIT_OK : PERI_EXIT_FAILED;
}

// Names, reasons and diffs come from the configuration; their control bytes are not for the terminal.
static void put(struct peri_slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        if ((c < 0x20 && c != '\n' && c != '\t') || c == 0x7f)
            printf("\\x%02x", c);
        else
            putchar(c);
    }
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

// The canary that is on; NULL when none is.
static void print_canary(const struct peri_json *canary)
{
    if (!canary)
        return;
    printf("canary: generation %lld gets %g %% of the exchanges, for %g of %g s: %lld ended, %lld errors\n",
           (long long)peri_json_get_integer(canary, "generation", 0),
           100 * peri_json_number(peri_json_get(canary, "share"), 0),
           peri_json_number(peri_json_get(canary, "elapsed_s"), 0),
           peri_json_number(peri_json_get(canary, "window_s"), 0), (long long)peri_json_get_integer(canary, "ended", 0),
           (long long)peri_json_get_integer(canary, "errors", 0));
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
    print_canary(peri_json_get(json, "canary"));
    for (size_t i = 0; i < peri_json_count(listeners); i++)
        printf("listening on %s\n", peri_json_string(peri_json_at(listeners, i)).ptr);
    printf("\n%6s %8s  %-9s %10s %11s %8s\n", "worker", "pid", "state", "generation", "connections", "restarts");
    for (size_t i = 0; i < peri_json_count(workers); i++)
        print_worker(peri_json_at(workers, i));
}

// ---- reload ----

// What became of generation `number`; NULL when the list does not know it.
static const struct peri_json *find_generation(const struct peri_json *list, int64_t number)
{
    for (size_t i = 0; i < peri_json_count(list); i++)
        if (peri_json_get_integer(peri_json_at(list, i), "generation", 0) == number)
            return peri_json_at(list, i);
    return NULL;
}

static bool is_under_way(const struct peri_json *generation)
{
    struct peri_slice state = peri_json_get_string(generation, "state");
    return peri_slice_eq(state, PERI_SLICE("canary")) || peri_slice_eq(state, PERI_SLICE("tried"));
}

static int print_outcome(const struct peri_json *generation, int64_t number)
{
    struct peri_slice state = peri_json_get_string(generation, "state");
    struct peri_slice reason = peri_json_get_string(generation, "reason");
    if (peri_slice_eq(state, PERI_SLICE("serving")) || peri_slice_eq(state, PERI_SLICE("superseded"))) {
        printf("generation %lld serves\n", (long long)number);
        return PERI_EXIT_OK;
    }
    peri_cli_error("generation %lld is %.*s: %.*s", (long long)number, (int)state.len, state.len ? state.ptr : "",
                   (int)reason.len, reason.len ? reason.ptr : "");
    return PERI_EXIT_FAILED;
}

static int wait_for_canary(const struct arguments *arguments, int64_t number)
{
    const struct timespec pause = {.tv_nsec = POLL_MS * 1000000L};
    for (;;) {
        struct peri_json *list = request_json(arguments, "GET", "/generations");
        if (!list)
            return PERI_EXIT_FAILED;
        const struct peri_json *generation = find_generation(list, number);
        bool is_over = !generation || !is_under_way(generation);
        int status = is_over ? print_outcome(generation, number) : PERI_EXIT_OK;
        peri_json_free(list);
        if (is_over)
            return status;
        nanosleep(&pause, NULL);
    }
}

int peri_cli_reload(int argc, char **argv)
{
    struct arguments arguments;
    int status = parse(&arguments, argc, argv, false);
    if (status)
        return status;
    struct peri_json *json = request_json(&arguments, "POST", "/reload");
    if (!json)
        return PERI_EXIT_FAILED;
    int64_t canary = peri_json_get_integer(json, "canary", 0);
    if (canary == 0) {
        print_generation(json);
    } else {
        printf("generation %lld is tried on a share of the exchanges\n", (long long)canary);
        fflush(stdout);
        if (arguments.is_patient)
            status = wait_for_canary(&arguments, canary);
    }
    peri_json_free(json);
    return status;
}

// ---- generations ----

static void print_change(const struct peri_json *change)
{
    struct peri_slice kind = peri_json_get_string(change, "change");
    fputs("              ", stdout);
    put(peri_json_get_string(change, "file"));
    printf(" %.*s", (int)kind.len, kind.len ? kind.ptr : "");
    if (peri_json_get(change, "added"))
        printf(" +%lld -%lld", (long long)peri_json_get_integer(change, "added", 0),
               (long long)peri_json_get_integer(change, "removed", 0));
    putchar('\n');
}

static void print_entry(const struct peri_json *entry)
{
    struct peri_slice state = peri_json_get_string(entry, "state");
    struct peri_slice digest = peri_json_get_string(entry, "digest");
    struct peri_slice reason = peri_json_get_string(entry, "reason");
    const struct peri_json *changes = peri_json_get(entry, "changes");
    int64_t number = peri_json_get_integer(entry, "generation", 0);
    time_t made = (time_t)(peri_json_get_integer(entry, "made_ms", 0) / 1000);
    struct tm parts;
    char when[32] = "", name[24] = "-";
    if (gmtime_r(&made, &parts))
        strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S", &parts);
    if (number > 0)
        snprintf(name, sizeof(name), "%lld", (long long)number);
    printf("%10s%s  %-11.*s %s  %.12s", name, peri_json_get_bool(entry, "is_kept", false) ? " " : "x", (int)state.len,
           state.len ? state.ptr : "", when, digest.len ? digest.ptr : "");
    if (peri_json_get(entry, "rollback_to"))
        printf("  as %lld", (long long)peri_json_get_integer(entry, "rollback_to", 0));
    putchar('\n');
    if (reason.len > 0) {
        fputs("              ", stdout);
        put(reason);
        putchar('\n');
    }
    for (size_t i = 0; i < peri_json_count(changes); i++)
        print_change(peri_json_at(changes, i));
}

static void print_generations(const struct peri_json *list)
{
    printf("generation   state       made (UTC)           digest\n");
    for (size_t i = 0; i < peri_json_count(list); i++)
        print_entry(peri_json_at(list, i));
    printf("\nx: cannot be rolled back to. 'perigee generations N' shows what N changed.\n");
}

// The target of a request about the generation in `text`; false when that is no number.
static bool format_target(char *target, size_t size, const char *path, const char *text)
{
    size_t len = strspn(text, "0123456789");
    if (len == 0 || len > 18 || text[len])
        return false;
    snprintf(target, size, "%s?generation=%s", path, text);
    return true;
}

int peri_cli_generations(int argc, char **argv)
{
    struct arguments arguments;
    char target[64];
    char *diff;
    int status = parse(&arguments, argc, argv, true);
    if (status)
        return status;
    if (!arguments.operand)
        return ask(&arguments, "GET", "/generations", print_generations);
    if (!format_target(target, sizeof(target), "/generations/diff", arguments.operand))
        return peri_cli_usage(argv[0], "'%s' is not the number of a generation", arguments.operand);
    if (!request(&arguments, "GET", target, &diff))
        return PERI_EXIT_FAILED;
    put(peri_slice_from(diff));
    free(diff);
    return PERI_EXIT_OK;
}

int peri_cli_rollback(int argc, char **argv)
{
    struct arguments arguments;
    char target[64] = "/rollback";
    int status = parse(&arguments, argc, argv, true);
    if (status)
        return status;
    if (arguments.operand && !format_target(target, sizeof(target), "/rollback", arguments.operand))
        return peri_cli_usage(argv[0], "'%s' is not the number of a generation", arguments.operand);
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
