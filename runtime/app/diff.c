// SPDX-License-Identifier: MIT
// Lines are marked as removed or added first; the hunks are written from the marks.
//
//   V[k] is how far down the old text a path with d edits comes on the diagonal k (old line - new line = k). The Vs of every d are
//   kept, one behind the other, to find the way back from the end.
#include "app/diff.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "shared/text.h"

struct lines {
    struct peri_slice *items; ///< owned; with their line ends
    bool *marks;              ///< owned; not in the other text
    uint32_t count;
};

struct compare {
    struct lines from;
    struct lines to;
    uint32_t head; ///< common lines at the beginning
    uint32_t tail; ///< common lines at the end
};

// ---- lines ----

static uint32_t count_lines(struct peri_slice text)
{
    uint32_t count = text.len > 0 && text.ptr[text.len - 1] != '\n';
    for (size_t i = 0; i < text.len; i++)
        count += text.ptr[i] == '\n';
    return count;
}

static bool split(struct peri_slice text, struct lines *lines)
{
    uint32_t count = count_lines(text);
    lines->items = calloc(count + 1u, sizeof(*lines->items));
    lines->marks = calloc(count + 1u, sizeof(*lines->marks));
    if (!lines->items || !lines->marks)
        return false;
    while (text.len > 0) {
        const char *end = memchr(text.ptr, '\n', text.len);
        size_t len = end ? (size_t)(end + 1 - text.ptr) : text.len;
        peri_assert(lines->count < count);
        lines->items[lines->count++] = peri_slice(text.ptr, len);
        text = peri_slice(text.ptr + len, text.len - len);
    }
    return true;
}

static void close_lines(struct lines *lines)
{
    free(lines->items);
    free(lines->marks);
}

static bool is_same(const struct compare *c, uint32_t from, uint32_t to)
{
    return peri_slice_eq(c->from.items[from], c->to.items[to]);
}

static void find_ends(struct compare *c)
{
    uint32_t shorter = c->from.count < c->to.count ? c->from.count : c->to.count;
    while (c->head < shorter && is_same(c, c->head, c->head))
        c->head++;
    while (c->tail < shorter - c->head && is_same(c, c->from.count - 1 - c->tail, c->to.count - 1 - c->tail))
        c->tail++;
}

// ---- what differs in between ----

// Where the V of `d` edits begins among all, and its entry for the diagonal `k`.
static int *entry(int *all, int d, int k)
{
    return all + d * (d + 1) + k; // the sum of 2 i + 1 up to d, and d to the middle
}

static int first_step(int *all, int d, int k)
{
    if (d == 0)
        return 0;
    if (k == -d || (k != d && *entry(all, d - 1, k - 1) < *entry(all, d - 1, k + 1)))
        return *entry(all, d - 1, k + 1); // a line was added
    return *entry(all, d - 1, k - 1) + 1; // a line was removed
}

// Number of edits of the shortest way; -1 when it is longer than what is looked for.
static int find_edits(const struct compare *c, int *all, int from_count, int to_count)
{
    for (int d = 0; d <= PERI_DIFF_EDITS; d++) {
        for (int k = -d; k <= d; k += 2) {
            int x = first_step(all, d, k);
            int y = x - k;
            while (x >= 0 && y >= 0 && x < from_count && y < to_count &&
                   is_same(c, c->head + (uint32_t)x, c->head + (uint32_t)y)) {
                x++;
                y++;
            }
            *entry(all, d, k) = x;
            if (x >= from_count && y >= to_count)
                return d;
        }
    }
    return -1;
}

static void mark_edits(struct compare *c, int *all, int d, int from_count, int to_count)
{
    int k = from_count - to_count;
    for (; d > 0; d--) {
        bool is_added = k == -d || (k != d && *entry(all, d - 1, k - 1) < *entry(all, d - 1, k + 1));
        k += is_added ? 1 : -1;
        int x = *entry(all, d - 1, k);
        if (is_added)
            c->to.marks[c->head + (uint32_t)(x - k)] = true;
        else
            c->from.marks[c->head + (uint32_t)x] = true;
    }
}

static void mark_all(struct compare *c)
{
    memset(c->from.marks + c->head, true, c->from.count - c->head - c->tail);
    memset(c->to.marks + c->head, true, c->to.count - c->head - c->tail);
}

