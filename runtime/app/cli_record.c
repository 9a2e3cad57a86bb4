// SPDX-License-Identifier: MIT
// The command record: copies the lines that POST /record answers into a file, each whole or not at all, and ends it with a line
// that says how many there are.
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "app/admin_client.h"
#include "app/cli.h"
#include "codec/json.h"
#include "proxy/tap.h"

#define DEFAULT_ADMIN "127.0.0.1:9901"
#define LINE_MAX (PERI_TAP_LINE_MAX + 1)
#define BUSY_TRIES 20    ///< 50 ms apart
#define SILENCE_MS 60000 ///< the proxy says something every second

struct options {
    const char *admin;
    const char *out;
    const char *mask;
    double sample;
    uint64_t count; ///< 0: no end
    uint64_t ms;    ///< 0: no end
    uint64_t body;
    bool keeps_credentials;
};

struct recorder {
    const struct options *options;
    FILE *file;
    uint64_t lines; ///< with the first, which describes the recording
    uint64_t dropped;
    char *buffer;
    size_t len;
    bool is_over;
};

static volatile sig_atomic_t is_interrupted;

static void on_signal(int number)
{
    PERI_UNUSED(number);
    is_interrupted = 1;
}

// ---- arguments ----

// A number and one of the units, each worth so many; false for anything else.
static bool parse_amount(const char *text, const char *const *units, const double *worth, double *amount)
{
    char *end;
    *amount = strtod(text, &end);
    if (end == text || strspn(text, "0123456789.") != (size_t)(end - text))
        return false;
    for (size_t i = 0; units[i]; i++)
        if (strcmp(end, units[i]) == 0) {
            *amount *= worth[i];
            return true;
        }
    return false;
}

static bool parse_sample(const char *text, double *sample)
{
    static const char *const units[] = {"", "%", NULL};
    static const double worth[] = {1, 0.01};
    return parse_amount(text, units, worth, sample) && *sample > 0 && *sample <= 1;
}

static bool parse_count(const char *text, uint64_t *count)
{
    static const char *const units[] = {"", NULL};
    static const double worth[] = {1};
    double amount;
    bool is_good = parse_amount(text, units, worth, &amount) && amount >= 1 && amount <= 1e15;
    *count = is_good ? (uint64_t)amount : 0;
    return is_good && (double)*count == amount;
}

static bool parse_time(const char *text, uint64_t *ms)
{
    static const char *const units[] = {"ms", "s", "m", "h", NULL};
    static const double worth[] = {1, 1000, 60000, 3600000};
    double amount;
    bool is_good = parse_amount(text, units, worth, &amount) && amount >= 1 && amount <= 1e12;
    *ms = is_good ? (uint64_t)amount : 0;
    return is_good;
}

static bool parse_size(const char *text, uint64_t *size)
{
    static const char *const units[] = {"", "k", "m", NULL};
    static const double worth[] = {1, 1024, 1024 * 1024};
    double amount;
    bool is_good = parse_amount(text, units, worth, &amount) && amount <= PERI_TAP_BODY_MAX;
    *size = is_good ? (uint64_t)amount : 0;
    return is_good;
}

// Names travel in a query: what would have to be escaped there is in no name.
static bool is_mask(const char *text)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:._-,";
    struct peri_slice rest = peri_slice_from(text), name;
    struct peri_secret secret;
    while (peri_slice_next(&rest, &name))
        if (!peri_secret_parse(name, &secret))
            return false;
    return text[0] && strlen(text) < 1000 && strspn(text, letters) == strlen(text);
}

static bool take_value(struct options *options, const char *name, const char *value)
{
    if (strcmp(name, "--admin") == 0)
        options->admin = value;
    else if (strcmp(name, "--out") == 0)
        options->out = value;
    else if (strcmp(name, "--mask") == 0)
        options->mask = value;
    else if (strcmp(name, "--sample") == 0)
        return parse_sample(value, &options->sample);
    else if (strcmp(name, "--count") == 0)
        return parse_count(value, &options->count);
    else if (strcmp(name, "--for") == 0)
        return parse_time(value, &options->ms);
    else
        return parse_size(value, &options->body);
    return strcmp(name, "--mask") != 0 || is_mask(value);
}

