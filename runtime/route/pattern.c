// SPDX-License-Identifier: MIT
// The grammar of match.path and the plain, one-pattern way to match it. Literals are brought to the same normal form as
// request paths (codec/url.h), so a pattern may be written raw or percent-encoded.
#include "route/pattern.h"

#include <ctype.h>

#include "base/arena.h"
#include "codec/regex.h"
#include "codec/url.h"
#include "exchange/exchange.h"
#include "route/match.h"
#include "route/refuse.h"

struct parser {
    struct peri_pattern *pattern;
    struct peri_arena *arena;
    struct peri_slice path; ///< whole path, for messages
    char *message;
    size_t size;
};

/// Refuses the path: "path '/a*': ...". The format takes the path, then one more slice or nothing.
#define REFUSE(parser, format, ...)                                                                                    \
    peri_route_refuse((parser)->message, (parser)->size, "path '%.*s': " format, (int)(parser)->path.len,              \
                      (parser)->path.ptr, __VA_ARGS__)

static bool has_byte(struct peri_slice text, char byte)
{
    return text.len > 0 && memchr(text.ptr, byte, text.len) != NULL;
}

static bool is_capture_name(struct peri_slice name)
{
    for (size_t i = 0; i < name.len; i++)
        if (name.ptr[i] != '_' && !isalpha((unsigned char)name.ptr[i]) &&
            (i == 0 || !isdigit((unsigned char)name.ptr[i])))
            return false;
    return name.len > 0;
}

static peri_err_t parse_capture(struct parser *parser, struct peri_slice text, struct peri_pattern_segment *segment)
{
    struct peri_pattern *pattern = parser->pattern;
    struct peri_slice name = peri_slice(text.ptr + 1, text.len > 2 ? text.len - 2 : 0);
    if (text.ptr[0] != '{' || text.ptr[text.len - 1] != '}' || !is_capture_name(name))
        return REFUSE(parser, "'%.*s' is not a capture; a capture is a whole segment like {name}", (int)text.len,
                      text.ptr);
    for (uint32_t i = 0; i < pattern->segment_count; i++)
        if (pattern->segments[i].is_capture && peri_slice_eq(pattern->segments[i].text, name))
            return REFUSE(parser, "the capture {%.*s} occurs twice", (int)name.len, name.ptr);
    if (pattern->capture_count == PERI_CAPTURES_MAX)
        return REFUSE(parser, "there are more than %d captures", PERI_CAPTURES_MAX);
    pattern->capture_count++;
    *segment = (struct peri_pattern_segment){peri_arena_copy(parser->arena, name), true};
    return segment->text.ptr ? PERI_OK : PERI_ERR_NOMEM;
}

/// The literal as it looks in a normalised request path; `slashed` is the literal with the '/' before it.
static peri_err_t parse_literal(struct parser *parser, struct peri_slice slashed, struct peri_pattern_segment *segment)
{
    struct peri_slice normal;
    peri_err_t err = peri_url_normalize_path(parser->arena, slashed, &normal);
    if (err == PERI_ERR_NOMEM)
        return err;
    if (err || (slashed.len > 1 && normal.len == 1))
        return REFUSE(parser, "no request path has the segment '%.*s' once it is normalised", (int)slashed.len - 1,
                      slashed.ptr + 1);
    *segment = (struct peri_pattern_segment){peri_slice(normal.ptr + 1, normal.len - 1), false};
    return PERI_OK;
}

