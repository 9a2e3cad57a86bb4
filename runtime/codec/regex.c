// SPDX-License-Identifier: MIT
// PCRE2 behind peri_regex. Its own match limit counts per start position, so a long subject could still cost the square
// of its length; the search therefore goes window by window (an offset limit on where a match may start), and between
// windows the CPU time spent is compared with a budget.
#define PCRE2_CODE_UNIT_WIDTH 8

#include "codec/regex.h"

#include <pcre2.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/assert.h"

#define PATTERN_MAX 65536
#define MATCH_LIMIT 100000      // steps from one start position, each of which may look at the whole subject …
#define MATCH_LIMIT_MIN 20000   // … so there are fewer for a long one:
#define MATCH_WORK (1ull << 31) // steps times bytes of subject
#define DEPTH_LIMIT 1000        // nested backtracking, only without JIT
#define HEAP_LIMIT_KIB 1024     // only without JIT
#define JIT_STACK_MAX 262144    // bytes
#define WINDOW 1024             // most start positions between two looks at the clock
#define WINDOW_WORK (1 << 25)   // most start positions times bytes of subject
#define BUDGET_NS 40000000      // CPU time of one search over more than one window

struct peri_regex {
    pcre2_code *code; // owned
    uint32_t groups;
    bool is_anchored; // only one start position can match
    bool is_utf;
    const char **names; // owned array of groups + 1 entries borrowed from `code`; NULL when no group has a name
};

// What all expressions of the process share; made at the first compile, never freed.
static struct {
    pcre2_compile_context *compile;
    pcre2_match_context *match;
    pcre2_match_data *data;
    pcre2_jit_stack *stack;
} shared;

static bool prepare_shared(void);
static uint32_t options_of(uint32_t flags);
static bool inspect(struct peri_regex *regex, char *message, size_t size);
static bool take_names(struct peri_regex *regex);
static void limit_steps(size_t len);
static int search(const struct peri_regex *regex, struct peri_slice subject, size_t from);
static int search_windows(const struct peri_regex *regex, struct peri_slice subject, size_t from);
static peri_err_t translate(int rc);
static int64_t cpu_now(void);

struct peri_regex *peri_regex_new(struct peri_slice pattern, uint32_t flags, char *message, size_t size)
{
    struct peri_regex *regex = calloc(1, sizeof *regex);
    if (!regex || !prepare_shared()) {
        snprintf(message, size, "out of memory");
        free(regex);
        return NULL;
    }
    int rc = 0;
    size_t at = 0;
    regex->code = pcre2_compile((PCRE2_SPTR)(pattern.ptr ? pattern.ptr : ""), pattern.len, options_of(flags), &rc, &at,
                                shared.compile);
    if (!regex->code) {
        char text[256];
        pcre2_get_error_message(rc, (PCRE2_UCHAR *)text, sizeof text);
        snprintf(message, size, "%s (at offset %zu)", text, at);
    }
    if (!regex->code || !inspect(regex, message, size)) {
        peri_regex_free(regex);
        return NULL;
    }
    pcre2_jit_compile(regex->code, PCRE2_JIT_COMPLETE); // where it fails the interpreter matches
    return regex;
}

static uint32_t options_of(uint32_t flags)
{
    uint32_t options = PCRE2_USE_OFFSET_LIMIT | PCRE2_NEVER_BACKSLASH_C;
    options |= flags & PERI_REGEX_CASELESS ? PCRE2_CASELESS : 0;
    options |= flags & PERI_REGEX_MULTILINE ? PCRE2_MULTILINE : 0;
    options |= flags & PERI_REGEX_DOTALL ? PCRE2_DOTALL : 0;
    options |= flags & PERI_REGEX_EXTENDED ? PCRE2_EXTENDED : 0;
    return options | (flags & PERI_REGEX_UTF ? PCRE2_UTF | PCRE2_MATCH_INVALID_UTF : PCRE2_NEVER_UTF);
}

/// Reads what matching needs to know of the compiled pattern.
static bool inspect(struct peri_regex *regex, char *message, size_t size)
{
    uint32_t all = 0;
    pcre2_pattern_info(regex->code, PCRE2_INFO_CAPTURECOUNT, &regex->groups);
    pcre2_pattern_info(regex->code, PCRE2_INFO_ALLOPTIONS, &all);
    regex->is_anchored = (all & PCRE2_ANCHORED) != 0;
    regex->is_utf = (all & PCRE2_UTF) != 0;
    if (regex->groups >= PERI_REGEX_SPANS) {
        snprintf(message, size, "more than %d groups", PERI_REGEX_SPANS - 1);
        return false;
    }
    if (!take_names(regex)) {
        snprintf(message, size, "out of memory");
        return false;
    }
    return true;
}

void peri_regex_free(struct peri_regex *regex)
{
    if (!regex)
        return;
    pcre2_code_free(regex->code);
    free(regex->names);
    free(regex);
}

uint32_t peri_regex_groups(const struct peri_regex *regex)
{
    return regex->groups;
}

struct peri_slice peri_regex_group_name(const struct peri_regex *regex, uint32_t group)
{
    return peri_slice_from(regex->names && group <= regex->groups ? regex->names[group] : NULL);
}

