// SPDX-License-Identifier: MIT
// Methods, status texts and copies of header lists.
#include "codec/message.h"

static const struct peri_slice method_names[] = {
    [PERI_METHOD_GET] = {"GET", 3},         [PERI_METHOD_HEAD] = {"HEAD", 4},       [PERI_METHOD_POST] = {"POST", 4},
    [PERI_METHOD_PUT] = {"PUT", 3},         [PERI_METHOD_DELETE] = {"DELETE", 6},   [PERI_METHOD_PATCH] = {"PATCH", 5},
    [PERI_METHOD_OPTIONS] = {"OPTIONS", 7}, [PERI_METHOD_CONNECT] = {"CONNECT", 7}, [PERI_METHOD_TRACE] = {"TRACE", 5},
};

enum peri_method peri_method_parse(struct peri_slice name)
{
    for (unsigned i = PERI_METHOD_GET; i < PERI_COUNT(method_names); i++)
        if (peri_slice_eq(name, method_names[i]))
            return (enum peri_method)i;
    return PERI_METHOD_OTHER;
}

bool peri_method_is_idempotent(enum peri_method method)
{
    switch (method) {
    case PERI_METHOD_GET:
    case PERI_METHOD_HEAD:
    case PERI_METHOD_PUT:
    case PERI_METHOD_DELETE:
    case PERI_METHOD_OPTIONS:
    case PERI_METHOD_TRACE: return true;
    default: return false;
    }
}

const char *peri_status_text(int status)
{
    switch (status) {
    case 100: return "Continue";
    case 101: return "Switching Protocols";
    case 102: return "Processing";
    case 103: return "Early Hints";
    case 200: return "OK";
    case 201: return "Created";
    case 202: return "Accepted";
    case 203: return "Non-Authoritative Information";
    case 204: return "No Content";
    case 205: return "Reset Content";
    case 206: return "Partial Content";
    case 207: return "Multi-Status";
    case 300: return "Multiple Choices";
    case 301: return "Moved Permanently";
    case 302: return "Found";
    case 303: return "See Other";
    case 304: return "Not Modified";
    case 307: return "Temporary Redirect";
    case 308: return "Permanent Redirect";
    case 400: return "Bad Request";
    case 401: return "Unauthorized";
    case 402: return "Payment Required";
    case 403: return "Forbidden";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 406: return "Not Acceptable";
    case 407: return "Proxy Authentication Required";
    case 408: return "Request Timeout";
    case 409: return "Conflict";
    case 410: return "Gone";
    case 411: return "Length Required";
    case 412: return "Precondition Failed";
    case 413: return "Content Too Large";
    case 414: return "URI Too Long";
    case 415: return "Unsupported Media Type";
    case 416: return "Range Not Satisfiable";
    case 417: return "Expectation Failed";
    case 421: return "Misdirected Request";
    case 422: return "Unprocessable Content";
    case 425: return "Too Early";
    case 426: return "Upgrade Required";
    case 428: return "Precondition Required";
    case 429: return "Too Many Requests";
    case 431: return "Request Header Fields Too Large";
    case 451: return "Unavailable For Legal Reasons";
    case 499: return "Client Closed Request";
    case 500: return "Internal Server Error";
    case 501: return "Not Implemented";
    case 502: return "Bad Gateway";
    case 503: return "Service Unavailable";
    case 504: return "Gateway Timeout";
    case 505: return "HTTP Version Not Supported";
    case 507: return "Insufficient Storage";
    case 511: return "Network Authentication Required";
    default: return "Unknown";
    }
}

peri_err_t peri_headers_clone(struct peri_headers *headers, struct peri_arena *arena, const struct peri_headers *from)
{
    peri_headers_init(headers, arena);
    if (from->count == 0)
        return PERI_OK;
    headers->items = peri_arena_alloc(arena, from->count * sizeof(*headers->items));
    if (!headers->items)
        return PERI_ERR_NOMEM;
    memcpy(headers->items, from->items, from->count * sizeof(*headers->items));
    headers->count = headers->capacity = from->count;
    headers->seen = from->seen;
    return PERI_OK;
}
