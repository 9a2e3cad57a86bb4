// SPDX-License-Identifier: MIT
// The table of commands.
#include "app/cli.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "app/test_command.h"

struct command {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *arguments; ///< NULL: not listed
    const char *summary;
    const char *help;
};

#define RUN_HELP                                                                                                       \
    "FILE is the configuration: a Lua file that returns a table, or the same as JSON.\n"                               \
    "Runs in the foreground; \"perigee: ready, ...\" on standard error says that it serves.\n\n"                       \
    "SIGTERM or SIGINT finishes what is open and ends; a second one ends at once. SIGHUP reloads.\n"

#define ADMIN_HELP                                                                                                     \
    "  --admin ADDRESS    the admin interface to ask: 127.0.0.1:9901 or unix:/path\n"                                  \
    "                     (default: $PERIGEE_ADMIN, or 127.0.0.1:9901)\n"

static const struct command commands[] = {
    {"run", peri_cli_run, "FILE", "serve a configuration", RUN_HELP},
    {"gateway", peri_cli_run, "FILE", "the same: serve at the edge", RUN_HELP},
    {"sidecar", peri_cli_run, "FILE", "serve beside a service: one process, relaxed limits",
     RUN_HELP "\nOnly the defaults of settings differ from 'perigee run'.\n"},
    {"dev", peri_cli_dev, "FILE", "serve a configuration while it is being written",
     "As 'perigee run', in one process that reloads whenever a file is saved, writes a line for each request, and\n"
     "runs the specs beside FILE again. A browser that asks gets a page with what is wrong, its place and\n"
     "the lines around it: a configuration that is refused, a policy or handler that failed; others get a problem\n"
     "document. Starts with a broken FILE, too. Ctrl-C ends it.\n\n"
     "For your own machine: the pages show source code to whoever reaches a listener.\n"},
    {"check", peri_cli_check, "[--jit] FILE", "validate a configuration without serving it",
     "Prints every error as file:line: path: message. Exit status 1 when there is one.\n\n"
     "  --jit              also run the specs beside FILE and print the lines of hooks and handlers that\n"
     "                     LuaJIT does not compile, and why; exit status 1 when there is one\n"},
    {"test", peri_test_main, "[PATH...] [OPTION...]", "run busted specs inside the runtime",
     "PATH is a spec file or a folder of them (default: spec). Exit status: 0 all passed, 1 something failed, 2 "
     "nothing\n"
     "was run.\n\n"
     "  --filter PATTERN   only tests whose names match the Lua pattern\n"
     "  --list             print the names of the tests and run none\n"
     "  --watch            run again whenever a Lua, JSON or key file below the current folder changes\n"
     "  --coverage         say which lines of policies and configurations did not run\n"
     "  --min N%           fail when fewer lines ran (with --coverage)\n"
     "  --lcov FILE        write the coverage as lcov reads it\n"
     "  --junit FILE       write JUnit XML\n"
     "  --tap, -o tap      print TAP\n\n"
     "Other options are those of busted: --tags, --shuffle, --repeat, -v ...\n"},
    {"explain", peri_cli_explain, "FILE METHOD URL [OPTION...], or --admin ADDRESS METHOD URL [OPTION...]",
     "say which way a request takes and what is decided about it, without sending it",
     "Prints the request as routes see it, every route with the reason why it does not match, and of the one that\n"
     "matches its policies and target, what each hook decided and changed, and what the upstream would get or the "
     "client\n"
     "is answered. Exit status 1 when no route matches, or the configuration is refused.\n\n"
     "URL is http://host/path or /path; the latter with the host of -H 'Host: ...', or none.\n\n"
     "  -H 'NAME: VALUE'   a header of the request; may be repeated\n"
     "  -d BODY            its body\n"
     "  --client IP        the client's address (default: 127.0.0.1)\n"
     "  --admin ADDRESS    ask the running proxy with this admin interface, instead of FILE\n"
     "  --json             print JSON\n\n"
     "Hooks up to the upstream run, with FILE in memory: no address is bound or resolved, and what a policy asks of "
     "other\n"
     "servers fails. In a running proxy they run as for any request: rate limits are used up, other servers are "
     "asked.\n"},
    {"new", peri_cli_new, "policy NAME", "write a new policy with its spec and README",
     "Makes policies/NAME/init.lua, policies/NAME/README.md and spec/NAME_spec.lua in the current folder, which is "
     "that\n"
     "of the configuration. The spec passes as it is. Nothing that is there already is changed.\n\n"
     "NAME begins with a lower-case letter; lower-case letters, digits and '_' follow.\n"},
    {"stubs", peri_cli_stubs, "[DIR]", "let editors know the SDK",
     "Writes declarations of the SDK, the configuration and the test kit to DIR/.perigee/stubs, and settings for\n"
     "lua-language-server to DIR/.luarc.json unless there are some (default: the current folder). Editors that use it\n"
     "then complete, explain and check policies, configurations and specs.\n"},
    {"reload", peri_cli_reload, "[--no-wait] [--admin ADDRESS]",
     "take over the changed files, in all workers or in none",
     "Prints the errors and keeps the old generation when the new one is refused (exit status 1). When the\n"
     "configuration wants a canary, waits for its end; exit status 1 when it is given up.\n\n"
     "  --no-wait          do not wait for the end of a canary\n" ADMIN_HELP},
    {"rollback", peri_cli_rollback, "[N] [--admin ADDRESS]", "go back to the generation before, or to generation N",
     "N is one of the generations that are kept (setting keep_generations). While a canary is on, a rollback without\n"
     "N gives that up.\n\n" ADMIN_HELP},
    {"generations", peri_cli_generations, "[N] [--json] [--admin ADDRESS]",
     "show what was tried and what became of it, or the diff of N",
     "With N: what generation N changed, as a unified diff. Of secrets (what `file` reads) only the names are "
     "shown.\n\n"
     "  --json             print the list as the admin interface gives it\n" ADMIN_HELP},
    {"status", peri_cli_status, "[--json] [--admin ADDRESS]", "show generation, listeners and workers",
     "  --json             print the answer of the admin interface as it is\n" ADMIN_HELP},
    {"drain", peri_cli_drain, "[--admin ADDRESS]", "finish what is open and end, as SIGTERM does", ADMIN_HELP},
    {"record", peri_cli_record, "--out FILE [OPTION...]", "write exchanges of a running proxy to a file",
     "Ends with --count or --for, with Ctrl-C, or with the proxy. FILE is readable for its owner only; \"-\" is "
     "standard\n"
     "output. 'perigee replay' runs what it holds through another configuration.\n\n"
     "  --sample SHARE     record this share of the exchanges: 1%, 0.01 (default: 100%)\n"
     "  --count N          end after N exchanges\n"
     "  --for TIME         end after this time: 30s, 5m\n"
     "  --body SIZE        keep this much of each body: 0, 64k, 1m (default: 64k)\n"
     "  --mask NAMES       mask these too: a header, query:NAME or cookie:NAME; commas between them\n"
     "  --keep-credentials mask nothing: only for systems whose secrets are worth nothing\n" ADMIN_HELP},
    {"replay", peri_replay_main, "FILE --config NEW [OPTION...]",
     "run recorded exchanges through a configuration and say what differs",
     "Every exchange of FILE (from 'perigee record') goes through NEW in memory, at its own time and with the "
     "upstream's\n"
     "recorded answers. Exit status 0 when nothing differs, 1 when something does, 2 when the input cannot be used.\n\n"
     "  --config NEW       the configuration to try\n"
     "  --against OLD      compare with this configuration, replayed too, instead of what was recorded: exact, also "
     "where\n"
     "                     the recording holds a part of the traffic or begins in the middle of a rate limit's window\n"
     "  --ignore NAME      a header in which a difference does not count; may be repeated\n"
     "  --examples N       show N examples of each route (default: 5)\n"
     "  --only-changed     print every exchange that differs, and nothing else\n"
     "  --json             print JSON\n"
     "  --skip-bad         leave out lines that cannot be read\n"},
    {"version", peri_cli_version, "", "print the versions of Perigee and its libraries", ""},
    {"_worker", peri_cli_worker, NULL, NULL, NULL},
    {"_check", peri_cli_check_child, NULL, NULL, NULL},
    {"_specs", peri_cli_specs, NULL, NULL, NULL},
};

