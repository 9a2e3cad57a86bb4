// SPDX-License-Identifier: MIT
// A JSON parser (RFC 8259) that makes Lua values in one pass, since a tree in between costs several times what the values
// cost, and a token's claims are read on the way of a request. It accepts exactly what codec/json accepts (names with a zero
// byte apart), which the fuzz target lua_json_fuzz holds against jansson. Everything it allocates belongs to Lua, so that an
// error raised in the middle loses nothing.

#include "script/lua_json.h"

#include <lauxlib.h>
#include <lua.h>
#include <math.h>
#include <perigee/ffi.h>
#include <stdlib.h>
#include <string.h>

#include "base/attr.h"
#include "codec/json.h"

#define MEMBERS 8       // that an object's table is made for
#define EXACT_DIGITS 15 // decimal digits that a double always holds

// What follows a backslash, and what it means; the slash is last because it is never written so.
static const char escape_names[] = "\"\\bfnrt/", escape_values[] = "\"\\\b\f\n\r\t/";

// Where the parser is. A function that reads a value pushes it and returns true, or says what is wrong and returns false;
// what lies on the stack then is the caller's to drop.
struct reader {
    lua_State *L;
    const char *at, *end; // the byte at `end` is NUL: the text is a Lua string
    const char *problem;
    char *plain; // room for the longest string without its escapes; anchored on the stack; NULL before the first
    size_t size; // of the text
    int depth;
};

static int decode(lua_State *L);
static int refuse(lua_State *L, struct reader *reader, const char *start);
static bool read_value(struct reader *reader);
static bool read_array(struct reader *reader);
static bool read_object(struct reader *reader);
static bool read_string(struct reader *reader);
static bool read_escaped(struct reader *reader, const char *from);
static bool read_escape(struct reader *reader, char **out);
static bool read_number(struct reader *reader);
static bool read_word(struct reader *reader, const char *word, size_t len);

PERI_EXPORT int peri_lua_json_open(struct lua_State *L)
{
    lua_createtable(L, 0, 3);
    lua_createtable(L, 0, 1);
    lua_pushliteral(L, "json.array");
    lua_setfield(L, -2, "__metatable");
    lua_pushvalue(L, -1);
    lua_setfield(L, -3, "array");
    lua_pushcclosure(L, decode, 1); // the metatable is its upvalue
    lua_setfield(L, -2, "decode");
    lua_pushlightuserdata(L, NULL);
    lua_setfield(L, -2, "null");
    luaL_findtable(L, LUA_REGISTRYINDEX, "_LOADED", 8);
    lua_pushvalue(L, -2);
    lua_setfield(L, -2, "perigee._core.json_native");
    lua_pop(L, 1);
    return 1;
}

static void skip_space(struct reader *reader)
{
    while (*reader->at == ' ' || *reader->at == '\n' || *reader->at == '\t' || *reader->at == '\r')
        reader->at++;
}

static bool fail(struct reader *reader, const char *problem)
{
    reader->problem = problem;
    return false;
}

/// (text, max) -> value, or nil and a message
static int decode(lua_State *L)
{
    size_t len;
    const char *text = luaL_checklstring(L, 1, &len);
    lua_Integer max = luaL_checkinteger(L, 2);
    if (len > (size_t)max) {
        lua_pushnil(L);
        lua_pushfstring(L, "the text is longer than %d bytes", (int)max);
        return 2;
    }
    lua_settop(L, 2);
    lua_pushnil(L); // slot 3 anchors reader.plain
    struct reader reader = {.L = L, .at = text, .end = text + len, .size = len};
    skip_space(&reader);
    if (!read_value(&reader))
        return refuse(L, &reader, text);
    skip_space(&reader);
    if (reader.at != reader.end) {
        fail(&reader, "nothing may follow the value");
        return refuse(L, &reader, text);
    }
    return 1;
}

