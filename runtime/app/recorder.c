// SPDX-License-Identifier: MIT
// The recording half of snapshots: reads files from disk, keeps each answer in a list ordered by path, and writes the list
// down in the form of snapshot_format.h.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "app/memfd.h"
#include "app/snapshot.h"
#include "app/snapshot_format.h"
#include "base/assert.h"
#include "script/vm.h"

struct record {
    peri_err_t err;
    bool is_secret;
    struct peri_slice bytes; ///< owned
    size_t path_len;
    char path[]; ///< NUL-terminated
};

struct peri_recorder {
    struct peri_source source;
    int directory;
    struct record **records; ///< ordered by path
    uint32_t count;
    size_t total; ///< bytes of all files
};

static peri_err_t on_read(void *data, struct peri_slice path, struct peri_slice *bytes);
static peri_err_t on_names(void *data, struct peri_slice path, struct peri_slice *names);
static void on_secret(void *data, struct peri_slice path);
static char *on_list(void *data, struct peri_slice path);

struct peri_recorder *peri_recorder_new(const char *directory)
{
    struct peri_recorder *recorder = calloc(1, sizeof(*recorder));
    if (!recorder)
        return NULL;
    recorder->source = (struct peri_source){
        .read = on_read, .names = on_names, .mark_secret = on_secret, .list = on_list, .data = recorder};
    recorder->directory = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    recorder->records = calloc(PERI_SNAPSHOT_FILES, sizeof(struct record *));
    if (recorder->directory < 0 || !recorder->records) {
        int saved = errno;
        peri_recorder_free(recorder);
        errno = saved;
        return NULL;
    }
    return recorder;
}

const struct peri_source *peri_recorder_source(const struct peri_recorder *recorder)
{
    return &recorder->source;
}

void peri_recorder_free(struct peri_recorder *recorder)
{
    if (!recorder)
        return;
    for (uint32_t i = 0; i < recorder->count; i++) {
        free((void *)recorder->records[i]->bytes.ptr);
        free(recorder->records[i]);
    }
    if (recorder->directory >= 0)
        close(recorder->directory);
    free(recorder->records);
    free(recorder);
}

// Reads up to `size` bytes; one byte more is asked for, so that a file that grew meanwhile is noticed as too long.
static peri_err_t read_all(int fd, size_t size, struct peri_slice *bytes)
{
    char *text = malloc(size + 1);
    size_t len = 0;
    if (!text)
        return PERI_ERR_NOMEM;
    while (len <= size) {
        ssize_t n = read(fd, text + len, size + 1 - len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            free(text);
            return PERI_ERR_SYSTEM;
        }
        if (n == 0)
            break;
        len += (size_t)n;
    }
    *bytes = peri_slice(text, len < size ? len : size);
    return PERI_OK;
}

