// SPDX-License-Identifier: MIT
// The replaying half of snapshots: maps a sealed descriptor, checks every length once, and answers from memory.
#include "app/snapshot.h"

#include <stdlib.h>
#include <unistd.h>

#include "app/memfd.h"
#include "app/snapshot_format.h"
#include "base/assert.h"
#include "script/vm.h"

// Room for the bytes, the records and their paths; what is longer is no snapshot.
#define SIZE_LIMIT (PERI_SNAPSHOT_TOTAL + PERI_SNAPSHOT_FILES * (PERI_SNAPSHOT_PATH + 64))

struct peri_snapshot {
    unsigned references;
    int fd;
    struct peri_slice map;
    struct peri_slice entry;
    struct peri_snapshot_file *files; ///< owned; in byte order of their paths
    uint32_t count;
    char digest[PERI_DIGEST_TEXT + 1];
    struct peri_source source;
};

static peri_err_t on_read(void *data, struct peri_slice path, struct peri_slice *bytes);
static peri_err_t on_names(void *data, struct peri_slice path, struct peri_slice *names);

bool peri_snapshot_is_path(struct peri_slice path)
{
    if (path.len == 0 || path.len >= PERI_SNAPSHOT_PATH || memchr(path.ptr, '\0', path.len))
        return false;
    if (path.ptr[0] == '/')
        return path.ptr[path.len - 1] != '/';
    for (const char *p = path.ptr, *end = p + path.len; p <= end;) {
        const char *slash = memchr(p, '/', (size_t)(end - p));
        struct peri_slice segment = peri_slice(p, (size_t)((slash ? slash : end) - p));
        if (segment.len == 0 || peri_slice_eq(segment, PERI_SLICE(".")) || peri_slice_eq(segment, PERI_SLICE("..")))
            return false;
        p = (slash ? slash : end) + 1;
    }
    return true;
}

bool peri_snapshot_folder(struct peri_slice path, char key[PERI_SNAPSHOT_PATH])
{
    if (!peri_snapshot_is_path(path) || path.len + 1 >= PERI_SNAPSHOT_PATH)
        return false;
    memcpy(key, path.ptr, path.len);
    memcpy(key + path.len, "/", 2);
    return true;
}

static bool take(struct peri_slice *rest, uint64_t len, struct peri_slice *part)
{
    if (len > rest->len)
        return false;
    *part = peri_slice(rest->ptr, (size_t)len);
    rest->ptr += len;
    rest->len -= (size_t)len;
    return true;
}

static bool take_struct(struct peri_slice *rest, void *out, size_t size)
{
    struct peri_slice part;
    if (!take(rest, size, &part))
        return false;
    memcpy(out, part.ptr, size);
    return true;
}

static bool take_file(struct peri_slice *rest, struct peri_snapshot_file *file)
{
    struct peri_snapshot_record record;
    if (!take_struct(rest, &record, sizeof(record)) || record.err >= PERI_ERR_COUNT)
        return false;
    file->err = (peri_err_t)record.err;
    file->is_secret = record.is_secret != 0;
    return take(rest, record.path_len, &file->path) && take(rest, record.len, &file->bytes);
}

static peri_err_t parse(struct peri_snapshot *snapshot)
{
    struct peri_slice rest = snapshot->map;
    struct peri_snapshot_head head;
    if (!take_struct(&rest, &head, sizeof(head)) || head.magic != PERI_SNAPSHOT_MAGIC)
        return PERI_ERR_INVALID;
    if (head.count > PERI_SNAPSHOT_FILES || !take(&rest, head.entry_len, &snapshot->entry))
        return PERI_ERR_INVALID;
    peri_digest_format(head.digest, snapshot->digest);
    snapshot->files = calloc(head.count + 1u, sizeof(*snapshot->files));
    if (!snapshot->files)
        return PERI_ERR_NOMEM;
    for (struct peri_snapshot_file *file = snapshot->files; snapshot->count < head.count; file++, snapshot->count++) {
        if (!take_file(&rest, file))
            return PERI_ERR_INVALID;
        if (snapshot->count > 0 && peri_snapshot_compare(file[-1].path, file->path) >= 0)
            return PERI_ERR_INVALID;
    }
    return rest.len == 0 ? PERI_OK : PERI_ERR_INVALID;
}