static bool has_value(const char *name)
{
    static const char *const names[] = {"--admin", "--out", "--mask", "--sample", "--count", "--for", "--body"};
    for (size_t i = 0; i < PERI_COUNT(names); i++)
        if (strcmp(names[i], name) == 0)
            return true;
    return false;
}

// One option, "--name value" or "--name=value". Returns the exit status when it is not understood.
static int take_option(struct options *options, int argc, char **argv, int *at)
{
    char name[32] = {0};
    const char *sign = strchr(argv[*at], '=');
    size_t len = sign ? (size_t)(sign - argv[*at]) : strlen(argv[*at]);
    memcpy(name, argv[*at], len < sizeof(name) ? len : sizeof(name) - 1);
    if (strcmp(argv[*at], "--keep-credentials") == 0) {
        options->keeps_credentials = true;
        return PERI_EXIT_OK;
    }
    if (!has_value(name))
        return peri_cli_usage(argv[0], "there is no option '%s'", argv[*at]);
    if (!sign && *at + 1 == argc)
        return peri_cli_usage(argv[0], "%s needs a value", name);
    const char *value = sign ? sign + 1 : argv[++*at];
    if (!take_value(options, name, value))
        return peri_cli_usage(argv[0], "%s does not take '%s'", name, value);
    return PERI_EXIT_OK;
}

static int parse(struct options *options, int argc, char **argv)
{
    *options = (struct options){.admin = getenv("PERIGEE_ADMIN"), .sample = 1, .body = 64 * 1024};
    for (int i = 1; i < argc; i++) {
        int status = argv[i][0] == '-' ? take_option(options, argc, argv, &i)
                                       : peri_cli_usage(argv[0], "'%s' is one argument too many", argv[i]);
        if (status != PERI_EXIT_OK)
            return status;
    }
    if (!options->out)
        return peri_cli_usage(argv[0], "which file? Name it with --out");
    if (!options->admin || !*options->admin)
        options->admin = DEFAULT_ADMIN;
    return PERI_EXIT_OK;
}

// ---- lines ----

static void put_line(struct recorder *recorder, const char *line, size_t len)
{
    static const char dropped[] = "{\"dropped\":";
    if (len > sizeof(dropped) && strncmp(line, dropped, sizeof(dropped) - 1) == 0) {
        recorder->dropped = strtoull(line + sizeof(dropped) - 1, NULL, 10);
        return;
    }
    fwrite(line, 1, len, recorder->file);
    fputc('\n', recorder->file);
    recorder->lines++;
    if (recorder->options->count > 0 && recorder->lines > recorder->options->count)
        recorder->is_over = true;
}

// Writes the lines that are complete; the rest moves to the beginning.
static void put_lines(struct recorder *recorder)
{
    char *at = recorder->buffer;
    char *end = recorder->buffer + recorder->len;
    char *newline;
    while (!recorder->is_over && at < end && (newline = memchr(at, '\n', (size_t)(end - at)))) {
        put_line(recorder, at, (size_t)(newline - at));
        at = newline + 1;
    }
    recorder->len = (size_t)(end - at);
    memmove(recorder->buffer, at, recorder->len);
}

static uint64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

// Waits for bytes. False when the recording is over.
static bool wait_for_bytes(int fd, uint64_t end_ms)
{
    struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
    uint64_t now = now_ms();
    if (is_interrupted || now >= end_ms)
        return false;
    uint64_t left = end_ms - now < SILENCE_MS ? end_ms - now : SILENCE_MS;
    return poll(&poll_fd, 1, (int)left) == 1;
}

