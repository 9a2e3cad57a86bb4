// SPDX-License-Identifier: MIT
// The matcher: backtracking by recursion, as the language of Lua's patterns asks for. A pattern is a row of items:
//
//   item    a byte, '.', '%a', '[set]'  with ? * + - behind it     ->  match_items, expand_most, expand_least
//   other   ( ) () %1 %b() %f[set] $
//
// A function that matches returns where the match ends, or NULL. After NULL the caller looks at search->problem before it
// tries anything else, so that a refusal ends the search at once.

#include "script/search.h"

#include <ctype.h>
#include <stdbool.h>
#include <string.h>

#include "base/attr.h"

#define DEPTH_MAX 200 // of the recursion, as in LuaJIT

#define TEXT_OF(number) #number
#define NUMBER_TEXT(number) TEXT_OF(number)

static const char *match(struct peri_search *search, const char *at, const char *text);

static const char *fail(struct peri_search *search, const char *problem)
{
    search->problem = problem;
    return NULL;
}

static bool spend(struct peri_search *search, uint32_t steps)
{
    if (search->steps >= steps) {
        search->steps -= steps;
        return true;
    }
    search->steps = 0;
    search->problem = "pattern too costly: more than " NUMBER_TEXT(PERI_SEARCH_STEPS) " steps";
    return false;
}

// ---------------------------------------------------------------- one byte

// Bits of the classes, in the order of class_names, for each byte; and for each letter that names a class its bit, with
// CLASS_NOT for upper case. Filled by the first search.
static const char class_names[] = "acdglpsuwxz";
static uint16_t byte_classes[256], name_classes[256];
#define CLASS_NOT 0x8000

static void prepare_classes(void)
{
    for (int c = 0; c < 256; c++) {
        bool is_in[] = {isalpha(c), iscntrl(c), isdigit(c), isgraph(c),  islower(c), ispunct(c),
                        isspace(c), isupper(c), isalnum(c), isxdigit(c), c == 0};
        for (unsigned i = 0; i < PERI_COUNT(is_in); i++)
            byte_classes[c] |= (uint16_t)(is_in[i] << i);
    }
    for (unsigned i = 0; class_names[i]; i++) {
        name_classes[(int)class_names[i]] = (uint16_t)(1 << i);
        name_classes[toupper(class_names[i])] = (uint16_t)(1 << i | CLASS_NOT);
    }
}

static bool is_in_class(unsigned char c, unsigned char name)
{
    uint16_t wanted = name_classes[name];
    if (!wanted)
        return c == name;
    return ((byte_classes[c] & wanted) != 0) != ((wanted & CLASS_NOT) != 0);
}

// Is `c` in the set that begins at `set` ('[') and ends at `last` (']')?
static bool is_in_set(struct peri_search *search, unsigned char c, const char *set, const char *last)
{
    bool is_listed = true;
    if (set[1] == '^') {
        is_listed = false;
        set++;
    }
    for (set++; set < last && spend(search, 1); set++) {
        unsigned char item = (unsigned char)*set;
        if (item == '%') {
            set++;
            if (is_in_class(c, (unsigned char)*set))
                return is_listed;
        } else if (set[1] == '-' && set + 2 < last) {
            set += 2;
            if (item <= c && c <= (unsigned char)*set)
                return is_listed;
        } else if (item == c) {
            return is_listed;
        }
    }
    return !is_listed;
}

// Does the item at `text`, which ends before `rest`, match the byte at `at`?
static bool match_byte(struct peri_search *search, const char *at, const char *text, const char *rest)
{
    if (at >= search->end)
        return false;
    switch (*text) {
    case '.': return true;
    case '%': return is_in_class((unsigned char)*at, (unsigned char)text[1]);
    case '[': return is_in_set(search, (unsigned char)*at, text, rest - 1);
    default: return *text == *at;
    }
}

// Behind the one-byte item at `text`; NULL when it is malformed.
static const char *item_end(struct peri_search *search, const char *text)
{
    char kind = *text++;
    if (kind == '%')
        return *text ? text + 1 : fail(search, "malformed pattern (ends with '%')");
    if (kind != '[')
        return text;
    if (*text == '^')
        text++;
    do { // a ']' that stands first is a member
        if (!*text)
            return fail(search, "malformed pattern (missing ']')");
        if (*text++ == '%' && *text)
            text++;
    } while (*text != ']');
    return spend(search, 1) ? text + 1 : NULL;
}

// ---------------------------------------------------------------- items that repeat

static const char *expand_most(struct peri_search *search, const char *at, const char *text, const char *rest)
{
    const char *last = at;
    while (match_byte(search, last, text, rest) && spend(search, 1))
        last++;
    for (; !search->problem && last >= at; last--) {
        const char *end = match(search, last, rest + 1);
        if (end)
            return end;
    }
    return NULL;
}

static const char *expand_least(struct peri_search *search, const char *at, const char *text, const char *rest)
{
    for (;; at++) {
        const char *end = match(search, at, rest + 1);
        if (end || search->problem || !match_byte(search, at, text, rest))
            return end;
    }
}

