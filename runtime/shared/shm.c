// SPDX-License-Identifier: MIT
// Makes, checks and maps the memory. The layout follows from two numbers in the head (workers and
// bytes of dictionaries); a process that attaches computes it again and compares.
#include "shared/shm.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "shared/endpoints_table.h"
#include "shared/segment.h"
#include "shared/series_table.h"
#include "shared/shard.h"

#define SHM_PAGE 4096u

_Static_assert(sizeof(struct peri_shm_head) <= SHM_PAGE, "the head is the first page");

// ---- layout

// Gives out sections, each on pages of its own; with a NULL base it only measures.
struct shm_layout {
    char *base;
    uint64_t used;
};

static void *layout_take(struct shm_layout *layout, uint64_t bytes)
{
    uint64_t at = layout->used;
    layout->used += (bytes + SHM_PAGE - 1) & ~(uint64_t)(SHM_PAGE - 1);
    return layout->base ? layout->base + at : NULL;
}

static struct peri_names layout_names(struct shm_layout *layout, uint32_t *count, uint32_t size)
{
    return (struct peri_names){count, layout_take(layout, (uint64_t)size * sizeof(struct peri_name)), size};
}

// Sets the sections of `shm` for its numbers of workers and shards; shm->base may be NULL. Returns the bytes they take.
static uint64_t shm_lay_out(struct peri_shm *shm)
{
    struct shm_layout layout = {shm->base, 0};
    struct peri_shm_head *head = layout_take(&layout, sizeof(*head));
    shm->head = head;
    shm->slots = layout_take(&layout, shm->workers * sizeof(struct peri_shm_slot));
    shm->routes = layout_names(&layout, head ? &head->route_count : NULL, PERI_METRICS_ROUTES);
    shm->upstreams = layout_names(&layout, head ? &head->upstream_count : NULL, PERI_METRICS_UPSTREAMS);
    shm->policies = layout_names(&layout, head ? &head->policy_count : NULL, PERI_METRICS_POLICIES);
    shm->listeners = layout_names(&layout, head ? &head->listener_count : NULL, PERI_METRICS_LISTENERS);
    shm->dicts = layout_names(&layout, head ? &head->dict_count : NULL, PERI_SHM_DICTS);
    shm->series = layout_take(&layout, sizeof(struct peri_series_table));
    shm->endpoints = layout_take(&layout, sizeof(struct peri_endpoints_table));
    shm->pages_offset = layout.used;
    shm->pages = layout_take(&layout, (uint64_t)shm->workers * sizeof(struct peri_metrics_page));
    shm->shard_heads = layout_take(&layout, shm->shards * sizeof(struct peri_shard_head));
    shm->shard_data = layout_take(&layout, shm->shards * shm->shard_bytes);
    return layout.used;
}

// Divides the bytes of dictionaries among shards: many, so that workers seldom meet, but none too small.
static void shm_size_shards(struct peri_shm *shm, uint64_t dict_bytes)
{
    shm->shards = 1;
    while (shm->shards < PERI_SHM_SHARDS_MAX && dict_bytes / (shm->shards * 2) >= PERI_SHARD_BYTES_MIN)
        shm->shards *= 2;
    shm->shard_bytes = dict_bytes / shm->shards & ~(uint64_t)(SHM_PAGE - 1);
    shm->shard_places = peri_shard_places(shm->shard_bytes);
}

static bool are_sizes(uint64_t workers, uint64_t dict_bytes)
{
    return workers >= 1 && workers <= PERI_SHM_WORKERS_MAX && dict_bytes >= PERI_SHM_DICT_BYTES_MIN &&
           dict_bytes <= PERI_SHM_DICT_BYTES_MAX;
}

// ---- create and attach

static struct peri_shm *shm_new(int fd, uint32_t workers, uint64_t dict_bytes)
{
    struct peri_shm *shm = calloc(1, sizeof(*shm));
    if (!shm)
        return NULL;
    shm->fd = fd;
    shm->workers = workers;
    shm_size_shards(shm, dict_bytes);
    shm->size = shm_lay_out(shm);
    return shm;
}

static bool shm_map(struct peri_shm *shm)
{
    void *base = mmap(NULL, shm->size, PROT_READ | PROT_WRITE, MAP_SHARED, shm->fd, 0);
    if (base == MAP_FAILED)
        return false;
    shm->base = base;
    shm_lay_out(shm);
    return true;
}

