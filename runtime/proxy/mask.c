// SPDX-License-Identifier: MIT
// A secret is masked twice over: in the place where it belongs, whatever its length, and, once it is known and long enough not to
// be a word, wherever else in the exchange it turns up: an upstream that echoes a key, a Referer that repeats a query.
#include "proxy/mask.h"

#include "codec/base64.h"
#include "codec/digest.h"
#include "codec/header.h"
#include "codec/url.h"
#include "shared/text.h"

#define CUT_MIN 3    ///< bytes of a secret that goes on where a text was cut
#define TOKEN_MIN 20 ///< bytes of the shortest text that is taken for a JSON Web Token

enum kind { PLAIN, CREDENTIAL, COOKIES, SET_COOKIE };

static const char *const headers[] = {"authorization", "proxy-authorization", "x-api-key", "x-auth-token",
                                      "x-amz-security-token"};
static const char *const parameters[] = {"access_token", "api_key"};
static const char *const schemes[] = {"bearer ", "basic ", "digest ", "dpop ", "token ", "negotiate ", "apikey "};

bool peri_secret_parse(struct peri_slice text, struct peri_secret *secret)
{
    static const struct peri_slice places[] = {[PERI_SECRET_HEADER] = {"header:", 7},
                                               [PERI_SECRET_QUERY] = {"query:", 6},
                                               [PERI_SECRET_COOKIE] = {"cookie:", 7}};
    *secret = (struct peri_secret){PERI_SECRET_HEADER, text};
    for (unsigned i = 0; i < PERI_COUNT(places); i++)
        if (peri_slice_starts(text, places[i]))
            *secret = (struct peri_secret){(enum peri_secret_place)i,
                                           peri_slice(text.ptr + places[i].len, text.len - places[i].len)};
    return secret->place == PERI_SECRET_HEADER ? peri_header_is_name(secret->name) : secret->name.len > 0;
}

void peri_mask_init(struct peri_mask *mask, const unsigned char *key, struct peri_secrets generation,
                    struct peri_secrets recorder)
{
    mask->key = key;
    mask->declared[0] = generation;
    mask->declared[1] = recorder;
    mask->count = 0;
}

// ---- what is secret ----

static bool is_secret_header(const struct peri_mask *mask, struct peri_slice name)
{
    for (unsigned i = 0; i < PERI_COUNT(headers); i++)
        if (peri_slice_eq(peri_slice_from(headers[i]), name))
            return true;
    for (unsigned list = 0; list < PERI_COUNT(mask->declared); list++)
        for (uint32_t i = 0; i < mask->declared[list].count; i++) {
            const struct peri_secret *secret = &mask->declared[list].items[i];
            if (secret->place == PERI_SECRET_HEADER && peri_slice_ieq(secret->name, name))
                return true;
        }
    return false;
}

static enum kind kind_of(const struct peri_mask *mask, struct peri_slice name)
{
    if (peri_slice_eq(name, PERI_SLICE("cookie")))
        return COOKIES;
    if (peri_slice_eq(name, PERI_SLICE("set-cookie")))
        return SET_COOKIE;
    return is_secret_header(mask, name) ? CREDENTIAL : PLAIN;
}

// Is the pair of a query ("name=value") secret? Names are compared decoded, as policies see them.
static bool is_secret_pair(const struct peri_mask *mask, struct peri_slice pair)
{
    struct peri_slice raw;
    for (unsigned i = 0; i < PERI_COUNT(parameters); i++)
        if (peri_url_find_query(pair, peri_slice_from(parameters[i]), &raw))
            return true;
    for (unsigned list = 0; list < PERI_COUNT(mask->declared); list++)
        for (uint32_t i = 0; i < mask->declared[list].count; i++) {
            const struct peri_secret *secret = &mask->declared[list].items[i];
            if (secret->place == PERI_SECRET_QUERY && peri_url_find_query(pair, secret->name, &raw))
                return true;
        }
    return false;
}