// ---------------------------------------------------------------- captures

static const char *open_capture(struct peri_search *search, const char *at, const char *text)
{
    bool is_position = *text == ')';
    if (search->count >= PERI_SEARCH_CAPTURES)
        return fail(search, "too many captures");
    search->captures[search->count].at = at;
    search->captures[search->count].len = is_position ? PERI_SEARCH_POSITION : PERI_SEARCH_OPEN;
    search->count++;
    const char *end = match(search, at, text + is_position);
    if (!end)
        search->count--;
    return end;
}

static const char *close_capture(struct peri_search *search, const char *at, const char *text)
{
    int i = search->count - 1;
    while (i >= 0 && search->captures[i].len != PERI_SEARCH_OPEN)
        i--;
    if (i < 0)
        return fail(search, "invalid pattern capture");
    search->captures[i].len = at - search->captures[i].at;
    const char *end = match(search, at, text);
    if (!end)
        search->captures[i].len = PERI_SEARCH_OPEN;
    return end;
}

static const char *match_captured(struct peri_search *search, const char *at, char digit)
{
    int i = digit - '1';
    if (i < 0 || i >= search->count || search->captures[i].len == PERI_SEARCH_OPEN)
        return fail(search, "invalid capture index");
    ptrdiff_t len = search->captures[i].len;
    if (len < 0 || search->end - at < len || !spend(search, (uint32_t)(len / 16)))
        return NULL;
    return memcmp(search->captures[i].at, at, (size_t)len) == 0 ? at + len : NULL;
}

// ---------------------------------------------------------------- %b and %f

static const char *match_balanced(struct peri_search *search, const char *at, const char *text)
{
    if (!text[0] || !text[1])
        return fail(search, "unbalanced pattern");
    if (at >= search->end || *at != text[0])
        return NULL;
    ptrdiff_t open = 1;
    while (++at < search->end && spend(search, 1)) {
        if (*at == text[1]) {
            if (--open == 0)
                return at + 1;
        } else if (*at == text[0]) {
            open++;
        }
    }
    return NULL;
}

// Behind the set at `text` when `at` lies between a byte outside of the set and one inside.
static const char *match_frontier(struct peri_search *search, const char *at, const char *text)
{
    if (*text != '[')
        return fail(search, "missing '[' after '%f' in pattern");
    const char *rest = item_end(search, text);
    if (!rest)
        return NULL;
    unsigned char before = at == search->subject ? 0 : (unsigned char)at[-1];
    bool is_here = !is_in_set(search, before, text, rest - 1) && is_in_set(search, (unsigned char)*at, text, rest - 1);
    return is_here ? rest : NULL;
}

// ---------------------------------------------------------------- the row of items

// Takes a step over what begins with '%' and is more than a class: true when there was one. Then *at is NULL if it did not match.
static bool match_special(struct peri_search *search, const char **at, const char **text)
{
    char kind = (*text)[1];
    if (kind == 'b') {
        *at = match_balanced(search, *at, *text + 2);
        *text += *at ? 4 : 0;
    } else if (kind == 'f') {
        *text = match_frontier(search, *at, *text + 2);
        *at = *text ? *at : NULL;
    } else if (isdigit((unsigned char)kind)) {
        *at = match_captured(search, *at, kind);
        *text += 2;
    } else {
        return false;
    }
    return true;
}

static const char *match_items(struct peri_search *search, const char *at, const char *text)
{
    while (at && spend(search, 1)) {
        if (*text == '\0')
            return at;
        if (*text == '(')
            return open_capture(search, at, text + 1);
        if (*text == ')')
            return close_capture(search, at, text + 1);
        if (*text == '$' && text[1] == '\0')
            return at == search->end ? at : NULL;
        if (*text == '%' && match_special(search, &at, &text))
            continue;
        const char *rest = item_end(search, text);
        if (!rest)
            return NULL;
        if (*rest == '*')
            return expand_most(search, at, text, rest);
        if (*rest == '-')
            return expand_least(search, at, text, rest);
        bool is_match = match_byte(search, at, text, rest);
        if (*rest == '+')
            return is_match ? expand_most(search, at + 1, text, rest) : NULL;
        if (*rest == '?') {
            const char *end = is_match ? match(search, at + 1, rest + 1) : NULL;
            if (end || search->problem)
                return end;
            text = rest + 1;
            continue;
        }
        text = rest;
        at = is_match ? at + 1 : NULL;
    }
    return NULL;
}

static const char *match(struct peri_search *search, const char *at, const char *text)
{
    if (++search->depth > DEPTH_MAX)
        return fail(search, "pattern too complex");
    const char *end = match_items(search, at, text);
    search->depth--;
    return search->problem ? NULL : end;
}

const char *peri_search_match(struct peri_search *search, const char *at, const char *text)
{
    if (PERI_UNLIKELY(!name_classes['a']))
        prepare_classes();
    search->depth = 0;
    search->count = 0;
    return match(search, at, text);
}