peri_err_t peri_snapshot_open(int fd, struct peri_snapshot **out)
{
    struct peri_snapshot *snapshot = calloc(1, sizeof(*snapshot));
    *out = NULL;
    if (!snapshot) {
        close(fd);
        return PERI_ERR_NOMEM;
    }
    snapshot->references = 1;
    snapshot->fd = fd;
    snapshot->source = (struct peri_source){.read = on_read, .names = on_names, .data = snapshot};
    peri_err_t err = peri_memfd_map(fd, SIZE_LIMIT, &snapshot->map);
    if (err == PERI_OK)
        err = parse(snapshot);
    if (err != PERI_OK)
        peri_snapshot_unref(snapshot);
    else
        *out = snapshot;
    return err;
}

struct peri_snapshot *peri_snapshot_ref(struct peri_snapshot *snapshot)
{
    snapshot->references++;
    return snapshot;
}

void peri_snapshot_unref(struct peri_snapshot *snapshot)
{
    if (!snapshot)
        return;
    peri_assert(snapshot->references > 0);
    if (--snapshot->references > 0)
        return;
    peri_memfd_unmap(snapshot->map);
    close(snapshot->fd);
    free(snapshot->files);
    free(snapshot);
}

int peri_snapshot_fd(const struct peri_snapshot *snapshot)
{
    return snapshot->fd;
}

const struct peri_source *peri_snapshot_source(const struct peri_snapshot *snapshot)
{
    return &snapshot->source;
}

struct peri_slice peri_snapshot_entry(const struct peri_snapshot *snapshot)
{
    return snapshot->entry;
}

struct peri_slice peri_snapshot_digest(const struct peri_snapshot *snapshot)
{
    return peri_slice(snapshot->digest, PERI_DIGEST_TEXT);
}

uint32_t peri_snapshot_count(const struct peri_snapshot *snapshot)
{
    return snapshot->count;
}

struct peri_slice peri_snapshot_path(const struct peri_snapshot *snapshot, uint32_t index)
{
    peri_assert(index < snapshot->count);
    return snapshot->files[index].path;
}

struct peri_snapshot_file peri_snapshot_file(const struct peri_snapshot *snapshot, uint32_t index)
{
    peri_assert(index < snapshot->count);
    return snapshot->files[index];
}

int peri_snapshot_compare(struct peri_slice a, struct peri_slice b)
{
    size_t len = a.len < b.len ? a.len : b.len;
    int order = len ? memcmp(a.ptr, b.ptr, len) : 0;
    return order ? order : (a.len > b.len) - (a.len < b.len);
}

static int compare_file(const void *key, const void *item)
{
    return peri_snapshot_compare(*(const struct peri_slice *)key, ((const struct peri_snapshot_file *)item)->path);
}

static peri_err_t look_up(const struct peri_snapshot *snapshot, struct peri_slice path, struct peri_slice *bytes)
{
    const struct peri_snapshot_file *file =
        bsearch(&path, snapshot->files, snapshot->count, sizeof(*file), compare_file);
    if (!file)
        return PERI_ERR_NOT_FOUND;
    *bytes = file->bytes;
    return file->err;
}

static peri_err_t on_read(void *data, struct peri_slice path, struct peri_slice *bytes)
{
    *bytes = peri_slice(NULL, 0);
    return peri_snapshot_is_path(path) ? look_up(data, path, bytes) : PERI_ERR_INVALID;
}

static peri_err_t on_names(void *data, struct peri_slice path, struct peri_slice *names)
{
    char key[PERI_SNAPSHOT_PATH];
    *names = peri_slice(NULL, 0);
    return peri_snapshot_folder(path, key) ? look_up(data, peri_slice_from(key), names) : PERI_ERR_INVALID;
}
