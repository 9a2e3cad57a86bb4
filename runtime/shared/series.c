// SPDX-License-Identifier: MIT
// A family is found by its name, a series through an open-addressed hash of family and label values. Both are looked for
// without the lock first; only what is new takes it.
#include "shared/series.h"

#include <math.h>

#include "shared/hash.h"
#include "shared/segment.h"
#include "shared/series_table.h"

#define SERIES_CELL_LAST (PERI_METRICS_CELLS - PERI_SERIES_BOUNDS - 2) // a histogram that begins here still fits

// ---- names and labels

bool peri_series_unpack(struct peri_slice *packed, struct peri_slice *item)
{
    uint16_t len;
    if (packed->len < sizeof(len))
        return false;
    memcpy(&len, packed->ptr, sizeof(len));
    if (packed->len - sizeof(len) < len)
        return false;
    *item = peri_slice(packed->ptr + sizeof(len), len);
    *packed = peri_slice(packed->ptr + sizeof(len) + len, packed->len - sizeof(len) - len);
    return true;
}

static bool is_word(struct peri_slice text, bool may_have_colon)
{
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        bool is_letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (c == ':' && may_have_colon);
        if (!is_letter && !(i > 0 && c >= '0' && c <= '9'))
            return false;
    }
    return text.len > 0;
}

static bool is_metric_name(struct peri_slice name)
{
    return name.len <= PERI_SERIES_NAME_MAX && is_word(name, true) && !peri_slice_starts(name, PERI_SLICE("perigee_"));
}

static bool is_label_name(struct peri_slice name)
{
    return name.len <= PERI_SERIES_LABEL_MAX && is_word(name, false) && !peri_slice_starts(name, PERI_SLICE("__")) &&
           !peri_slice_eq(name, PERI_SLICE("le"));
}

// Number of strings in a packed sequence; -1 when it is malformed.
static int packed_count(struct peri_slice packed)
{
    struct peri_slice item;
    int count = 0;
    while (packed.len > 0) {
        if (!peri_series_unpack(&packed, &item))
            return -1;
        count++;
    }
    return count;
}

static bool packed_has(struct peri_slice packed, struct peri_slice wanted)
{
    struct peri_slice item;
    while (peri_series_unpack(&packed, &item)) {
        if (peri_slice_eq(item, wanted))
            return true;
    }
    return false;
}

static bool are_labels(struct peri_slice labels)
{
    struct peri_slice item;
    int count = packed_count(labels);
    if (count < 0 || count > PERI_SERIES_LABELS)
        return false;
    while (peri_series_unpack(&labels, &item)) {
        if (!is_label_name(item) || packed_has(labels, item))
            return false;
    }
    return true;
}

static bool are_bounds(const struct peri_series_spec *spec)
{
    if (spec->type != PERI_SERIES_HISTOGRAM)
        return spec->bound_count == 0;
    for (uint32_t i = 0; i < spec->bound_count && i < PERI_SERIES_BOUNDS; i++) {
        if (!isfinite(spec->bounds[i]) || (i > 0 && spec->bounds[i] <= spec->bounds[i - 1]))
            return false;
    }
    return spec->bound_count > 0 && spec->bound_count <= PERI_SERIES_BOUNDS;
}

// ---- families

uint32_t peri_series_family_count(const struct peri_shm *shm)
{
    uint32_t count = __atomic_load_n(&shm->series->family_count, __ATOMIC_ACQUIRE);
    return count < PERI_SERIES_FAMILIES ? count : PERI_SERIES_FAMILIES;
}

static struct peri_slice bounded(const char *ptr, size_t len, size_t size)
{
    return peri_slice(ptr, len < size ? len : size);
}