// ---- output ----

const char *peri_cli_color(FILE *out, const char *code)
{
    static char sequences[4][16];
    static unsigned next;
    const char *term = getenv("TERM");
    const char *plain = getenv("NO_COLOR");
    if (!isatty(fileno(out)) || (plain && *plain) || !term || strcmp(term, "dumb") == 0)
        return "";
    char *sequence = sequences[next++ % PERI_COUNT(sequences)];
    snprintf(sequence, sizeof(sequences[0]), "\033[%sm", code);
    return sequence;
}

static void print_error(const char *format, va_list args)
{
    fprintf(stderr, "%sperigee:%s ", peri_cli_color(stderr, "1;31"), peri_cli_color(stderr, "0"));
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
}

void peri_cli_error(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    print_error(format, args);
    va_end(args);
}

int peri_cli_usage(const char *command, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    print_error(format, args);
    va_end(args);
    fprintf(stderr, "Run 'perigee %s --help' for what it takes.\n", command);
    return PERI_EXIT_USAGE;
}

static void print_help(FILE *out)
{
    fprintf(out, "%sPerigee%s, a Lua-scriptable programmable proxy.\n\nusage: perigee COMMAND [ARGUMENT...]\n\n",
            peri_cli_color(out, "1"), peri_cli_color(out, "0"));
    for (size_t i = 0; i < PERI_COUNT(commands); i++)
        if (commands[i].arguments)
            fprintf(out, "  %-11s %s\n", commands[i].name, commands[i].summary);
    fprintf(out, "\n'perigee COMMAND --help' says more about one of them.\n");
}

