// SPDX-License-Identifier: MIT
// Goes through the paths of both snapshots at once: they are ordered.
#include "app/changes.h"

#include <stdlib.h>
#include <string.h>

#include "app/diff.h"
#include "app/snapshot.h"
#include "codec/json.h"
#include "shared/text.h"

struct comparison {
    struct peri_changes *changes;
    struct peri_text diff;
    struct peri_text hunks; ///< of the file at hand
    bool is_cut;
};

static const struct peri_snapshot_file nothing = {.err = PERI_ERR_NOT_FOUND};

// A line break in a path would look like a line of the diff.
static void put_path(struct peri_text *out, const char *before, struct peri_slice path)
{
    peri_text_printf(out, "%s", before);
    for (size_t i = 0; i < path.len; i++)
        peri_text_printf(out, (unsigned char)path.ptr[i] < 0x20 ? "?" : "%c", path.ptr[i]);
}

// "--- a/…" and "+++ b/…", or what stands in the place of a diff.
static void put_names(struct peri_text *out, const struct peri_snapshot_file *from, const struct peri_snapshot_file *to,
                      struct peri_slice path)
{
    put_path(out, from->err == PERI_OK ? "--- a/" : "--- /dev/null", from->err == PERI_OK ? path : PERI_SLICE(""));
    put_path(out, to->err == PERI_OK ? "\n+++ b/" : "\n+++ /dev/null", to->err == PERI_OK ? path : PERI_SLICE(""));
    peri_text_add(out, PERI_SLICE("\n"));
}

static void put_whole(struct peri_text *out, const char *kind, struct peri_slice path)
{
    peri_text_printf(out, "%s file ", kind);
    put_path(out, "", path);
    peri_text_add(out, PERI_SLICE(" differs\n"));
}

static void add_diff(struct comparison *c, const struct peri_text *part)
{
    if (c->is_cut || part->len == 0)
        return;
    c->is_cut = c->diff.len + part->len > PERI_CHANGES_DIFF;
    if (c->is_cut)
        peri_text_printf(&c->diff, "(what follows is left out: the whole is larger than %u KiB)\n",
                         PERI_CHANGES_DIFF / 1024);
    else
        peri_text_add(&c->diff, peri_slice(part->data, part->len));
}

static struct peri_json *new_entry(struct peri_slice path, const struct peri_snapshot_file *from,
                                   const struct peri_snapshot_file *to)
{
    struct peri_json *entry = peri_json_new_object();
    struct peri_slice change = from->err != PERI_OK ? PERI_SLICE("added")
                               : to->err != PERI_OK ? PERI_SLICE("removed")
                                                    : PERI_SLICE("changed");
    peri_json_set(entry, "file", peri_json_new_string(path));
    peri_json_set(entry, "change", peri_json_new_string(change));
    return entry;
}

static void compare(struct comparison *c, const struct peri_snapshot_file *from, const struct peri_snapshot_file *to)
{
    struct peri_slice path = from->path.ptr ? from->path : to->path;
    struct peri_diff counts;
    bool is_secret = from->is_secret || to->is_secret;
    if (from->err == to->err && peri_slice_eq(from->bytes, to->bytes))
        return;
    if (from->err != PERI_OK && to->err != PERI_OK)
        return; // unreadable in another way
    struct peri_json *entry = new_entry(path, from, to);
    peri_text_init(&c->hunks);
    if (is_secret) {
        peri_json_set(entry, "is_secret", peri_json_new_bool(true));
        put_whole(&c->hunks, "Secret", path);
    } else {
        put_names(&c->hunks, from, to, path);
        if (peri_diff_make(from->bytes, to->bytes, &c->hunks, &counts)) {
            peri_json_set(entry, "added", peri_json_new_integer(counts.added));
            peri_json_set(entry, "removed", peri_json_new_integer(counts.removed));
        } else {
            peri_text_close(&c->hunks);
            put_whole(&c->hunks, "Large or binary", path);
        }
    }
    add_diff(c, &c->hunks);
    peri_text_close(&c->hunks);
    peri_json_append(c->changes->files, entry);
}

// Order of two files; one that is not there comes last.
static int order(const struct peri_snapshot_file *a, const struct peri_snapshot_file *b)
{
    if (!a->path.ptr || !b->path.ptr)
        return a->path.ptr ? -1 : 1;
    return peri_snapshot_compare(a->path, b->path);
}

static struct peri_snapshot_file at(const struct peri_snapshot *snapshot, uint32_t index)
{
    return index < peri_snapshot_count(snapshot) ? peri_snapshot_file(snapshot, index) : nothing;
}

static void compare_all(struct comparison *c, const struct peri_snapshot *from, const struct peri_snapshot *to)
{
    uint32_t i = 0, j = 0;
    while (i < peri_snapshot_count(from) || j < peri_snapshot_count(to)) {
        struct peri_snapshot_file a = at(from, i), b = at(to, j);
        int o = order(&a, &b);
        compare(c, o <= 0 ? &a : &nothing, o >= 0 ? &b : &nothing);
        i += o <= 0;
        j += o >= 0;
    }
}

void peri_changes_make(const struct peri_snapshot *from, const struct peri_snapshot *to, struct peri_changes *changes)
{
    struct comparison c = {.changes = changes};
    *changes = (struct peri_changes){.files = peri_json_new_array()};
    peri_text_init(&c.diff);
    compare_all(&c, from, to);
    if (!c.diff.failed)
        changes->diff = strdup(c.diff.data ? c.diff.data : "");
    peri_text_close(&c.diff);
}

void peri_changes_close(struct peri_changes *changes)
{
    peri_json_free(changes->files);
    free(changes->diff);
    *changes = (struct peri_changes){0};
}