void peri_series_family_get(const struct peri_shm *shm, uint32_t family, struct peri_series_family_info *out)
{
    const struct peri_series_family_row *row = &shm->series->families[family];
    out->type = row->type <= PERI_SERIES_HISTOGRAM ? (enum peri_series_type)row->type : PERI_SERIES_COUNTER;
    out->name = bounded(row->name, row->name_len, sizeof(row->name));
    out->help = bounded(row->help, row->help_len, sizeof(row->help));
    out->labels = bounded(row->labels, row->labels_len, sizeof(row->labels));
    out->bounds = row->bounds;
    out->bound_count = row->bound_count < PERI_SERIES_BOUNDS ? row->bound_count : PERI_SERIES_BOUNDS;
}

static int32_t family_find(const struct peri_shm *shm, struct peri_slice name)
{
    uint32_t count = peri_series_family_count(shm);
    for (uint32_t i = 0; i < count; i++) {
        const struct peri_series_family_row *row = &shm->series->families[i];
        if (peri_slice_eq(bounded(row->name, row->name_len, sizeof(row->name)), name))
            return (int32_t)i;
    }
    return PERI_SERIES_FULL;
}

static int32_t family_agree(const struct peri_shm *shm, int32_t family, const struct peri_series_spec *spec)
{
    struct peri_series_family_info info;
    peri_series_family_get(shm, (uint32_t)family, &info);
    bool is_same =
        info.type == spec->type && peri_slice_eq(info.labels, spec->labels) && info.bound_count == spec->bound_count;
    for (uint32_t i = 0; is_same && i < info.bound_count; i++)
        is_same = info.bounds[i] == spec->bounds[i];
    return is_same ? family : PERI_SERIES_CONFLICT;
}

// What is empty may be NULL.
static void copy(void *to, const void *from, size_t len)
{
    if (len > 0)
        memcpy(to, from, len);
}

static int32_t family_add(struct peri_shm *shm, const struct peri_series_spec *spec)
{
    uint32_t count = peri_series_family_count(shm);
    if (count == PERI_SERIES_FAMILIES)
        return PERI_SERIES_FULL;
    struct peri_series_family_row *row = &shm->series->families[count];
    row->type = spec->type;
    row->name_len = (uint16_t)spec->name.len;
    row->help_len = (uint16_t)(spec->help.len < sizeof(row->help) ? spec->help.len : sizeof(row->help));
    row->labels_len = (uint16_t)spec->labels.len;
    row->label_count = (uint16_t)packed_count(spec->labels);
    row->bound_count = spec->bound_count;
    memcpy(row->name, spec->name.ptr, spec->name.len);
    copy(row->help, spec->help.ptr, row->help_len);
    copy(row->labels, spec->labels.ptr, spec->labels.len);
    copy(row->bounds, spec->bounds, spec->bound_count * sizeof(double));
    __atomic_store_n(&shm->series->family_count, count + 1, __ATOMIC_RELEASE);
    return (int32_t)count;
}

int32_t peri_series_family(struct peri_shm *shm, const struct peri_series_spec *spec)
{
    static const double seconds[PERI_METRICS_BOUNDS] = {0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25,
                                                        0.5,   0.75, 1,     2.5,  5,     7.5, 10};
    struct peri_series_spec full = *spec;
    if (!is_metric_name(full.name))
        return PERI_SERIES_BAD_NAME;
    if (!are_labels(full.labels))
        return PERI_SERIES_BAD_LABEL;
    if (full.type == PERI_SERIES_HISTOGRAM && full.bound_count == 0) {
        full.bounds = seconds;
        full.bound_count = PERI_METRICS_BOUNDS;
    }
    if (!are_bounds(&full))
        return PERI_SERIES_BAD_BOUNDS;
    int32_t family = family_find(shm, full.name);
    if (family >= 0)
        return family_agree(shm, family, &full);
    peri_shm_registry_acquire(shm);
    family = family_find(shm, full.name);
    family = family >= 0 ? family_agree(shm, family, &full) : family_add(shm, &full);
    peri_shm_registry_release(shm);
    return family;
}

// ---- series

