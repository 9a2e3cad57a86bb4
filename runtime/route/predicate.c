// SPDX-License-Identifier: MIT
// Conditions on method, headers and query.
#include "route/predicate.h"

#include "base/arena.h"
#include "codec/regex.h"
#include "codec/url.h"
#include "exchange/exchange.h"
#include "route/match.h"
#include "route/refuse.h"

// ---------------------------------------------------------------- compiling

static peri_err_t compile_methods(struct peri_predicate *predicate, struct peri_arena *arena,
                                  const struct peri_match *match, char *message, size_t size)
{
    predicate->method_names = peri_arena_alloc(arena, match->method_count * sizeof *predicate->method_names);
    if (!predicate->method_names)
        return PERI_ERR_NOMEM;
    for (uint32_t i = 0; i < match->method_count; i++) {
        struct peri_slice name = match->methods[i];
        enum peri_method method = peri_method_parse(name);
        if (!peri_header_is_name(name))
            return peri_route_refuse(message, size, "method '%.*s' is not a token", (int)name.len, name.ptr);
        if (method != PERI_METHOD_OTHER) {
            predicate->methods |= 1u << method;
            continue;
        }
        struct peri_slice copy = peri_arena_copy(arena, name);
        if (!copy.ptr)
            return PERI_ERR_NOMEM;
        predicate->method_names[predicate->method_name_count++] = copy;
    }
    return PERI_OK;
}

static peri_err_t compile_condition(struct peri_condition *condition, struct peri_arena *arena,
                                    const struct peri_match_field *field, char *message, size_t size)
{
    char why[160] = "out of memory";
    condition->name = peri_arena_copy(arena, field->name);
    condition->value = peri_arena_copy(arena, field->value);
    condition->is_presence = field->is_presence;
    if (!condition->name.ptr || !condition->value.ptr)
        return PERI_ERR_NOMEM;
    if (field->is_presence && field->is_regex)
        return peri_route_refuse(message, size, "'%.*s': present and regex exclude each other", (int)field->name.len,
                                 field->name.ptr);
    if (field->is_regex && !(condition->regex = peri_regex_new(field->value, 0, why, sizeof why)))
        return peri_route_refuse(message, size, "'%.*s': regex '%.*s': %s", (int)field->name.len, field->name.ptr,
                                 (int)field->value.len, field->value.ptr, why);
    return PERI_OK;
}

static peri_err_t compile_headers(struct peri_predicate *predicate, struct peri_arena *arena,
                                  const struct peri_match *match, char *message, size_t size)
{
    predicate->headers = peri_arena_zalloc(arena, match->header_count * sizeof *predicate->headers);
    if (!predicate->headers)
        return PERI_ERR_NOMEM;
    while (predicate->header_count < match->header_count) {
        const struct peri_match_field *field = &match->headers[predicate->header_count];
        struct peri_condition *condition = &predicate->headers[predicate->header_count++];
        if (!peri_header_is_name(field->name))
            return peri_route_refuse(message, size, "'%.*s' is not a header name", (int)field->name.len,
                                     field->name.ptr);
        peri_err_t err = compile_condition(condition, arena, field, message, size);
        if (err)
            return err;
        char *name = (char *)condition->name.ptr;
        for (size_t i = 0; i < condition->name.len; i++)
            name[i] = peri_ascii_lower(name[i]);
        condition->id = peri_header_id(name, condition->name.len);
    }
    return PERI_OK;
}

static peri_err_t compile_query(struct peri_predicate *predicate, struct peri_arena *arena,
                                const struct peri_match *match, char *message, size_t size)
{
    predicate->query = peri_arena_zalloc(arena, match->query_count * sizeof *predicate->query);
    if (!predicate->query)
        return PERI_ERR_NOMEM;
    while (predicate->query_count < match->query_count) {
        const struct peri_match_field *field = &match->query[predicate->query_count];
        struct peri_condition *condition = &predicate->query[predicate->query_count++];
        if (field->name.len == 0)
            return peri_route_refuse(message, size, "a query condition has no name");
        peri_err_t err = compile_condition(condition, arena, field, message, size);
        if (err)
            return err;
    }
    return PERI_OK;
}