peri_err_t peri_regex_match(const struct peri_regex *regex, struct peri_slice subject, size_t from,
                            struct peri_regex_span *spans, uint32_t max)
{
    if (from > subject.len)
        return PERI_ERR_INVALID;
    if (subject.len > PERI_REGEX_SUBJECT)
        return PERI_ERR_LIMIT;
    if (!subject.ptr)
        subject.ptr = "";
    limit_steps(subject.len);
    bool is_short = regex->is_anchored || subject.len - from <= WINDOW;
    int rc = is_short ? search(regex, subject, from) : search_windows(regex, subject, from);
    if (rc <= 0)
        return translate(rc);
    const size_t *ovector = pcre2_get_ovector_pointer(shared.data);
    for (uint32_t i = 0; i <= regex->groups && i < max; i++) {
        bool is_set = i < (uint32_t)rc && ovector[2 * i] != PCRE2_UNSET && ovector[2 * i] <= ovector[2 * i + 1];
        spans[i].start = is_set ? (int32_t)ovector[2 * i] : -1;
        spans[i].end = is_set ? (int32_t)ovector[2 * i + 1] : -1;
    }
    return PERI_OK;
}

/// Sets how many steps PCRE2 may take from one start position of a subject of `len` bytes.
static void limit_steps(size_t len)
{
    size_t limit = len > 0 ? MATCH_WORK / len : MATCH_LIMIT;
    limit = limit > MATCH_LIMIT ? MATCH_LIMIT : limit < MATCH_LIMIT_MIN ? MATCH_LIMIT_MIN : limit;
    pcre2_set_match_limit(shared.match, (uint32_t)limit);
}

/// One search from `from` up to the current offset limit; PCRE2's return code.
static int search(const struct peri_regex *regex, struct peri_slice subject, size_t from)
{
    return pcre2_match(regex->code, (PCRE2_SPTR)subject.ptr, subject.len, from, 0, shared.data, shared.match);
}

/// Searches window by window until a match, the end of the subject or the end of the budget.
static int search_windows(const struct peri_regex *regex, struct peri_slice subject, size_t from)
{
    int64_t end = cpu_now() + BUDGET_NS;
    size_t window = WINDOW_WORK / subject.len < WINDOW ? WINDOW_WORK / subject.len : WINDOW;
    int rc = PCRE2_ERROR_NOMATCH;
    while (rc == PCRE2_ERROR_NOMATCH && from <= subject.len) {
        size_t next = from + window;
        // A search must not begin inside a UTF-8 sequence.
        while (regex->is_utf && next < subject.len && ((unsigned char)subject.ptr[next] & 0xc0) == 0x80)
            next++;
        pcre2_set_offset_limit(shared.match, next - 1);
        rc = search(regex, subject, from);
        from = next;
        if (rc == PCRE2_ERROR_NOMATCH && cpu_now() > end)
            rc = PCRE2_ERROR_MATCHLIMIT;
    }
    pcre2_set_offset_limit(shared.match, PCRE2_UNSET);
    return rc;
}

static peri_err_t translate(int rc)
{
    switch (rc) {
    case PCRE2_ERROR_NOMATCH: return PERI_ERR_NOT_FOUND;
    case PCRE2_ERROR_NOMEMORY: return PERI_ERR_NOMEM;
    case PCRE2_ERROR_MATCHLIMIT:
    case PCRE2_ERROR_DEPTHLIMIT:
    case PCRE2_ERROR_HEAPLIMIT:
    case PCRE2_ERROR_JIT_STACKLIMIT:
    case PCRE2_ERROR_RECURSELOOP: return PERI_ERR_LIMIT;
    default: return PERI_ERR_INVALID;
    }
}

static int64_t cpu_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static bool prepare_shared(void)
{
    if (shared.stack)
        return true;
    if (!shared.compile)
        shared.compile = pcre2_compile_context_create(NULL);
    if (!shared.match)
        shared.match = pcre2_match_context_create(NULL);
    if (!shared.data)
        shared.data = pcre2_match_data_create(PERI_REGEX_SPANS, NULL);
    if (!shared.compile || !shared.match || !shared.data)
        return false;
    pcre2_set_max_pattern_length(shared.compile, PATTERN_MAX);
    pcre2_set_depth_limit(shared.match, DEPTH_LIMIT);
    pcre2_set_heap_limit(shared.match, HEAP_LIMIT_KIB);
    shared.stack = pcre2_jit_stack_create(16384, JIT_STACK_MAX, NULL);
    if (!shared.stack)
        return false;
    pcre2_jit_stack_assign(shared.match, NULL, shared.stack);
    return true;
}

/// Reads PCRE2's name table: entries of (group number, high byte first; name; NUL), all of one size.
static bool take_names(struct peri_regex *regex)
{
    uint32_t count = 0, size = 0;
    PCRE2_SPTR entry = NULL;
    pcre2_pattern_info(regex->code, PCRE2_INFO_NAMECOUNT, &count);
    pcre2_pattern_info(regex->code, PCRE2_INFO_NAMEENTRYSIZE, &size);
    pcre2_pattern_info(regex->code, PCRE2_INFO_NAMETABLE, &entry);
    if (count == 0)
        return true;
    regex->names = calloc(regex->groups + 1, sizeof *regex->names);
    if (!regex->names)
        return false;
    for (uint32_t i = 0; i < count; i++, entry += size) {
        uint32_t group = (uint32_t)entry[0] << 8 | entry[1];
        peri_assert(group <= regex->groups);
        regex->names[group] = (const char *)entry + 2;
    }
    return true;
}

const char *peri_regex_version(void)
{
    static char text[64];
    if (!text[0] && pcre2_config(PCRE2_CONFIG_VERSION, NULL) <= (int)sizeof(text))
        pcre2_config(PCRE2_CONFIG_VERSION, text);
    return text;
}