static void print_command_help(const struct command *command)
{
    printf("usage: perigee %s %s\n\n%s%c%s.\n", command->name, command->arguments, peri_cli_color(stdout, "0"),
           command->summary[0] - 'a' + 'A', command->summary + 1);
    if (command->help[0])
        printf("\n%s", command->help);
}

// ---- finding the command ----

static const struct command *find(const char *name)
{
    for (size_t i = 0; i < PERI_COUNT(commands); i++)
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    return NULL;
}

// Optimal string alignment distance: insertions, deletions, replacements and swaps of neighbours.
static unsigned distance(const char *a, const char *b)
{
    unsigned rows[3][32];
    size_t a_len = strlen(a), b_len = strlen(b);
    if (a_len >= 31 || b_len >= 31)
        return 31;
    for (size_t j = 0; j <= b_len; j++)
        rows[0][j] = (unsigned)j;
    for (size_t i = 1; i <= a_len; i++) {
        unsigned *row = rows[i % 3], *above = rows[(i - 1) % 3];
        row[0] = (unsigned)i;
        for (size_t j = 1; j <= b_len; j++) {
            unsigned best = above[j - 1] + (a[i - 1] != b[j - 1]);
            best = above[j] + 1 < best ? above[j] + 1 : best;
            best = row[j - 1] + 1 < best ? row[j - 1] + 1 : best;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && rows[(i - 2) % 3][j - 2] + 1 < best)
                best = rows[(i - 2) % 3][j - 2] + 1;
            row[j] = best;
        }
    }
    return rows[a_len % 3][b_len];
}

static const char *nearest(const char *name)
{
    const char *best = NULL;
    unsigned best_distance = 3;
    for (size_t i = 0; i < PERI_COUNT(commands); i++) {
        unsigned d = commands[i].arguments ? distance(name, commands[i].name) : best_distance;
        if (d < best_distance) {
            best_distance = d;
            best = commands[i].name;
        }
    }
    return best;
}

static int refuse(const char *name)
{
    const char *meant = nearest(name);
    if (meant)
        peri_cli_error("there is no command '%s'; did you mean '%s'?", name, meant);
    else
        peri_cli_error("there is no command '%s'", name);
    fputs("Run 'perigee --help' for the list.\n", stderr);
    return PERI_EXIT_USAGE;
}

static bool is_help(const char *word)
{
    return strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0;
}

static bool wants_help(int argc, char **argv)
{
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (is_help(argv[i]))
            return true;
    return false;
}

// `help COMMAND` and the options without a command; NULL when `word` is none of them.
static const char *alias(const char *word)
{
    if (strcmp(word, "--version") == 0 || strcmp(word, "-V") == 0)
        return "version";
    return word;
}

int peri_cli_main(int argc, char **argv)
{
    if (argc < 2) {
        print_help(stderr);
        return PERI_EXIT_USAGE;
    }
    if (is_help(argv[1]) || strcmp(argv[1], "help") == 0) {
        print_help(stdout);
        return PERI_EXIT_OK;
    }
    const struct command *command = find(alias(argv[1]));
    if (!command)
        return refuse(argv[1]);
    if (command->arguments && wants_help(argc - 1, argv + 1)) {
        print_command_help(command);
        return PERI_EXIT_OK;
    }
    argv[1] = (char *)command->name;
    return command->run(argc - 1, argv + 1);
}
