// SPDX-License-Identifier: MIT
// The chain of chunks behind a byte queue.
#include "base/buf.h"

#include <stdlib.h>

#include "base/assert.h"

#define PERI_BUF_CHUNK (16384 - 64) ///< bytes a chunk holds at least, so that small puts share one

struct peri_buf_chunk {
    struct peri_buf_chunk *next;
    size_t size;  ///< capacity of `data`
    size_t begin; ///< first byte not yet taken
    size_t end;   ///< one past the last byte put
    char data[];
};

void peri_buf_init(struct peri_buf *buf)
{
    *buf = (struct peri_buf){0};
}

static void buf_drop_first(struct peri_buf *buf)
{
    struct peri_buf_chunk *chunk = buf->first;
    buf->first = chunk->next;
    if (!buf->first)
        buf->last = NULL;
    free(chunk);
}

void peri_buf_close(struct peri_buf *buf)
{
    while (buf->first)
        buf_drop_first(buf);
    buf->len = 0;
}

static struct peri_buf_chunk *buf_add_chunk(struct peri_buf *buf, size_t len)
{
    size_t size = len < PERI_BUF_CHUNK ? PERI_BUF_CHUNK : len;
    struct peri_buf_chunk *chunk = malloc(sizeof(*chunk) + size);
    if (!chunk)
        return NULL;
    chunk->next = NULL;
    chunk->size = size;
    chunk->begin = chunk->end = 0;
    if (buf->last)
        buf->last->next = chunk;
    else
        buf->first = chunk;
    buf->last = chunk;
    return chunk;
}

peri_err_t peri_buf_put(struct peri_buf *buf, struct peri_slice data)
{
    if (data.len == 0)
        return PERI_OK;
    struct peri_buf_chunk *chunk = buf->last;
    if (!chunk || chunk->size - chunk->end < data.len)
        chunk = buf_add_chunk(buf, data.len);
    if (!chunk)
        return PERI_ERR_NOMEM;
    memcpy(chunk->data + chunk->end, data.ptr, data.len);
    chunk->end += data.len;
    buf->len += data.len;
    return PERI_OK;
}

struct peri_slice peri_buf_peek(const struct peri_buf *buf)
{
    const struct peri_buf_chunk *chunk = buf->first;
    return chunk ? peri_slice(chunk->data + chunk->begin, chunk->end - chunk->begin) : peri_slice(NULL, 0);
}

unsigned peri_buf_peek_many(const struct peri_buf *buf, struct peri_slice *runs, unsigned max)
{
    unsigned count = 0;
    for (const struct peri_buf_chunk *chunk = buf->first; chunk && count < max; chunk = chunk->next)
        runs[count++] = peri_slice(chunk->data + chunk->begin, chunk->end - chunk->begin);
    return count;
}

struct peri_slice peri_buf_peek_at(const struct peri_buf *buf, size_t at)
{
    for (const struct peri_buf_chunk *chunk = buf->first; chunk; chunk = chunk->next) {
        size_t here = chunk->end - chunk->begin;
        if (at < here)
            return peri_slice(chunk->data + chunk->begin + at, here - at);
        at -= here;
    }
    return peri_slice(NULL, 0);
}

void peri_buf_take(struct peri_buf *buf, size_t len)
{
    peri_assert(len <= buf->len);
    buf->len -= len;
    while (len > 0) {
        struct peri_buf_chunk *chunk = buf->first;
        size_t here = chunk->end - chunk->begin;
        size_t part = len < here ? len : here;
        chunk->begin += part;
        len -= part;
        if (chunk->begin == chunk->end)
            buf_drop_first(buf);
    }
}

void peri_buf_copy(const struct peri_buf *buf, char *out)
{
    for (const struct peri_buf_chunk *chunk = buf->first; chunk; chunk = chunk->next) {
        memcpy(out, chunk->data + chunk->begin, chunk->end - chunk->begin);
        out += chunk->end - chunk->begin;
    }
}