/// The message names the line, never the text: it may hold a secret.
static int refuse(lua_State *L, struct reader *reader, const char *start)
{
    int line = 1;
    for (const char *p = start; p < reader->at; p++)
        line += *p == '\n';
    lua_pushnil(L);
    lua_pushfstring(L, "line %d: %s", line, reader->problem);
    return 2;
}

/// Recurses at most PERI_JSON_DEPTH deep.
static bool read_value(struct reader *reader)
{
    switch (*reader->at) {
    case '"': return read_string(reader);
    case '{': return read_object(reader);
    case '[': return read_array(reader);
    case 't': lua_pushboolean(reader->L, 1); return read_word(reader, "true", 4);
    case 'f': lua_pushboolean(reader->L, 0); return read_word(reader, "false", 5);
    case 'n': lua_pushlightuserdata(reader->L, NULL); return read_word(reader, "null", 4);
    default: return read_number(reader);
    }
}

static bool read_word(struct reader *reader, const char *word, size_t len)
{
    if ((size_t)(reader->end - reader->at) < len || memcmp(reader->at, word, len) != 0)
        return fail(reader, "a value is expected");
    reader->at += len;
    return true;
}

// ---------------------------------------------------------------- arrays and objects

/// Steps over the opening bracket.
static bool enter(struct reader *reader)
{
    if (++reader->depth > PERI_JSON_DEPTH)
        return fail(reader, "the text is nested deeper than 128 levels");
    luaL_checkstack(reader->L, 4, "JSON is nested too deep");
    reader->at++;
    skip_space(reader);
    return true;
}

/// Steps over a comma (true) or the closing bracket (false, `*is_closed`).
static bool next_item(struct reader *reader, char close, bool *is_closed)
{
    skip_space(reader);
    char c = *reader->at;
    *is_closed = c == close;
    if (c != ',' && c != close)
        return fail(reader, "a comma or the end of the array or object is expected");
    reader->at++;
    if (c == close) {
        reader->depth--;
        return false;
    }
    skip_space(reader);
    return true;
}

static bool read_array(struct reader *reader)
{
    lua_State *L = reader->L;
    bool is_closed = false;
    if (!enter(reader))
        return false;
    lua_createtable(L, 0, 0);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_setmetatable(L, -2);
    if (*reader->at == ']') {
        reader->at++;
        reader->depth--;
        return true;
    }
    int index = 1;
    do {
        if (!read_value(reader))
            return false;
        lua_rawseti(L, -2, index++);
    } while (next_item(reader, ']', &is_closed));
    return is_closed;
}

/// Reads `"name" : value` into the table on top. Two members of one name would let two readers see different values.
static bool read_member(struct reader *reader)
{
    lua_State *L = reader->L;
    if (*reader->at != '"')
        return fail(reader, "a name in quotes is expected");
    if (!read_string(reader))
        return false;
    lua_pushvalue(L, -1);
    lua_rawget(L, -3);
    bool is_new = lua_isnil(L, -1);
    lua_pop(L, 1);
    if (!is_new)
        return fail(reader, "a name occurs twice in an object");
    skip_space(reader);
    if (*reader->at != ':')
        return fail(reader, "a colon is expected");
    reader->at++;
    skip_space(reader);
    if (!read_value(reader))
        return false;
    lua_rawset(L, -3);
    return true;
}

static bool read_object(struct reader *reader)
{
    bool is_closed = false;
    if (!enter(reader))
        return false;
    bool is_empty = *reader->at == '}';
    lua_createtable(reader->L, 0, is_empty ? 0 : MEMBERS);
    if (is_empty) {
        reader->at++;
        reader->depth--;
        return true;
    }
    do {
        if (!read_member(reader))
            return false;
    } while (next_item(reader, '}', &is_closed));
    return is_closed;
}

// ---------------------------------------------------------------- strings

static bool is_tail(char c, unsigned low, unsigned high)
{
    return (uint8_t)c >= low && (uint8_t)c <= high;
}