static peri_err_t parse_segment(struct parser *parser, struct peri_slice text, bool is_last)
{
    struct peri_pattern *pattern = parser->pattern;
    struct peri_pattern_segment *segment = &pattern->segments[pattern->segment_count];
    if (is_last && peri_slice_eq(text, PERI_SLICE("*"))) {
        pattern->kind = PERI_PATTERN_PREFIX;
        return PERI_OK;
    }
    if (pattern->segment_count == PERI_PATTERN_SEGMENTS_MAX)
        return REFUSE(parser, "there are more than %d segments", PERI_PATTERN_SEGMENTS_MAX);
    if (has_byte(text, '*'))
        return REFUSE(parser, "'*' stands only for the whole last segment, in '%.*s' it does not", (int)text.len,
                      text.ptr);
    if (text.len == 0 && !is_last)
        return REFUSE(parser, "%s", "there is an empty segment ('//')");
    bool is_capture = has_byte(text, '{') || has_byte(text, '}');
    peri_err_t err = is_capture ? parse_capture(parser, text, segment)
                                : parse_literal(parser, peri_slice(text.ptr - 1, text.len + 1), segment);
    if (err == PERI_OK)
        pattern->segment_count++;
    return err;
}

static size_t count_segments(struct peri_slice path)
{
    size_t count = 0;
    for (struct peri_slice segment; count <= PERI_PATTERN_SEGMENTS_MAX && peri_pattern_next_segment(&path, &segment);)
        count++;
    return count;
}

static peri_err_t parse_path(struct parser *parser)
{
    struct peri_pattern *pattern = parser->pattern;
    struct peri_slice rest = parser->path, text;
    if (rest.ptr[0] != '/')
        return REFUSE(parser, "%s", "a path begins with '/'");
    pattern->segments = peri_arena_zalloc(parser->arena, count_segments(rest) * sizeof *pattern->segments);
    if (!pattern->segments)
        return PERI_ERR_NOMEM;
    pattern->kind = PERI_PATTERN_EXACT;
    while (peri_pattern_next_segment(&rest, &text)) {
        peri_err_t err = parse_segment(parser, text, rest.len == 0);
        if (err)
            return err;
    }
    if (pattern->kind == PERI_PATTERN_PREFIX)
        return PERI_OK;
    if (pattern->capture_count > 0) {
        pattern->kind = PERI_PATTERN_CAPTURES;
        return PERI_OK;
    }
    return peri_url_normalize_path(parser->arena, parser->path, &pattern->text);
}

/// The literal that every match of an anchored expression begins with: what follows '^' up to the first byte with a
/// meaning; nothing when alternatives may go round it. A quantifier takes its letter with it.
static struct peri_slice regex_literal(struct peri_slice source)
{
    size_t len = 1;
    if (source.len == 0 || source.ptr[0] != '^' || has_byte(source, '|'))
        return peri_slice(NULL, 0);
    while (len < source.len && (isalnum((unsigned char)source.ptr[len]) || memchr("/-_", source.ptr[len], 3)))
        len++;
    if (len < source.len && len > 1 && memchr("*?{", source.ptr[len], 3))
        len--;
    return peri_slice(source.ptr + 1, len - 1);
}

static peri_err_t parse_regex(struct parser *parser, struct peri_slice source)
{
    struct peri_pattern *pattern = parser->pattern;
    char why[160] = "out of memory";
    struct peri_slice literal = regex_literal(source);
    if (literal.len > 0 && !(pattern->text = peri_arena_copy(parser->arena, literal)).ptr)
        return PERI_ERR_NOMEM;
    pattern->kind = PERI_PATTERN_REGEX;
    pattern->regex = peri_regex_new(source, 0, why, sizeof why);
    if (!pattern->regex)
        return peri_route_refuse(parser->message, parser->size, "path_regex '%.*s': %s", (int)source.len, source.ptr,
                                 why);
    pattern->capture_count = peri_regex_groups(pattern->regex);
    if (pattern->capture_count <= PERI_CAPTURES_MAX)
        return PERI_OK;
    peri_pattern_close(pattern);
    return peri_route_refuse(parser->message, parser->size, "path_regex '%.*s': there are more than %d groups",
                             (int)source.len, source.ptr, PERI_CAPTURES_MAX);
}

