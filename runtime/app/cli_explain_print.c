// SPDX-License-Identifier: MIT
// What people read of an explanation; all of it is in the JSON (docs/operations/explain.md).
#include <stdio.h>
#include <string.h>

#include "app/cli.h"
#include "codec/json.h"

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

static void print_endpoint(const struct peri_json *endpoint)
{
    void *cursor = NULL;
    struct peri_slice name;
    const struct peri_json *value;
    put_member("    endpoint  ", endpoint, "address", "");
    printf(", weight %lld", (long long)peri_json_get_integer(endpoint, "weight", 1));
    if (peri_json_get(endpoint, "priority"))
        printf(", priority %lld", (long long)peri_json_get_integer(endpoint, "priority", 0));
    if (peri_json_get(endpoint, "zone"))
        put_member(", zone ", endpoint, "zone", "");
    while (peri_json_next(peri_json_get(endpoint, "labels"), &cursor, &name, &value)) {
        fputs(", ", stdout);
        put(name);
        putchar('=');
        put(peri_json_string(value));
    }
    putchar('\n');
}

static void print_upstream(const struct peri_json *upstream)
{
    const struct peri_json *endpoints = peri_json_get(upstream, "endpoints");
    put_member("  upstream  ", upstream, "name", "");
    printf(", weight %lld", (long long)peri_json_get_integer(upstream, "weight", 1));
    put_member(", ", upstream, "balance", "\n");
    for (size_t i = 0; i < peri_json_count(endpoints); i++) {
        print_endpoint(peri_json_at(endpoints, i));
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

static void print_route(const struct peri_json *view)
{
    const struct peri_json *route = peri_json_get(view, "route");
    put_title("\nRoute");
    put_member(" ", route, "name", "\n");
    print_captures(peri_json_get(route, "captures"));
    print_list(peri_json_get(view, "policies"), print_policy);
    print_list(peri_json_get(view, "edits"), print_edit);
    print_target(peri_json_get(view, "target"));
}

// ---- decisions ----

static void print_change(const struct peri_json *change)
{
    bool is_new = !peri_json_get_string(change, "from").ptr, is_gone = !peri_json_get_string(change, "to").ptr;
    put_member("                ", change, "what", is_gone ? " removed, was " : is_new ? " = " : ": ");
    put_member("", change, "from", !is_gone && !is_new ? " -> " : "");
    put_member("", change, "to", "\n");
}

static void put_result(const struct peri_json *decision)
{
    static const char *const words[][2] = {
        {"continue", "goes on"},
        {"next", "calls next()"},
        {"return", "returns the response"},
        {"holds", "holds: it runs"},
        {"skip", "does not hold: it does not run"},
        {"abort", "was ended by a failure inside"},
        {"replace", "replaces the chunk"},
    };
    struct peri_slice result = peri_json_get_string(decision, "result");
    for (size_t i = 0; i < PERI_COUNT(words); i++)
        if (peri_slice_eq(result, peri_slice_from(words[i][0])))
            fputs(words[i][1], stdout);
    if (peri_slice_eq(result, PERI_SLICE("answer")))
        printf("answers %lld", (long long)peri_json_get_integer(decision, "status", 0));
    else if (peri_slice_eq(result, PERI_SLICE("fail")))
        put_member("fails: ", decision, "message", "");
    else if (peri_slice_eq(result, PERI_SLICE("choose")))
        put_member("chooses ", decision, "upstream", "");
}

static void print_would(const struct peri_json *would)
{
    int64_t status = peri_json_get_integer(would, "status", 0);
    if (peri_json_get(would, "changes"))
        printf("                would have changed\n");
    print_list(peri_json_get(would, "changes"), print_change);
    if (status)
        printf("                would have answered %lld\n", (long long)status);
}

static void print_decision(const struct peri_json *decision)
{
    struct peri_slice policy = peri_json_get_string(decision, "policy");
    fputs("  ", stdout);
    put(policy);
    put_member(policy.len ? " " : "", decision, "hook", ": ");
    put_result(decision);
    printf(", %lld us", (long long)peri_json_get_integer(decision, "us", 0));
    puts(peri_json_get_bool(decision, "dry_run", false) ? " (dry run)" : "");
    print_list(peri_json_get(decision, "changes"), print_change);
    print_would(peri_json_get(decision, "would"));
}

static void print_decisions(const struct peri_json *view)
{
    const struct peri_json *decisions = peri_json_get(view, "decisions");
    if (peri_json_count(decisions) == 0)
        return;
    put_title("\nDecisions");
    putchar('\n');
    print_list(decisions, print_decision);
    if (peri_json_get_bool(view, "cut", false))
        printf("  and more, for which there is no room\n");
}

// ---- the end of the way ----

static void print_header(const struct peri_json *header)
{
    put_member("  ", header, "name", ": ");
    put_member("", header, "value", "\n");
}

static void print_sent(const struct peri_json *view)
{
    const struct peri_json *sent = peri_json_get(view, "sent"), *rewrite = peri_json_get(view, "rewrite");
    if (peri_json_type(rewrite) == PERI_JSON_OBJECT) {
        put_title("\nRewrite");
        put_member(" ", rewrite, "from", " -> ");
        put_member("", rewrite, "to", peri_json_get_string(rewrite, "to").ptr ? "\n" : "(no path)\n");
    }
    if (peri_json_type(sent) != PERI_JSON_OBJECT)
        return;
    put_title("\nUpstream");
    put_member(" ", sent, "upstream", " at ");
    put_member("", sent, "endpoint", " (");
    put_member("", sent, "choice", ") would get\n");
    put_member("  ", sent, "method", " ");
    put_member("", sent, "path", peri_json_get_string(sent, "query").len ? "?" : "\n");
    if (peri_json_get_string(sent, "query").len)
        put_member("", sent, "query", "\n");
    print_list(peri_json_get(sent, "headers"), print_header);
}

static void print_answer(const struct peri_json *view)
{
    const struct peri_json *answer = peri_json_get(view, "answer");
    struct peri_slice body = peri_json_get_string(answer, "body");
    if (peri_json_type(answer) != PERI_JSON_OBJECT)
        return;
    int64_t status = peri_json_get_integer(answer, "status", 0);
    printf("\n%sThe answer is %lld", peri_cli_color(stdout, status < 400 ? "32" : "31"), (long long)status);
    put_member(peri_json_get_string(answer, "error").len ? " " : "", answer, "error", "");
    if (peri_json_get_string(answer, "flags").len)
        put_member(", flags ", answer, "flags", "");
    putchar('.');
    printf("%s\n", peri_cli_color(stdout, "0"));
    if (peri_json_get_string(answer, "choice").len)
        put_member("  choice: ", answer, "choice", "\n");
    print_list(peri_json_get(answer, "headers"), print_header);
    if (body.len == 0)
        return;
    fputs("\n  ", stdout);
    put(body.ptr[body.len - 1] == '\n' ? peri_slice(body.ptr, body.len - 1) : body);
    puts(peri_json_get_bool(answer, "cut", false) ? " …" : "");
}

void peri_cli_print_explanation(const struct peri_json *view)
{
    print_request(peri_json_get(view, "request"));
    print_candidates(peri_json_get(view, "candidates"));
    if (peri_json_type(peri_json_get(view, "route")) == PERI_JSON_OBJECT)
        print_route(view);
    print_decisions(view);
    print_sent(view);
    print_answer(view);
    if (peri_json_get_bool(view, "late", false))
        printf("\nA hook still waits for something: nothing was decided in time.\n");
}