// Takes "Bearer " off the credential: the scheme decides things and gives nothing away.
static struct peri_slice take_scheme(struct peri_slice *value)
{
    for (unsigned i = 0; i < PERI_COUNT(schemes); i++) {
        size_t len = strlen(schemes[i]);
        if (value->len > len && peri_slice_ieq(peri_slice(value->ptr, len), peri_slice(schemes[i], len))) {
            struct peri_slice scheme = peri_slice(value->ptr, len);
            *value = peri_slice(value->ptr + len, value->len - len);
            return scheme;
        }
    }
    return peri_slice(value->ptr, 0);
}

// Takes the part before the value off "name=value" (with what stands before the name); all is value without a "=".
static struct peri_slice take_name(struct peri_slice *pair)
{
    const char *sign = pair->len > 0 ? memchr(pair->ptr, '=', pair->len) : NULL;
    size_t len = sign ? (size_t)(sign + 1 - pair->ptr) : 0;
    while (!sign && len < pair->len && pair->ptr[len] == ' ')
        len++;
    struct peri_slice name = peri_slice(pair->ptr, len);
    *pair = peri_slice(pair->ptr + len, pair->len - len);
    return name;
}

// The part of `rest` up to `end` (not in it); `rest` begins with the end, or is empty.
static struct peri_slice take_until(struct peri_slice *rest, char end)
{
    const char *at = rest->len > 0 ? memchr(rest->ptr, end, rest->len) : NULL;
    struct peri_slice part = peri_slice(rest->ptr, at ? (size_t)(at - rest->ptr) : rest->len);
    *rest = peri_slice(rest->ptr + part.len, rest->len - part.len);
    return part;
}

// ---- learning ----

static void write_mask(const struct peri_mask *mask, struct peri_slice value, char text[PERI_MASK_TEXT])
{
    unsigned char digest[PERI_DIGEST_SIZE] = {0};
    memcpy(text, "masked:", PERI_MASK_PREFIX);
    peri_digest_hmac(peri_slice((const char *)mask->key, PERI_MASK_KEY), value, digest);
    peri_hex_encode(peri_slice((const char *)digest, (PERI_MASK_TEXT - PERI_MASK_PREFIX) / 2), text + PERI_MASK_PREFIX);
}

static void learn(struct peri_mask *mask, struct peri_slice value, size_t min)
{
    if (value.len < min || mask->count == PERI_MASK_SECRETS)
        return;
    for (uint32_t i = 0; i < mask->count; i++)
        if (peri_slice_eq(mask->known[i], value))
            return;
    mask->known[mask->count++] = value;
}

static void learn_cookies(struct peri_mask *mask, struct peri_slice rest, bool has_one)
{
    do {
        struct peri_slice value = take_until(&rest, ';');
        take_name(&value);
        learn(mask, value, PERI_MASK_COOKIE_MIN);
        rest = rest.len > 0 ? peri_slice(rest.ptr + 1, rest.len - 1) : rest;
    } while (rest.len > 0 && !has_one);
}

void peri_mask_learn_headers(struct peri_mask *mask, const struct peri_headers *list)
{
    for (unsigned i = 0; mask->key && i < list->count; i++) {
        const struct peri_header *h = &list->items[i];
        struct peri_slice value = peri_slice(h->value, h->value_len);
        enum kind kind = kind_of(mask, peri_slice(h->name, h->name_len));
        if (kind == CREDENTIAL) {
            take_scheme(&value);
            learn(mask, value, PERI_MASK_KEY_MIN);
        } else if (kind != PLAIN) {
            learn_cookies(mask, value, kind == SET_COOKIE);
        }
    }
}

void peri_mask_learn_query(struct peri_mask *mask, struct peri_slice query)
{
    while (mask->key && query.len > 0) {
        struct peri_slice pair = take_until(&query, '&');
        query = query.len > 0 ? peri_slice(query.ptr + 1, query.len - 1) : query;
        if (!is_secret_pair(mask, pair))
            continue;
        take_name(&pair);
        learn(mask, pair, PERI_MASK_KEY_MIN);
    }
}

// ---- writing ----

static void put_masked(const struct peri_mask *mask, struct peri_slice value, struct peri_text *out)
{
    char text[PERI_MASK_TEXT];
    if (value.len == 0)
        return;
    write_mask(mask, value, text);
    peri_text_add(out, peri_slice(text, sizeof(text)));
}