peri_err_t peri_pattern_parse(struct peri_pattern *pattern, struct peri_arena *arena, const struct peri_match *match,
                              char *message, size_t size)
{
    *pattern = (struct peri_pattern){.kind = PERI_PATTERN_ANY};
    struct parser parser = {pattern, arena, match->path, message, size};
    if (match->path.len > 0 && match->path_regex.len > 0)
        return REFUSE(&parser, "%s", "path and path_regex exclude each other");
    if (match->path_regex.len > 0)
        return parse_regex(&parser, match->path_regex);
    if (match->path.len == 0)
        return PERI_OK;
    parser.path = peri_arena_copy(arena, match->path);
    return parser.path.ptr ? parse_path(&parser) : PERI_ERR_NOMEM;
}

void peri_pattern_close(struct peri_pattern *pattern)
{
    peri_regex_free(pattern->regex);
    pattern->regex = NULL;
}

// ---------------------------------------------------------------- precedence

static int compare_text(struct peri_slice a, struct peri_slice b)
{
    size_t len = a.len < b.len ? a.len : b.len;
    int order = len ? memcmp(a.ptr, b.ptr, len) : 0;
    return order ? order : (a.len > b.len) - (a.len < b.len);
}

/// More segments first, then literals before captures, from the left.
static int compare_segments(const struct peri_pattern *a, const struct peri_pattern *b)
{
    if (a->segment_count != b->segment_count)
        return a->segment_count > b->segment_count ? -1 : 1;
    for (uint32_t i = 0; i < a->segment_count; i++) {
        const struct peri_pattern_segment *left = &a->segments[i], *right = &b->segments[i];
        if (left->is_capture != right->is_capture)
            return left->is_capture ? 1 : -1;
        int order = left->is_capture ? 0 : compare_text(left->text, right->text);
        if (order)
            return order;
    }
    return 0;
}

int peri_pattern_compare(const struct peri_pattern *a, const struct peri_pattern *b)
{
    if (a->kind != b->kind)
        return a->kind < b->kind ? -1 : 1;
    if (a->kind == PERI_PATTERN_REGEX || a->kind == PERI_PATTERN_ANY)
        return 0;
    return compare_segments(a, b);
}

// ---------------------------------------------------------------- matching

static peri_err_t match_regex(const struct peri_pattern *pattern, struct peri_slice path, struct peri_slice *captures)
{
    struct peri_regex_span spans[PERI_CAPTURES_MAX + 1];
    if (!peri_slice_starts(path, pattern->text))
        return PERI_ERR_NOT_FOUND;
    peri_err_t err = peri_regex_match(pattern->regex, path, 0, spans, pattern->capture_count + 1);
    for (uint32_t i = 0; err == PERI_OK && i < pattern->capture_count; i++)
        captures[i] = peri_regex_slice(path, spans[i + 1]);
    return err;
}

static peri_err_t match_segments(const struct peri_pattern *pattern, struct peri_slice path,
                                 struct peri_slice *captures)
{
    struct peri_slice segment;
    for (uint32_t i = 0; i < pattern->segment_count; i++) {
        if (!peri_pattern_next_segment(&path, &segment))
            return PERI_ERR_NOT_FOUND;
        if (pattern->segments[i].is_capture ? segment.len == 0 : !peri_slice_eq(segment, pattern->segments[i].text))
            return PERI_ERR_NOT_FOUND;
        if (pattern->segments[i].is_capture)
            *captures++ = segment;
    }
    return path.len == 0 || pattern->kind == PERI_PATTERN_PREFIX ? PERI_OK : PERI_ERR_NOT_FOUND;
}

peri_err_t peri_pattern_match(const struct peri_pattern *pattern, struct peri_slice path, struct peri_slice *captures)
{
    if (pattern->kind == PERI_PATTERN_ANY)
        return PERI_OK;
    if (pattern->kind == PERI_PATTERN_REGEX)
        return match_regex(pattern, path, captures);
    if (path.len == 0 || path.ptr[0] != '/')
        return PERI_ERR_NOT_FOUND;
    return match_segments(pattern, path, captures);
}