/// Bytes of the UTF-8 sequence at `p` (RFC 3629), 0 when it is broken. Never looks behind a NUL.
static size_t sequence_length(const char *p)
{
    uint8_t lead = (uint8_t)p[0];
    if (lead >= 0xc2 && lead <= 0xdf)
        return is_tail(p[1], 0x80, 0xbf) ? 2 : 0;
    if (lead >= 0xe0 && lead <= 0xef) {
        unsigned low = lead == 0xe0 ? 0xa0 : 0x80, high = lead == 0xed ? 0x9f : 0xbf;
        return is_tail(p[1], low, high) && is_tail(p[2], 0x80, 0xbf) ? 3 : 0;
    }
    if (lead >= 0xf0 && lead <= 0xf4) {
        unsigned low = lead == 0xf0 ? 0x90 : 0x80, high = lead == 0xf4 ? 0x8f : 0xbf;
        return is_tail(p[1], low, high) && is_tail(p[2], 0x80, 0xbf) && is_tail(p[3], 0x80, 0xbf) ? 4 : 0;
    }
    return 0;
}

/// Writes the escape of a byte below 0x20, a quote or a backslash.
static char *put_escape(char *out, char c)
{
    static const char digits[] = "0123456789abcdef";
    const char *found = c ? strchr(escape_values, c) : NULL;
    *out++ = '\\';
    if (found) {
        *out++ = escape_names[found - escape_values];
        return out;
    }
    memcpy(out, "u00", 3);
    out[3] = digits[(uint8_t)c >> 4];
    out[4] = digits[(uint8_t)c & 15];
    return out + 5;
}

/// The text is a Lua string: the byte behind it is NUL.
PERI_EXPORT int64_t peri_ffi_json_quote(const char *text, size_t len, char *out)
{
    char *start = out;
    *out++ = '"';
    for (const char *end = text + len; text < end;) {
        uint8_t c = (uint8_t)*text;
        if (c >= 0x80) {
            size_t count = sequence_length(text);
            if (count == 0)
                return -1;
            memcpy(out, text, count);
            out += count;
            text += count;
            continue;
        }
        if (c < 0x20 || c == '"' || c == '\\')
            out = put_escape(out, (char)c);
        else
            *out++ = (char)c;
        text++;
    }
    *out++ = '"';
    return out - start;
}

/// Steps over bytes that stand for themselves, up to a quote or a backslash.
static bool skip_plain(struct reader *reader)
{
    for (;;) {
        uint8_t c = (uint8_t)*reader->at;
        if (c == '"' || c == '\\')
            return true;
        if (c < 0x20)
            return fail(reader, reader->at == reader->end ? "the string does not end" : "a control byte in a string");
        size_t len = c < 0x80 ? 1 : sequence_length(reader->at);
        if (len == 0)
            return fail(reader, "a string is not UTF-8");
        reader->at += len;
    }
}

static bool read_string(struct reader *reader)
{
    const char *from = ++reader->at;
    if (!skip_plain(reader))
        return false;
    if (*reader->at == '\\')
        return read_escaped(reader, from);
    lua_pushlstring(reader->L, from, (size_t)(reader->at - from));
    reader->at++;
    return true;
}

/// Reads a string that began at `from` and has an escape where the reader is.
static bool read_escaped(struct reader *reader, const char *from)
{
    if (!reader->plain) {
        reader->plain = lua_newuserdata(reader->L, reader->size);
        lua_replace(reader->L, 3);
    }
    char *out = reader->plain;
    for (;;) {
        memcpy(out, from, (size_t)(reader->at - from));
        out += reader->at - from;
        if (*reader->at == '"')
            break;
        if (!read_escape(reader, &out))
            return false;
        from = reader->at;
        if (!skip_plain(reader))
            return false;
    }
    lua_pushlstring(reader->L, reader->plain, (size_t)(out - reader->plain));
    reader->at++;
    return true;
}