uint32_t peri_series_count(const struct peri_shm *shm)
{
    uint32_t count = __atomic_load_n(&shm->series->count, __ATOMIC_ACQUIRE);
    return count < PERI_SERIES_MAX ? count : PERI_SERIES_MAX;
}

uint64_t peri_series_dropped(const struct peri_shm *shm)
{
    return __atomic_load_n(&shm->series->dropped, __ATOMIC_RELAXED);
}

uint32_t peri_series_get(const struct peri_shm *shm, uint32_t series, struct peri_slice *values)
{
    const struct peri_series_row *row = &shm->series->rows[series];
    *values = bounded(row->values, row->values_len, sizeof(row->values));
    return row->family;
}

// Walks the places of a hash until the series or an empty place is met.
static int32_t series_find(const struct peri_shm *shm, uint32_t family, struct peri_slice values, uint32_t *place)
{
    uint64_t secret[2] = {shm->head->hash_secret[0], shm->head->hash_secret[1] ^ family};
    uint32_t at = (uint32_t)peri_hash(secret, values) % PERI_SERIES_PLACES;
    uint32_t count = peri_series_count(shm);
    for (uint32_t steps = 0; steps < PERI_SERIES_PLACES; steps++, at = (at + 1) % PERI_SERIES_PLACES) {
        uint32_t number = __atomic_load_n(&shm->series->places[at], __ATOMIC_ACQUIRE);
        *place = at;
        if (number == 0)
            return -1;
        struct peri_slice other;
        if (number <= count && peri_series_get(shm, number - 1, &other) == family && peri_slice_eq(other, values))
            return (int32_t)(number - 1);
    }
    *place = PERI_SERIES_PLACES;
    return -1;
}

static uint32_t cells_of(const struct peri_series_family_row *family)
{
    return family->type == PERI_SERIES_HISTOGRAM ? family->bound_count + 2 : family->type == PERI_SERIES_COUNTER;
}

// The place is written before the count covers the row: until then readers pass over it.
static int32_t series_add(struct peri_shm *shm, uint32_t family, struct peri_slice values, uint32_t place)
{
    struct peri_series_table *table = shm->series;
    uint32_t count = peri_series_count(shm);
    uint32_t cells = cells_of(&table->families[family]);
    if (count == PERI_SERIES_MAX || place == PERI_SERIES_PLACES || table->cells > SERIES_CELL_LAST)
        return -1;
    struct peri_series_row *row = &table->rows[count];
    row->family = family;
    row->cell = table->cells;
    row->gauge = 0;
    row->values_len = (uint16_t)values.len;
    copy(row->values, values.ptr, values.len);
    table->cells += cells;
    __atomic_store_n(&table->places[place], count + 1, __ATOMIC_RELEASE);
    __atomic_store_n(&table->count, count + 1, __ATOMIC_RELEASE);
    return (int32_t)count;
}

static int32_t series_drop(struct peri_shm *shm)
{
    __atomic_fetch_add(&shm->series->dropped, 1, __ATOMIC_RELAXED);
    return -1;
}

int32_t peri_series_open(struct peri_shm *shm, int32_t family, struct peri_slice values)
{
    uint32_t place;
    if (family < 0 || (uint32_t)family >= peri_series_family_count(shm) || values.len > PERI_SERIES_VALUES_MAX ||
        packed_count(values) != shm->series->families[family].label_count)
        return series_drop(shm);
    int32_t series = series_find(shm, (uint32_t)family, values, &place);
    if (series >= 0)
        return series;
    if (peri_series_count(shm) == PERI_SERIES_MAX)
        return series_drop(shm); // full: no lock for what can never fit
    peri_shm_registry_acquire(shm);
    series = series_find(shm, (uint32_t)family, values, &place);
    if (series < 0)
        series = series_add(shm, (uint32_t)family, values, place);
    peri_shm_registry_release(shm);
    return series >= 0 ? series : series_drop(shm);
}

// ---- values

