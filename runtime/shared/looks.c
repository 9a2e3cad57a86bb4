// SPDX-License-Identifier: MIT
// Cells of looks: plain stores by their worker, read by others with a version around the text.
#include "shared/looks.h"

#include <string.h>

#include "base/assert.h"
#include "base/slice.h"
#include "shared/metrics.h"
#include "shared/segment.h"
#include "shared/utf8.h"

#define READS_MAX 8 // of a text that changes meanwhile

_Static_assert(sizeof(struct peri_look_cell) % 64 == 0, "cells do not share cache lines");

static void put_text(char to[PERI_LOOK_TEXT], struct peri_slice text)
{
    size_t at = 0, i = 0;
    while (i < text.len && at + 4 < PERI_LOOK_TEXT) {
        size_t len = peri_utf8_len(peri_slice(text.ptr + i, text.len - i));
        bool is_good = len > 1 || (len == 1 && (unsigned char)text.ptr[i] >= ' ' && text.ptr[i] != 0x7f);
        if (is_good)
            memcpy(to + at, text.ptr + i, len);
        else
            to[at] = '?';
        at += is_good ? len : 1;
        i += len > 0 ? len : 1;
    }
    to[at] = '\0';
}

static void set_problem(struct peri_look_cell *cell, const char *problem)
{
    uint32_t version = cell->version | 1; // a worker that died inside left it odd
    __atomic_store_n(&cell->version, version, __ATOMIC_RELAXED);
    __atomic_thread_fence(__ATOMIC_RELEASE);
    put_text(cell->problem, peri_slice_from(problem));
    __atomic_store_n(&cell->version, version + 1, __ATOMIC_RELEASE);
}

void peri_look_count(struct peri_metrics_page *page, int32_t upstream, enum peri_look_result result,
                     const char *problem, uint64_t now_ms)
{
    peri_assert(result < PERI_LOOK_RESULTS && (result == PERI_LOOK_FAILURE) == (problem != NULL));
    struct peri_look_cell *cell = &page->looks[(uint32_t)upstream < PERI_METRICS_UPSTREAMS ? upstream : 0];
    if (problem)
        set_problem(cell, problem);
    cell->counts[result]++;
    __atomic_store_n(&cell->ended_ms[result], now_ms, __ATOMIC_RELAXED);
}

// False when the text kept changing, or its writer died.
static bool read_problem(const struct peri_look_cell *cell, char problem[PERI_LOOK_TEXT])
{
    for (unsigned i = 0; i < READS_MAX; i++) {
        uint32_t before = __atomic_load_n(&cell->version, __ATOMIC_ACQUIRE);
        memcpy(problem, cell->problem, PERI_LOOK_TEXT);
        __atomic_thread_fence(__ATOMIC_ACQUIRE);
        problem[PERI_LOOK_TEXT - 1] = '\0';
        if (before % 2 == 0 && __atomic_load_n(&cell->version, __ATOMIC_RELAXED) == before)
            return true;
    }
    return false;
}

static void add_cell(const struct peri_look_cell *cell, struct peri_look_sum *out)
{
    uint64_t failed_ms = __atomic_load_n(&cell->ended_ms[PERI_LOOK_FAILURE], __ATOMIC_RELAXED);
    if (failed_ms > out->ended_ms[PERI_LOOK_FAILURE] && !read_problem(cell, out->problem))
        out->problem[0] = '\0';
    for (unsigned i = 0; i < PERI_LOOK_RESULTS; i++) {
        uint64_t ended_ms = __atomic_load_n(&cell->ended_ms[i], __ATOMIC_RELAXED);
        out->counts[i] += __atomic_load_n(&cell->counts[i], __ATOMIC_RELAXED);
        out->ended_ms[i] = ended_ms > out->ended_ms[i] ? ended_ms : out->ended_ms[i];
    }
}

void peri_look_sum(const struct peri_shm *shm, uint32_t upstream, struct peri_look_sum *out)
{
    peri_assert(upstream < PERI_METRICS_UPSTREAMS);
    *out = (struct peri_look_sum){0};
    for (uint32_t worker = 0; worker < shm->workers; worker++) {
        const struct peri_metrics_page *page = peri_shm_page(shm, worker);
        if (page)
            add_cell(&page->looks[upstream], out);
    }
}

const char *peri_look_result_name(uint32_t result)
{
    static const char *const names[PERI_LOOK_RESULTS] = {"success", "empty", "failure"};
    return result < PERI_LOOK_RESULTS ? names[result] : "";
}
