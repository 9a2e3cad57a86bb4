// SPDX-License-Identifier: MIT
// hiredis' reader with object functions of our own, which append to the flat list and refuse what is too much.
#include "event/redis_reply.h"

#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"

struct peri_redis_reader {
    redisReader *parser; ///< owned
    struct peri_redis_value *values;
    uint32_t count;
    uint32_t capacity;
    char *text;
    size_t text_len;
    size_t text_capacity;
    peri_err_t err; ///< why an object function refused
    struct peri_redis_reply reply;
};

static bool values_reserve(struct peri_redis_reader *reader)
{
    if (reader->count < reader->capacity)
        return true;
    uint32_t capacity = reader->capacity ? reader->capacity * 2 : 16;
    struct peri_redis_value *values = realloc(reader->values, capacity * sizeof(*values));
    if (!values)
        return false;
    reader->values = values;
    reader->capacity = capacity;
    return true;
}

// Each returns something that is not NULL, or NULL with reader->err: hiredis gives up then.
static struct peri_redis_value *value_add(const redisReadTask *task, enum peri_redis_type type)
{
    struct peri_redis_reader *reader = task->privdata;
    if (!task->parent)
        reader->count = 0, reader->text_len = 0; // a new reply
    if (reader->count >= PERI_REDIS_REPLY_VALUES)
        reader->err = PERI_ERR_RESPONSE_TOO_LARGE;
    else if (!values_reserve(reader))
        reader->err = PERI_ERR_NOMEM;
    if (reader->err != PERI_OK)
        return NULL;
    struct peri_redis_value *value = &reader->values[reader->count++];
    *value = (struct peri_redis_value){.type = type};
    return value;
}

static bool text_reserve(struct peri_redis_reader *reader, size_t len)
{
    size_t needed = reader->text_len + len, capacity = reader->text_capacity ? reader->text_capacity : 256;
    if (needed > PERI_REDIS_REPLY_BYTES)
        reader->err = PERI_ERR_RESPONSE_TOO_LARGE;
    if (needed > PERI_REDIS_REPLY_BYTES || needed <= reader->text_capacity)
        return reader->err == PERI_OK;
    while (capacity < needed)
        capacity *= 2;
    char *text = realloc(reader->text, capacity);
    if (!text) {
        reader->err = PERI_ERR_NOMEM;
        return false;
    }
    reader->text = text;
    reader->text_capacity = capacity;
    return true;
}

static void *create_string(const redisReadTask *task, char *bytes, size_t len)
{
    struct peri_redis_reader *reader = task->privdata;
    bool is_error = task->type == REDIS_REPLY_ERROR;
    struct peri_redis_value *value = value_add(task, is_error ? PERI_REDIS_ERROR : PERI_REDIS_STRING);
    if (!value || !text_reserve(reader, len))
        return NULL;
    value->at = (uint32_t)reader->text_len;
    value->len = (uint32_t)len;
    if (len > 0)
        memcpy(reader->text + reader->text_len, bytes, len);
    reader->text_len += len;
    return reader;
}

static void *create_array(const redisReadTask *task, int count)
{
    struct peri_redis_reader *reader = task->privdata;
    struct peri_redis_value *value = value_add(task, PERI_REDIS_ARRAY);
    if (!value || count < 0)
        return NULL;
    value->count = (uint32_t)count;
    if (value->count <= PERI_REDIS_REPLY_VALUES)
        return reader;
    reader->err = PERI_ERR_RESPONSE_TOO_LARGE;
    return NULL;
}

static void *create_integer(const redisReadTask *task, long long integer)
{
    struct peri_redis_value *value = value_add(task, PERI_REDIS_INTEGER);
    if (value)
        value->integer = integer;
    return value ? task->privdata : NULL;
}

static void *create_nil(const redisReadTask *task)
{
    return value_add(task, PERI_REDIS_NIL) ? task->privdata : NULL;
}

static redisReplyObjectFunctions functions = {
    .createString = create_string,
    .createArray = create_array,
    .createInteger = create_integer,
    .createNil = create_nil,
};

struct peri_redis_reader *peri_redis_reader_new(void)
{
    struct peri_redis_reader *reader = calloc(1, sizeof(*reader));
    if (!reader)
        return NULL;
    reader->parser = redisReaderCreateWithFunctions(&functions);
    if (!reader->parser) {
        free(reader);
        return NULL;
    }
    reader->parser->privdata = reader;
    return reader;
}

void peri_redis_reader_free(struct peri_redis_reader *reader)
{
    if (!reader)
        return;
    redisReaderFree(reader->parser);
    free(reader->values);
    free(reader->text);
    free(reader);
}

peri_err_t peri_redis_reader_feed(struct peri_redis_reader *reader, struct peri_slice data)
{
    size_t waiting = reader->parser->len - reader->parser->pos;
    if (waiting + data.len >
        2 * PERI_REDIS_REPLY_BYTES) // the largest reply with its framing, and what came with its end
        return PERI_ERR_RESPONSE_TOO_LARGE;
    return redisReaderFeed(reader->parser, data.ptr, data.len) == REDIS_OK ? PERI_OK : PERI_ERR_NOMEM;
}

peri_err_t peri_redis_reader_next(struct peri_redis_reader *reader, const struct peri_redis_reply **reply)
{
    void *object = NULL;
    if (redisReaderGetReply(reader->parser, &object) != REDIS_OK)
        return reader->err != PERI_OK ? reader->err : PERI_ERR_UPSTREAM_PROTOCOL;
    if (!object)
        return PERI_ERR_AGAIN;
    peri_debug_assert(object == reader && reader->count > 0);
    reader->reply = (struct peri_redis_reply){.values = reader->values, .count = reader->count, .text = reader->text};
    *reply = &reader->reply;
    return PERI_OK;
}

struct peri_slice peri_redis_text(const struct peri_redis_reply *reply, const struct peri_redis_value *value)
{
    return peri_slice(value->len > 0 ? reply->text + value->at : "", value->len);
}

// ---- commands ----

peri_err_t peri_redis_format(const struct peri_slice *args, uint32_t count, struct peri_slice *bytes)
{
    const char *texts[PERI_REDIS_ARGS];
    size_t lengths[PERI_REDIS_ARGS];
    char *command;
    peri_debug_assert(count >= 1 && count <= PERI_REDIS_ARGS);
    for (uint32_t i = 0; i < count; i++) {
        texts[i] = args[i].ptr;
        lengths[i] = args[i].len;
    }
    int len = redisFormatCommandArgv(&command, (int)count, texts, lengths);
    if (len < 0)
        return PERI_ERR_NOMEM;
    *bytes = peri_slice(command, (size_t)len);
    return PERI_OK;
}

const char *peri_redis_version(void)
{
    static char text[32];
    snprintf(text, sizeof(text), "%d.%d.%d", HIREDIS_MAJOR, HIREDIS_MINOR, HIREDIS_PATCH);
    return text;
}