static bool is_token_byte(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '-' || c == '_' ||
           c == '.';
}

// Length of the JSON Web Token at the beginning of `text`: the base64 of '{"' first, and at least one dot; 0 for none.
static size_t token_len(struct peri_slice text, bool is_cut)
{
    size_t len = 0;
    while (len < text.len && is_token_byte(text.ptr[len]))
        len++;
    if (is_cut && len == text.len)
        return len;
    return len >= TOKEN_MIN && memchr(text.ptr, '.', len) ? len : 0;
}

// Length of the known secret at the beginning of `text`, the longest where one begins with another; 0 for none. Where the text was
// cut, the beginning of a secret will do.
static size_t known_len(const struct peri_mask *mask, struct peri_slice text, bool is_cut)
{
    size_t found = 0;
    for (uint32_t i = 0; i < mask->count; i++) {
        struct peri_slice value = mask->known[i];
        if (is_cut && text.len >= CUT_MIN && peri_slice_starts(value, text))
            return text.len;
        if (value.len > found && peri_slice_starts(text, value))
            found = value.len;
    }
    return found;
}

// Does a secret begin with this byte?
static void note_first(const struct peri_mask *mask, bool first[256])
{
    memset(first, 0, 256);
    first['e'] = true;
    for (uint32_t i = 0; i < mask->count; i++)
        first[(unsigned char)mask->known[i].ptr[0]] = true;
}

void peri_mask_text(const struct peri_mask *mask, struct peri_slice text, bool is_cut, struct peri_text *out)
{
    bool first[256];
    size_t run = 0, at = 0;
    note_first(mask, first);
    while (mask->key && at < text.len) {
        struct peri_slice rest = peri_slice(text.ptr + at, text.len - at);
        if (!first[(unsigned char)*rest.ptr]) {
            at++;
            continue;
        }
        size_t len = known_len(mask, rest, is_cut);
        if (len == 0 && peri_slice_starts(rest, PERI_SLICE("eyJ")))
            len = token_len(rest, is_cut);
        if (len == 0) {
            at++;
            continue;
        }
        peri_text_add(out, peri_slice(text.ptr + run, at - run));
        put_masked(mask, peri_slice(rest.ptr, len), out);
        run = at += len;
    }
    peri_text_add(out, peri_slice(text.ptr + run, text.len - run));
}

static void put_cookies(const struct peri_mask *mask, struct peri_slice rest, bool has_one, struct peri_text *out)
{
    do {
        struct peri_slice value = take_until(&rest, ';');
        peri_text_add(out, take_name(&value));
        put_masked(mask, value, out);
        if (has_one || rest.len == 0)
            break;
        peri_text_add(out, PERI_SLICE(";"));
        rest = peri_slice(rest.ptr + 1, rest.len - 1);
    } while (rest.len > 0);
    peri_text_add(out, rest); // attributes of a Set-Cookie
}

void peri_mask_header(const struct peri_mask *mask, struct peri_slice name, struct peri_slice value,
                      struct peri_text *out)
{
    enum kind kind = mask->key ? kind_of(mask, name) : PLAIN;
    if (kind == CREDENTIAL) {
        peri_text_add(out, take_scheme(&value));
        put_masked(mask, value, out);
    } else if (kind == PLAIN) {
        peri_mask_text(mask, value, false, out);
    } else {
        put_cookies(mask, value, kind == SET_COOKIE, out);
    }
}

void peri_mask_target(const struct peri_mask *mask, struct peri_slice target, struct peri_text *out)
{
    struct peri_slice rest = target;
    peri_mask_text(mask, take_until(&rest, '?'), false, out);
    while (rest.len > 0) {
        peri_text_add(out, peri_slice(rest.ptr, 1)); // '?', later '&'
        rest = peri_slice(rest.ptr + 1, rest.len - 1);
        struct peri_slice pair = take_until(&rest, '&');
        bool is_secret = mask->key && memchr(pair.ptr, '=', pair.len) && is_secret_pair(mask, pair);
        if (is_secret) {
            peri_text_add(out, take_name(&pair));
            put_masked(mask, pair, out);
        } else {
            peri_mask_text(mask, pair, false, out);
        }
    }
}
