// SPDX-License-Identifier: MIT
// Rewrites as a list of pieces, literal or captured, that replaces a run of the path:
//
//   kind     what is replaced                            the pieces come from
//   PREFIX   the literal prefix of match.path            `text` alone
//   PATH     all of the path                             `text`, x->captures
//   REGEX    the first match of `text`                   `to`, the groups of the match
#include "route/rewrite.h"

#include <ctype.h>
#include <stdlib.h>

#include "base/arena.h"
#include "codec/regex.h"
#include "codec/url.h"
#include "exchange/exchange.h"
#include "route/match.h"
#include "route/pattern.h"
#include "route/refuse.h"

#define GROUPS_MAX 10

struct piece {
    struct peri_slice text; ///< literal; unused when a capture is meant
    int capture;            ///< index of the capture or group, -1 for a literal
};

struct peri_rewrite {
    struct peri_arena arena;
    enum peri_rewrite_kind kind;
    struct peri_slice prefix; ///< PREFIX: what is replaced
    struct peri_regex *regex; ///< owned; REGEX: finds what is replaced
    struct piece *pieces;
    uint32_t count;
};

/// What a compilation looks at beside the rewrite.
struct compiler {
    struct peri_rewrite *rewrite;
    const struct peri_rewrite_rule *rule;
    struct peri_pattern pattern; ///< of the route's match
    char *message;
    size_t size;
};

#define REFUSE(compiler, format, ...)                                                                                  \
    peri_route_refuse((compiler)->message, (compiler)->size, "rewrite '%.*s': " format,                                \
                      (int)(compiler)->rule->text.len, (compiler)->rule->text.ptr, __VA_ARGS__)

// ---------------------------------------------------------------- filling in

/// `path` with [start, end) replaced by the pieces, normalised into `arena`. `captures` holds every capture that the pieces
/// name.
static peri_err_t replace(const struct peri_rewrite *rewrite, struct peri_arena *arena, struct peri_slice *path,
                          struct peri_regex_span run, const struct peri_slice *captures)
{
    size_t len = path->len + 1;
    for (uint32_t i = 0; i < rewrite->count; i++)
        len += rewrite->pieces[i].capture < 0 ? rewrite->pieces[i].text.len : captures[rewrite->pieces[i].capture].len;
    char *base = peri_arena_alloc(arena, len), *out = base;
    if (!base)
        return PERI_ERR_NOMEM;
    *out++ = '/';
    out = mempcpy(out, path->ptr, (size_t)run.start);
    for (uint32_t i = 0; i < rewrite->count; i++) {
        const struct piece *piece = &rewrite->pieces[i];
        struct peri_slice text = piece->capture < 0 ? piece->text : captures[piece->capture];
        out = text.len ? mempcpy(out, text.ptr, text.len) : out;
    }
    out = mempcpy(out, path->ptr + run.end, path->len - (size_t)run.end);
    struct peri_slice result = peri_slice(base, (size_t)(out - base));
    if (result.len > 1 && base[1] == '/')
        result = peri_slice(base + 1, result.len - 1);
    return peri_url_normalize_path(arena, result, path);
}

static peri_err_t apply_prefix(const struct peri_rewrite *rewrite, struct peri_exchange *x, struct peri_slice *path)
{
    size_t len = rewrite->prefix.len;
    if (!peri_slice_starts(*path, rewrite->prefix) || (path->len > len && path->ptr[len] != '/'))
        return PERI_OK;
    return replace(rewrite, &x->arena, path, (struct peri_regex_span){0, (int32_t)len}, NULL);
}

static peri_err_t apply_regex(const struct peri_rewrite *rewrite, struct peri_exchange *x, struct peri_slice *path)
{
    struct peri_regex_span spans[GROUPS_MAX];
    struct peri_slice groups[GROUPS_MAX];
    uint32_t count = peri_regex_groups(rewrite->regex) + 1;
    count = count < GROUPS_MAX ? count : GROUPS_MAX;
    peri_err_t err = peri_regex_match(rewrite->regex, *path, 0, spans, count);
    if (err)
        return err == PERI_ERR_NOT_FOUND ? PERI_OK : err;
    for (uint32_t i = 0; i < count; i++)
        groups[i] = peri_regex_slice(*path, spans[i]);
    return replace(rewrite, &x->arena, path, spans[0], groups);
}