static void copy(struct recorder *recorder, int fd)
{
    uint64_t end_ms = recorder->options->ms > 0 ? now_ms() + recorder->options->ms : UINT64_MAX;
    while (!recorder->is_over && recorder->len < LINE_MAX && !ferror(recorder->file) && wait_for_bytes(fd, end_ms)) {
        ssize_t n = recv(fd, recorder->buffer + recorder->len, LINE_MAX - recorder->len, 0);
        if (n <= 0)
            break;
        recorder->len += (size_t)n;
        put_lines(recorder);
        fflush(recorder->file);
    }
}

// ---- the whole ----

// A signal ends the recording in the ordinary way, from the wait.
static void catch_signals(void)
{
    struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    signal(SIGPIPE, SIG_IGN);
}

static void tell_refusal(int fd, int status)
{
    char text[1536];
    ssize_t n = recv(fd, text, sizeof(text), MSG_WAITALL);
    struct peri_json *problem = peri_json_parse(peri_slice(text, n > 0 ? (size_t)n : 0), false, NULL, 0);
    struct peri_slice detail = peri_json_get_string(problem, "detail");
    peri_cli_error("the proxy refuses to record (status %d): %.*s", status, (int)detail.len, detail.ptr);
    peri_json_free(problem);
}

// A recording that has just ended may not have ended in the proxy: one that is refused for another is asked for again, for a while.
static int open_stream(const struct options *options)
{
    static const struct timespec pause = {.tv_nsec = 50 * 1000000};
    char target[1536], message[512];
    snprintf(target, sizeof(target), "/record?sample=%.9f&body=%llu&credentials=%s%s%s", options->sample,
             (unsigned long long)options->body, options->keeps_credentials ? "keep" : "mask",
             options->mask ? "&mask=" : "", options->mask ? options->mask : "");
    for (int tries = 0;; tries++) {
        int status, fd = peri_admin_stream(options->admin, "POST", target, &status, message, sizeof(message));
        if (fd < 0)
            peri_cli_error("%s", message);
        if (fd < 0 || status == 200)
            return fd;
        bool is_final = status != 409 || tries == BUSY_TRIES;
        if (is_final)
            tell_refusal(fd, status);
        close(fd);
        if (is_final)
            return -1;
        nanosleep(&pause, NULL);
    }
}

static FILE *open_file(const char *path)
{
    if (strcmp(path, "-") == 0)
        return stdout;
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    FILE *file = fd >= 0 ? fdopen(fd, "w") : NULL;
    if (!file)
        peri_cli_error("cannot write %s: %s", path, strerror(errno));
    return file;
}

static int finish(struct recorder *recorder)
{
    unsigned long long count = recorder->lines > 0 ? recorder->lines - 1 : 0;
    fprintf(recorder->file, "{\"end\":{\"exchanges\":%llu,\"dropped\":%llu}}\n", count,
            (unsigned long long)recorder->dropped);
    bool is_written = !ferror(recorder->file);
    is_written = (recorder->file == stdout ? fflush(stdout) : fclose(recorder->file)) == 0 && is_written;
    if (!is_written) {
        peri_cli_error("cannot write %s: %s", recorder->options->out, strerror(errno));
        return PERI_EXIT_FAILED;
    }
    fprintf(stderr, "perigee: %llu exchange%s recorded, %llu dropped\n", count, count == 1 ? "" : "s",
            (unsigned long long)recorder->dropped);
    return PERI_EXIT_OK;
}

int peri_cli_record(int argc, char **argv)
{
    struct options options;
    int status = parse(&options, argc, argv);
    if (status != PERI_EXIT_OK)
        return status;
    struct recorder recorder = {.options = &options, .buffer = malloc(LINE_MAX)};
    int fd = recorder.buffer ? open_stream(&options) : -1;
    if (fd >= 0)
        recorder.file = open_file(options.out);
    status = PERI_EXIT_FAILED;
    if (recorder.file) {
        catch_signals();
        copy(&recorder, fd);
        status = finish(&recorder);
    }
    if (fd >= 0)
        close(fd);
    free(recorder.buffer);
    return status;
}