peri_err_t peri_predicate_compile(struct peri_predicate *predicate, struct peri_arena *arena,
                                  const struct peri_match *match, char *message, size_t size)
{
    *predicate = (struct peri_predicate){0};
    peri_err_t err = compile_methods(predicate, arena, match, message, size);
    if (err == PERI_OK)
        err = compile_headers(predicate, arena, match, message, size);
    if (err == PERI_OK)
        err = compile_query(predicate, arena, match, message, size);
    bool is_bare = match->header_count == 0 && match->query_count == 0;
    predicate->is_always = is_bare && match->method_count == 0;
    predicate->is_mask = is_bare && match->method_count > 0 && predicate->method_name_count == 0;
    return err;
}

void peri_predicate_close(struct peri_predicate *predicate)
{
    for (uint32_t i = 0; i < predicate->header_count; i++)
        peri_regex_free(predicate->headers[i].regex);
    for (uint32_t i = 0; i < predicate->query_count; i++)
        peri_regex_free(predicate->query[i].regex);
    predicate->header_count = predicate->query_count = 0;
}

static bool asks_method(const struct peri_predicate *predicate)
{
    return predicate->methods != 0 || predicate->method_name_count > 0;
}

int peri_predicate_compare(const struct peri_predicate *a, const struct peri_predicate *b)
{
    if (asks_method(a) != asks_method(b))
        return asks_method(a) ? -1 : 1;
    if (a->header_count != b->header_count)
        return a->header_count > b->header_count ? -1 : 1;
    return (a->query_count < b->query_count) - (a->query_count > b->query_count);
}

// ---------------------------------------------------------------- testing

static bool test_method(const struct peri_predicate *predicate, const struct peri_request *req)
{
    if (!asks_method(predicate))
        return true;
    if (req->method != PERI_METHOD_OTHER)
        return predicate->methods >> req->method & 1;
    for (uint32_t i = 0; i < predicate->method_name_count; i++)
        if (peri_slice_eq(predicate->method_names[i], req->method_name))
            return true;
    return false;
}

static peri_err_t test_value(const struct peri_condition *condition, struct peri_slice value)
{
    if (condition->is_presence)
        return PERI_OK;
    if (condition->regex)
        return peri_regex_match(condition->regex, value, 0, NULL, 0);
    return peri_slice_eq(condition->value, value) ? PERI_OK : PERI_ERR_NOT_FOUND;
}

static bool is_header(const struct peri_condition *condition, const struct peri_header *header)
{
    return header->id == condition->id &&
           (header->id != PERI_H_OTHER || peri_slice_eq(condition->name, peri_slice(header->name, header->name_len)));
}

static peri_err_t test_header(const struct peri_condition *condition, const struct peri_headers *headers)
{
    peri_err_t err = PERI_ERR_NOT_FOUND;
    for (unsigned i = 0; i < headers->count && err == PERI_ERR_NOT_FOUND; i++) {
        const struct peri_header *header = &headers->items[i];
        if (is_header(condition, header))
            err = test_value(condition, peri_slice(header->value, header->value_len));
    }
    return err;
}

/// Decodes a query value when it needs to be; a value with a broken escape stands for itself.
static peri_err_t decode_value(struct peri_arena *arena, struct peri_slice *value)
{
    if (value->len == 0 || (!memchr(value->ptr, '%', value->len) && !memchr(value->ptr, '+', value->len)))
        return PERI_OK;
    peri_err_t err = peri_url_decode(arena, *value, true, value);
    return err == PERI_ERR_INVALID ? PERI_OK : err;
}

static peri_err_t test_query(const struct peri_condition *condition, struct peri_exchange *x)
{
    struct peri_slice rest = x->req.query, value;
    while (peri_url_find_query(rest, condition->name, &value)) {
        const char *next = value.ptr + value.len;
        rest = peri_slice(next, (size_t)(rest.ptr + rest.len - next));
        peri_err_t err = decode_value(&x->arena, &value);
        if (err == PERI_OK)
            err = test_value(condition, value);
        if (err != PERI_ERR_NOT_FOUND)
            return err;
    }
    return PERI_ERR_NOT_FOUND;
}

peri_err_t peri_predicate_test(const struct peri_predicate *predicate, struct peri_exchange *x, const char **reason)
{
    peri_err_t err = PERI_OK;
    *reason = "method";
    if (predicate->is_always)
        return PERI_OK;
    if (!test_method(predicate, &x->req))
        return PERI_ERR_NOT_FOUND;
    *reason = "header";
    for (uint32_t i = 0; i < predicate->header_count && err == PERI_OK; i++)
        err = test_header(&predicate->headers[i], &x->req.headers);
    if (err)
        return err;
    *reason = "query";
    for (uint32_t i = 0; i < predicate->query_count && err == PERI_OK; i++)
        err = test_query(&predicate->query[i], x);
    return err;
}