peri_err_t peri_rewrite_apply(const struct peri_rewrite *rewrite, struct peri_exchange *x, struct peri_slice *path)
{
    *path = x->req.path;
    if (path->len == 0 || path->ptr[0] != '/')
        return PERI_OK;
    switch (rewrite->kind) {
    case PERI_REWRITE_PREFIX: return apply_prefix(rewrite, x, path);
    case PERI_REWRITE_PATH:
        return replace(rewrite, &x->arena, path, (struct peri_regex_span){0, (int32_t)path->len}, x->captures);
    case PERI_REWRITE_REGEX: return apply_regex(rewrite, x, path);
    }
    return PERI_ERR_INVALID;
}

// ---------------------------------------------------------------- compiling

static peri_err_t add_piece(struct compiler *compiler, struct peri_slice text, int capture)
{
    struct peri_rewrite *rewrite = compiler->rewrite;
    struct piece piece = {peri_slice(NULL, 0), capture};
    if (capture < 0 && text.len == 0)
        return PERI_OK;
    if (capture < 0 && !(piece.text = peri_arena_copy(&rewrite->arena, text)).ptr)
        return PERI_ERR_NOMEM;
    rewrite->pieces[rewrite->count++] = piece;
    return PERI_OK;
}

/// Index of a capture of the match's path, or -1.
static int find_capture(const struct peri_pattern *pattern, struct peri_slice name)
{
    int index = 0;
    for (uint32_t i = 0; i < pattern->segment_count; i++) {
        if (!pattern->segments[i].is_capture)
            continue;
        if (peri_slice_eq(pattern->segments[i].text, name))
            return index;
        index++;
    }
    return -1;
}

static peri_err_t compile_path(struct compiler *compiler)
{
    struct peri_slice rest = compiler->rule->text;
    while (rest.len > 0) {
        size_t open = 0, close = 0;
        while (open < rest.len && rest.ptr[open] != '{')
            open++;
        peri_err_t err = add_piece(compiler, peri_slice(rest.ptr, open), -1);
        if (err || open == rest.len)
            return err;
        for (close = open; close < rest.len && rest.ptr[close] != '}';)
            close++;
        struct peri_slice name = peri_slice(rest.ptr + open + 1, close - open - 1);
        int capture = close < rest.len ? find_capture(&compiler->pattern, name) : -1;
        if (capture < 0)
            return REFUSE(compiler, "the match has no capture {%.*s}", (int)name.len, name.ptr);
        err = add_piece(compiler, name, capture);
        if (err)
            return err;
        rest = peri_slice(rest.ptr + close + 1, rest.len - close - 1);
    }
    return PERI_OK;
}

static peri_err_t compile_prefix(struct compiler *compiler)
{
    const struct peri_pattern *pattern = &compiler->pattern;
    struct peri_rewrite *rewrite = compiler->rewrite;
    struct peri_slice text = compiler->rule->text, prefix = peri_slice("", 0);
    if (pattern->kind == PERI_PATTERN_REGEX)
        return REFUSE(compiler, "%s", "path_regex has no prefix to replace; rewrite with a regex");
    for (uint32_t i = 0; i < pattern->segment_count && !pattern->segments[i].is_capture; i++) {
        struct peri_slice segment = pattern->segments[i].text;
        prefix =
            peri_arena_printf(&rewrite->arena, "%.*s/%.*s", (int)prefix.len, prefix.ptr, (int)segment.len, segment.ptr);
        if (!prefix.ptr)
            return PERI_ERR_NOMEM;
    }
    rewrite->prefix = prefix;
    while (text.len > 0 && text.ptr[text.len - 1] == '/')
        text.len--;
    return add_piece(compiler, text, -1);
}