static peri_err_t read_file(struct peri_recorder *recorder, const char *path, struct peri_slice *bytes)
{
    struct stat info;
    peri_err_t err;
    int fd = openat(recorder->directory, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return errno == ENOENT || errno == ENOTDIR ? PERI_ERR_NOT_FOUND : PERI_ERR_SYSTEM;
    if (fstat(fd, &info) != 0)
        err = PERI_ERR_SYSTEM;
    else if (!S_ISREG(info.st_mode))
        err = PERI_ERR_NOT_FOUND;
    else if (info.st_size > PERI_SNAPSHOT_FILE || (size_t)info.st_size > PERI_SNAPSHOT_TOTAL - recorder->total)
        err = PERI_ERR_LIMIT;
    else
        err = read_all(fd, (size_t)info.st_size, bytes);
    close(fd);
    return err;
}

// Index of `path`, or where it belongs.
static uint32_t find(const struct peri_recorder *recorder, struct peri_slice path, bool *is_found)
{
    uint32_t low = 0, high = recorder->count;
    *is_found = false;
    while (low < high && !*is_found) {
        uint32_t middle = (low + high) / 2;
        const struct record *record = recorder->records[middle];
        int order = peri_snapshot_compare(peri_slice(record->path, record->path_len), path);
        if (order == 0)
            *is_found = true;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return high;
}

static struct record *add(struct peri_recorder *recorder, uint32_t index, struct peri_slice path)
{
    struct record *record = calloc(1, sizeof(*record) + path.len + 1);
    if (!record)
        return NULL;
    memcpy(record->path, path.ptr, path.len);
    record->path_len = path.len;
    struct record **place = recorder->records + index;
    memmove(place + 1, place, (recorder->count - index) * sizeof(*place));
    *place = record;
    recorder->count++;
    return record;
}

// Names that a line cannot hold are left out, as hidden ones are.
static int is_shown(const struct dirent *entry)
{
    return entry->d_name[0] != '.' && !strchr(entry->d_name, '\n');
}

static peri_err_t read_folder(struct peri_recorder *recorder, const char *path, struct peri_slice *names)
{
    struct dirent **entries = NULL;
    char *text = NULL;
    size_t len = 0;
    int count = scandirat(recorder->directory, path, &entries, is_shown, alphasort);
    if (count < 0)
        return errno == ENOENT || errno == ENOTDIR ? PERI_ERR_NOT_FOUND : PERI_ERR_SYSTEM;
    FILE *out = open_memstream(&text, &len);
    for (int i = 0; i < count; i++) {
        if (out)
            fprintf(out, "%s\n", entries[i]->d_name);
        free(entries[i]);
    }
    free(entries);
    if (!out || fclose(out) != 0) {
        free(text);
        return PERI_ERR_NOMEM;
    }
    *names = peri_slice(text, len);
    if (len <= PERI_SNAPSHOT_FILE && len <= PERI_SNAPSHOT_TOTAL - recorder->total)
        return PERI_OK;
    free(text);
    *names = peri_slice(NULL, 0);
    return PERI_ERR_LIMIT;
}

static peri_err_t ask(struct peri_recorder *recorder, struct peri_slice path, struct peri_slice *bytes)
{
    bool is_found;
    uint32_t index = find(recorder, path, &is_found);
    struct record *record = is_found ? recorder->records[index] : NULL;
    if (!record) {
        if (recorder->count == PERI_SNAPSHOT_FILES)
            return PERI_ERR_LIMIT;
        record = add(recorder, index, path);
        if (!record)
            return PERI_ERR_NOMEM;
        bool is_folder = path.ptr[path.len - 1] == '/';
        record->err = (is_folder ? read_folder : read_file)(recorder, record->path, &record->bytes);
        recorder->total += record->bytes.len;
    }
    *bytes = record->bytes;
    return record->err;
}

static peri_err_t on_read(void *data, struct peri_slice path, struct peri_slice *bytes)
{
    *bytes = peri_slice(NULL, 0);
    return peri_snapshot_is_path(path) ? ask(data, path, bytes) : PERI_ERR_INVALID;
}

static peri_err_t on_names(void *data, struct peri_slice path, struct peri_slice *names)
{
    char key[PERI_SNAPSHOT_PATH];
    *names = peri_slice(NULL, 0);
    return peri_snapshot_folder(path, key) ? ask(data, peri_slice_from(key), names) : PERI_ERR_INVALID;
}

static void on_secret(void *data, struct peri_slice path)
{
    const struct peri_recorder *recorder = data;
    bool is_found;
    uint32_t index = find(recorder, path, &is_found);
    if (is_found)
        recorder->records[index]->is_secret = true;
}

peri_err_t peri_recorder_put(struct peri_recorder *recorder, struct peri_slice path, const char *text)
{
    bool is_found;
    char *copy = strdup(text);
    uint32_t index = find(recorder, path, &is_found);
    peri_assert(!is_found);
    struct record *record = copy ? add(recorder, index, path) : NULL;
    if (!record) {
        free(copy);
        return PERI_ERR_NOMEM;
    }
    record->bytes = peri_slice_from(copy);
    recorder->total += record->bytes.len;
    return PERI_OK;
}

// Folders in an order that does not depend on the file system.
static int is_folder(const struct dirent *entry)
{
    return entry->d_name[0] != '.' && (entry->d_type == DT_DIR || entry->d_type == DT_LNK);
}

static char *on_list(void *data, struct peri_slice path)
{
    const struct peri_recorder *recorder = data;
    struct dirent **entries = NULL;
    char name[PERI_SNAPSHOT_PATH];
    char *names = NULL;
    size_t len;
    if (!peri_snapshot_is_path(path))
        return NULL;
    snprintf(name, sizeof(name), "%.*s", (int)path.len, path.ptr);
    int count = scandirat(recorder->directory, name, &entries, is_folder, alphasort);
    FILE *out = count > 0 ? open_memstream(&names, &len) : NULL;
    for (int i = 0; i < count; i++) {
        if (out)
            fprintf(out, "%s\n", entries[i]->d_name);
        free(entries[i]);
    }
    free(entries);
    if (out)
        fclose(out);
    return names;
}

static void put(struct peri_slice part, char **at)
{
    if (part.len > 0)
        memcpy(*at, part.ptr, part.len);
    *at += part.len;
}

static size_t body_size(const struct peri_recorder *recorder, struct peri_slice entry)
{
    size_t size = entry.len;
    for (uint32_t i = 0; i < recorder->count; i++)
        size += sizeof(struct peri_snapshot_record) + recorder->records[i]->path_len + recorder->records[i]->bytes.len;
    return size;
}

static void write_body(const struct peri_recorder *recorder, struct peri_slice entry, char *at)
{
    put(entry, &at);
    for (uint32_t i = 0; i < recorder->count; i++) {
        const struct record *record = recorder->records[i];
        struct peri_snapshot_record head = {
            .path_len = (uint32_t)record->path_len,
            .err = (uint16_t)record->err,
            .is_secret = record->is_secret,
            .len = record->bytes.len,
        };
        put(peri_slice((const char *)&head, sizeof(head)), &at);
        put(peri_slice(record->path, record->path_len), &at);
        put(record->bytes, &at);
    }
}

int peri_recorder_finish(const struct peri_recorder *recorder, struct peri_slice entry)
{
    struct peri_snapshot_head head = {
        .magic = PERI_SNAPSHOT_MAGIC,
        .count = recorder->count,
        .entry_len = (uint32_t)entry.len,
    };
    size_t size = body_size(recorder, entry);
    char *body = malloc(size + 1);
    int fd = -1;
    if (!body || entry.len >= PERI_SNAPSHOT_PATH) {
        errno = ENOMEM;
    } else {
        write_body(recorder, entry, body);
        struct peri_slice parts[] = {peri_slice((const char *)&head, sizeof(head)), peri_slice(body, size)};
        if (peri_digest_sha256(parts[1], head.digest) == PERI_OK)
            fd = peri_memfd_new("perigee-snapshot", parts, 2);
    }
    free(body);
    return fd;
}