/// The value of four hex digits, or -1.
static int32_t read_hex4(const char *p)
{
    int32_t value = 0;
    for (int i = 0; i < 4; i++) {
        char c = p[i];
        int32_t digit = c >= '0' && c <= '9'   ? c - '0'
                        : c >= 'a' && c <= 'f' ? c - 'a' + 10
                        : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                               : -1;
        if (digit < 0)
            return -1; // a NUL too: nothing behind it is read
        value = value << 4 | digit;
    }
    return value;
}

static char *put_utf8(char *out, int32_t code)
{
    if (code < 0x80) {
        *out++ = (char)code;
    } else if (code < 0x800) {
        *out++ = (char)(0xc0 | code >> 6);
        *out++ = (char)(0x80 | (code & 0x3f));
    } else if (code < 0x10000) {
        *out++ = (char)(0xe0 | code >> 12);
        *out++ = (char)(0x80 | (code >> 6 & 0x3f));
        *out++ = (char)(0x80 | (code & 0x3f));
    } else {
        *out++ = (char)(0xf0 | code >> 18);
        *out++ = (char)(0x80 | (code >> 12 & 0x3f));
        *out++ = (char)(0x80 | (code >> 6 & 0x3f));
        *out++ = (char)(0x80 | (code & 0x3f));
    }
    return out;
}

/// Reads \uXXXX, or two of them that are a surrogate pair, with the reader at the 'u'.
static bool read_unicode(struct reader *reader, char **out)
{
    int32_t code = read_hex4(reader->at + 1);
    if (code < 0)
        return fail(reader, "\\u is not followed by four hex digits");
    reader->at += 5;
    if (code >= 0xd800 && code <= 0xdbff && reader->at[0] == '\\' && reader->at[1] == 'u') {
        int32_t low = read_hex4(reader->at + 2);
        if (low >= 0xdc00 && low <= 0xdfff) {
            code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
            reader->at += 6;
        }
    }
    if (code >= 0xd800 && code <= 0xdfff)
        return fail(reader, "half a surrogate pair in a string");
    *out = put_utf8(*out, code);
    return true;
}

/// Never writes more bytes than the escape has.
static bool read_escape(struct reader *reader, char **out)
{
    char c = *++reader->at;
    if (c == 'u')
        return read_unicode(reader, out);
    const char *found = c ? strchr(escape_names, c) : NULL;
    if (!found)
        return fail(reader, "an unknown escape in a string");
    *(*out)++ = escape_values[found - escape_names];
    reader->at++;
    return true;
}

// ---------------------------------------------------------------- numbers

static const char *skip_digits(const char *p)
{
    while (*p >= '0' && *p <= '9')
        p++;
    return p;
}

/// Steps over fraction and exponent behind the integer part; NULL when one of them has no digits.
static const char *skip_fraction(const char *p)
{
    if (*p == '.') {
        const char *digits = ++p;
        p = skip_digits(digits);
        if (p == digits)
            return NULL;
    }
    if (*p == 'e' || *p == 'E') {
        p += p[1] == '+' || p[1] == '-' ? 2 : 1;
        const char *digits = p;
        p = skip_digits(digits);
        if (p == digits)
            return NULL;
    }
    return p;
}

static bool read_number(struct reader *reader)
{
    const char *digits = reader->at + (*reader->at == '-');
    const char *stop = skip_digits(digits);
    if (stop == digits)
        return fail(reader, "a value is expected");
    if (*digits == '0' && stop - digits > 1)
        return fail(reader, "a number begins with a needless zero");
    double number = 0;
    if (*stop != '.' && *stop != 'e' && *stop != 'E' && stop - digits <= EXACT_DIGITS) {
        int64_t value = 0;
        for (const char *p = digits; p < stop; p++)
            value = value * 10 + (*p - '0');
        number = *reader->at == '-' ? -(double)value : (double)value;
    } else {
        stop = skip_fraction(stop);
        if (!stop)
            return fail(reader, "a number lacks digits");
        number = strtod(reader->at, NULL);
        if (isinf(number))
            return fail(reader, "a number is out of range");
    }
    lua_pushnumber(reader->L, number);
    reader->at = stop;
    return true;
}