static peri_err_t compile_replacement(struct compiler *compiler)
{
    struct peri_slice to = compiler->rule->to;
    size_t start = 0;
    peri_err_t err = PERI_OK;
    for (size_t at = 0; at < to.len && err == PERI_OK; at++) {
        if (to.ptr[at] != '$')
            continue;
        err = add_piece(compiler, peri_slice(to.ptr + start, at - start), -1);
        char next = at + 1 < to.len ? to.ptr[at + 1] : '\0';
        if (next != '$' &&
            !(isdigit((unsigned char)next) && (uint32_t)(next - '0') <= peri_regex_groups(compiler->rewrite->regex)))
            return REFUSE(compiler, "'$' in '%.*s' stands before no group of the expression; '$$' is a dollar sign",
                          (int)to.len, to.ptr);
        at++;
        start = next == '$' ? at : at + 1;
        if (err == PERI_OK && next != '$')
            err = add_piece(compiler, to, next - '0');
    }
    return err ? err : add_piece(compiler, peri_slice(to.ptr + start, to.len - start), -1);
}

static peri_err_t compile_regex(struct compiler *compiler)
{
    char why[160] = "out of memory";
    compiler->rewrite->regex = peri_regex_new(compiler->rule->text, 0, why, sizeof why);
    if (!compiler->rewrite->regex)
        return REFUSE(compiler, "%s", why);
    return compile_replacement(compiler);
}

/// Fills the pieces in once, with "x" for each capture, to see that the literals can stand in a path.
static peri_err_t check_literals(struct compiler *compiler)
{
    struct peri_slice captures[PERI_CAPTURES_MAX], path = peri_slice("", 0);
    for (unsigned i = 0; i < PERI_CAPTURES_MAX; i++)
        captures[i] = PERI_SLICE("x");
    peri_err_t err =
        replace(compiler->rewrite, &compiler->rewrite->arena, &path, (struct peri_regex_span){0, 0}, captures);
    if (err != PERI_ERR_BAD_PATH)
        return err;
    return REFUSE(compiler, "%s", "the result is no path (a query, '#', '\\', '%2F' or '..' above the root)");
}

static peri_err_t compile(struct compiler *compiler)
{
    struct peri_slice text = compiler->rule->text;
    struct peri_rewrite *rewrite = compiler->rewrite;
    size_t most = text.len + compiler->rule->to.len + 1;
    rewrite->pieces = peri_arena_zalloc(&rewrite->arena, most * sizeof *rewrite->pieces);
    if (!rewrite->pieces)
        return PERI_ERR_NOMEM;
    peri_err_t err = PERI_OK;
    if (rewrite->kind == PERI_REWRITE_REGEX)
        err = compile_regex(compiler);
    else if (text.len == 0 || text.ptr[0] != '/')
        err = REFUSE(compiler, "%s", "a path begins with '/'");
    else if (rewrite->kind == PERI_REWRITE_PATH)
        err = compile_path(compiler);
    else
        err = compile_prefix(compiler);
    return err ? err : check_literals(compiler);
}

peri_err_t peri_rewrite_new(const struct peri_rewrite_rule *rule, const struct peri_match *match,
                            struct peri_rewrite **out, char *message, size_t size)
{
    struct peri_rewrite *rewrite = calloc(1, sizeof *rewrite);
    *out = NULL;
    if (!rewrite)
        return PERI_ERR_NOMEM;
    peri_arena_init(&rewrite->arena, SIZE_MAX);
    rewrite->kind = rule->kind;
    struct compiler compiler = {.rewrite = rewrite, .rule = rule, .message = message, .size = size};
    peri_err_t err = peri_pattern_parse(&compiler.pattern, &rewrite->arena, match, message, size);
    if (err == PERI_OK)
        err = compile(&compiler);
    peri_pattern_close(&compiler.pattern);
    if (err)
        peri_rewrite_free(rewrite);
    else
        *out = rewrite;
    return err;
}

void peri_rewrite_free(struct peri_rewrite *rewrite)
{
    if (!rewrite)
        return;
    peri_regex_free(rewrite->regex);
    peri_arena_close(&rewrite->arena);
    free(rewrite);
}