static bool mark(struct compare *c)
{
    int from_count = (int)(c->from.count - c->head - c->tail);
    int to_count = (int)(c->to.count - c->head - c->tail);
    int *all = calloc((PERI_DIFF_EDITS + 1) * (PERI_DIFF_EDITS + 1), sizeof(*all));
    if (!all)
        return false;
    int edits = find_edits(c, all, from_count, to_count);
    if (edits >= 0)
        mark_edits(c, all, edits, from_count, to_count);
    else
        mark_all(c);
    free(all);
    return true;
}

static uint32_t count_marks(const struct lines *lines)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < lines->count; i++)
        count += lines->marks[i];
    return count;
}

// ---- hunks ----

struct place {
    uint32_t from;
    uint32_t to;
};

static bool is_at_edit(const struct compare *c, struct place at)
{
    return (at.from < c->from.count && c->from.marks[at.from]) || (at.to < c->to.count && c->to.marks[at.to]);
}

static bool is_at_end(const struct compare *c, struct place at)
{
    return at.from == c->from.count && at.to == c->to.count;
}

static struct place skip_edits(const struct compare *c, struct place at)
{
    while (at.from < c->from.count && c->from.marks[at.from])
        at.from++;
    while (at.to < c->to.count && c->to.marks[at.to])
        at.to++;
    return at;
}

// The end of the hunk that begins with edits at `at`: where no edit follows within twice the context.
static struct place find_end(const struct compare *c, struct place at)
{
    struct place end = at;
    while (!is_at_end(c, at)) {
        at = end = skip_edits(c, at);
        for (int i = 0; i < 2 * PERI_DIFF_CONTEXT && !is_at_end(c, at) && !is_at_edit(c, at); i++) {
            at.from++;
            at.to++;
        }
        if (!is_at_edit(c, at))
            break;
    }
    for (int i = 0; i < PERI_DIFF_CONTEXT && end.from < c->from.count; i++) {
        end.from++;
        end.to++;
    }
    return end;
}

static void put_line(struct peri_text *out, char sign, struct peri_slice line)
{
    peri_text_add(out, peri_slice(&sign, 1));
    peri_text_add(out, line);
    if (line.ptr[line.len - 1] != '\n')
        peri_text_add(out, PERI_SLICE("\n\\ No newline at end of file\n"));
}

static void put_hunk(const struct compare *c, struct peri_text *out, struct place at, struct place end)
{
    uint32_t from = end.from - at.from, to = end.to - at.to;
    peri_text_printf(out, "@@ -%u,%u +%u,%u @@\n", at.from + (from > 0), from, at.to + (to > 0), to);
    while (at.from < end.from || at.to < end.to) {
        if (at.from < end.from && c->from.marks[at.from]) {
            put_line(out, '-', c->from.items[at.from++]);
        } else if (at.to < end.to && c->to.marks[at.to]) {
            put_line(out, '+', c->to.items[at.to++]);
        } else {
            put_line(out, ' ', c->from.items[at.from++]);
            at.to++;
        }
    }
}

static void put_hunks(const struct compare *c, struct peri_text *out)
{
    struct place at = {0, 0};
    while (!is_at_end(c, at)) {
        if (!is_at_edit(c, at)) {
            at.from++;
            at.to++;
            continue;
        }
        struct place end = find_end(c, at);
        uint32_t context = at.from < PERI_DIFF_CONTEXT ? at.from : PERI_DIFF_CONTEXT;
        context = at.to < context ? at.to : context;
        put_hunk(c, out, (struct place){at.from - context, at.to - context}, end);
        at = end;
    }
}

// ---- the whole ----

static bool is_comparable(struct peri_slice text)
{
    return text.len <= PERI_DIFF_BYTES && (text.len == 0 || !memchr(text.ptr, '\0', text.len));
}

bool peri_diff_make(struct peri_slice from, struct peri_slice to, struct peri_text *out, struct peri_diff *diff)
{
    struct compare c = {.head = 0};
    bool is_done = is_comparable(from) && is_comparable(to) && split(from, &c.from) && split(to, &c.to);
    *diff = (struct peri_diff){0};
    if (is_done) {
        find_ends(&c);
        is_done = mark(&c);
    }
    if (is_done) {
        diff->added = count_marks(&c.to);
        diff->removed = count_marks(&c.from);
        if (out)
            put_hunks(&c, out);
    }
    close_lines(&c.from);
    close_lines(&c.to);
    return is_done;
}