// The row of a series whose family has `type`; NULL for anything else.
static struct peri_series_row *series_row(struct peri_shm *shm, int32_t series, enum peri_series_type type,
                                          struct peri_series_family_info *family)
{
    if (series < 0 || (uint32_t)series >= peri_series_count(shm))
        return NULL;
    struct peri_series_row *row = &shm->series->rows[series];
    if (row->family >= peri_series_family_count(shm) || row->cell > SERIES_CELL_LAST)
        return NULL;
    peri_series_family_get(shm, row->family, family);
    return family->type == type ? row : NULL;
}

static double gauge_load(const struct peri_series_row *row)
{
    uint64_t bits = __atomic_load_n(&row->gauge, __ATOMIC_RELAXED);
    double value;
    memcpy(&value, &bits, sizeof(value));
    return value;
}

static void gauge_add(struct peri_series_row *row, double by)
{
    uint64_t before = __atomic_load_n(&row->gauge, __ATOMIC_RELAXED);
    uint64_t after;
    double value;
    do {
        memcpy(&value, &before, sizeof(value));
        value += by;
        memcpy(&after, &value, sizeof(value));
    } while (!__atomic_compare_exchange_n(&row->gauge, &before, after, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
}

void peri_series_add(struct peri_shm *shm, uint32_t worker, int32_t series, double by)
{
    struct peri_series_family_info family;
    struct peri_series_row *row = series_row(shm, series, PERI_SERIES_COUNTER, &family);
    if (row && by >= 0 && worker < shm->workers)
        shm->pages[worker].cells[row->cell] += by;
    else if (!row && (row = series_row(shm, series, PERI_SERIES_GAUGE, &family)))
        gauge_add(row, by);
}

void peri_series_set(struct peri_shm *shm, int32_t series, double value)
{
    struct peri_series_family_info family;
    struct peri_series_row *row = series_row(shm, series, PERI_SERIES_GAUGE, &family);
    uint64_t bits;
    memcpy(&bits, &value, sizeof(bits));
    if (row)
        __atomic_store_n(&row->gauge, bits, __ATOMIC_RELAXED);
}

void peri_series_observe(struct peri_shm *shm, uint32_t worker, int32_t series, double value)
{
    struct peri_series_family_info family;
    struct peri_series_row *row = series_row(shm, series, PERI_SERIES_HISTOGRAM, &family);
    if (!row || worker >= shm->workers || isnan(value))
        return;
    double *cells = &shm->pages[worker].cells[row->cell];
    uint32_t i = 0;
    while (i < family.bound_count && value > family.bounds[i])
        i++;
    cells[i]++;
    cells[family.bound_count + 1] += value;
}

static double cell_load(const double *cell)
{
    double value;
    __atomic_load(cell, &value, __ATOMIC_RELAXED);
    return value;
}

void peri_series_sum(const struct peri_shm *shm, uint32_t series, double cells[PERI_SERIES_BOUNDS + 2])
{
    const struct peri_series_row *row = &shm->series->rows[series];
    memset(cells, 0, (PERI_SERIES_BOUNDS + 2) * sizeof(double));
    if (row->family >= PERI_SERIES_FAMILIES || row->cell > SERIES_CELL_LAST)
        return;
    const struct peri_series_family_row *family = &shm->series->families[row->family];
    uint32_t count = cells_of(family);
    if (family->type == PERI_SERIES_GAUGE)
        cells[0] = gauge_load(row);
    for (uint32_t worker = 0; worker < shm->workers; worker++) {
        const struct peri_metrics_page *page = peri_shm_page(shm, worker);
        for (uint32_t i = 0; page && i < count && i < PERI_SERIES_BOUNDS + 2; i++)
            cells[i] += cell_load(&page->cells[row->cell + i]);
    }
}

void peri_series_reset(struct peri_shm *shm)
{
    for (uint32_t i = 0; i < peri_series_count(shm); i++)
        shm->series->rows[i].gauge = 0;
    shm->series->dropped = 0;
}