// A memfd that cannot change its size: no process can make another's access fail.
static int shm_open_sealed(uint64_t size)
{
    int fd = memfd_create("perigee", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return -1;
    if (ftruncate(fd, (off_t)size) == 0 && fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0)
        return fd;
    close(fd);
    return -1;
}

static bool shm_fill(struct peri_shm *shm, uint64_t dict_bytes)
{
    struct peri_shm_head *head = shm->head;
    if (getrandom(head->hash_secret, sizeof(head->hash_secret), 0) != sizeof(head->hash_secret) ||
        !peri_lock_init(&head->registry) || peri_tls_ticket_keys_rotate(&head->tickets) != PERI_OK)
        return false;
    for (uint32_t i = 0; i < shm->shards; i++) {
        if (!peri_shard_init(shm, i))
            return false;
    }
    peri_names_add(&shm->routes, 0, PERI_SLICE("other"));
    peri_names_add(&shm->upstreams, 0, PERI_SLICE("other"));
    peri_names_add(&shm->policies, 0, PERI_SLICE("other"));
    peri_names_add(&shm->listeners, 0, PERI_SLICE("other"));
    head->workers = shm->workers;
    head->dict_bytes = dict_bytes;
    head->size = shm->size;
    head->start_ticks = peri_metrics_ticks();
    head->start_ns = peri_metrics_clock_ns();
    head->layout = PERI_SHM_LAYOUT;
    head->magic = PERI_SHM_MAGIC;
    return true;
}

struct peri_shm *peri_shm_create(const struct peri_shm_options *options)
{
    uint64_t dict_bytes = options->dict_bytes ? options->dict_bytes : PERI_SHM_DICT_BYTES_DEFAULT;
    if (dict_bytes < PERI_SHM_DICT_BYTES_MIN)
        dict_bytes = PERI_SHM_DICT_BYTES_MIN;
    if (!are_sizes(options->workers, dict_bytes)) {
        peri_error("shared memory: %u workers and %llu bytes are not possible", options->workers,
                   (unsigned long long)dict_bytes);
        return NULL;
    }
    struct peri_shm *shm = shm_new(-1, options->workers, dict_bytes);
    if (shm && (shm->fd = shm_open_sealed(shm->size)) >= 0 && shm_map(shm) && shm_fill(shm, dict_bytes))
        return shm;
    peri_error("shared memory: cannot be made: %s", strerror(errno));
    peri_shm_close(shm);
    return NULL;
}

// Reads the head of the memory behind `fd` by its own, before anything in it is believed. NULL when it is sound.
static const char *shm_find_fault(int fd, struct peri_shm_head *head)
{
    struct stat info;
    if (fstat(fd, &info) != 0 || pread(fd, head, sizeof(*head), 0) != sizeof(*head))
        return "it cannot be read";
    if (head->magic != PERI_SHM_MAGIC)
        return "it is something else";
    if (head->layout != PERI_SHM_LAYOUT)
        return "it was made by another version of perigee";
    if (!are_sizes(head->workers, head->dict_bytes) || head->size != (uint64_t)info.st_size)
        return "its sizes do not agree";
    return NULL;
}

struct peri_shm *peri_shm_attach(int fd)
{
    struct peri_shm_head head;
    const char *fault = shm_find_fault(fd, &head);
    struct peri_shm *shm = fault ? NULL : shm_new(fd, head.workers, head.dict_bytes);
    if (shm && shm->size != head.size)
        fault = "its sizes do not agree";
    else if (shm && shm_map(shm))
        return shm;
    peri_error("shared memory (descriptor %d): %s", fd, fault ? fault : strerror(errno));
    if (shm)
        peri_shm_close(shm);
    else
        close(fd);
    return NULL;
}

void peri_shm_close(struct peri_shm *shm)
{
    if (!shm)
        return;
    if (shm->base)
        munmap(shm->base, shm->size);
    if (shm->fd >= 0)
        close(shm->fd);
    free(shm);
}

int peri_shm_fd(const struct peri_shm *shm)
{
    return shm->fd;
}

struct peri_slice peri_shm_secret(const struct peri_shm *shm)
{
    return peri_slice((const char *)shm->head->hash_secret, sizeof(shm->head->hash_secret));
}

uint32_t peri_shm_workers(const struct peri_shm *shm)
{
    return shm->workers;
}

struct peri_tls_ticket_keys *peri_shm_ticket_keys(struct peri_shm *shm)
{
    return &shm->head->tickets;
}

void peri_shm_registry_acquire(struct peri_shm *shm)
{
    if (peri_lock_acquire(&shm->head->registry))
        peri_lock_repaired(&shm->head->registry);
}

void peri_shm_registry_release(struct peri_shm *shm)
{
    peri_lock_release(&shm->head->registry);
}

void peri_shm_reset(struct peri_shm *shm)
{
    for (uint32_t i = 0; i < shm->shards; i++) {
        struct peri_shard shard;
        peri_shard_acquire(shm, i, &shard);
        peri_shard_reset(&shard);
        peri_shard_release(&shard);
    }
    // A hole reads as zeroes and costs nothing.
    int rc = fallocate(shm->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)shm->pages_offset,
                       (off_t)(shm->workers * sizeof(struct peri_metrics_page)));
    if (rc != 0)
        memset(shm->pages, 0, shm->workers * sizeof(struct peri_metrics_page));
    peri_series_reset(shm);
    peri_endpoints_reset(shm);
    memset(shm->head->reloads, 0, sizeof(shm->head->reloads));
}
