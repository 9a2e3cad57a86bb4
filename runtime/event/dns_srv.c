// SPDX-License-Identifier: MIT
// The answer is read here, because c-ares tells no TTLs of SRV records. A question that nobody waits for any more ends when c-ares is done
// with it: it cannot be taken back.
#include "event/dns_srv.h"

#include <arpa/nameser.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "event/dns_internal.h"
#include "event/loop.h"

#define NAME_MAX_BYTES 253

struct dns_question {
    struct peri_dns *dns;
    struct peri_dns_srv_query *query; ///< NULL: nobody waits
    struct peri_defer answer;
    bool is_asked; ///< c-ares has it
    peri_err_t err;
    struct peri_dns_service service;
    char name[NAME_MAX_BYTES + 1];
};

// ---- the answer as it came

struct reader {
    const unsigned char *bytes;
    size_t len;
    size_t at;
};

struct record {
    unsigned type;
    unsigned class;
    uint32_t ttl_s;
    size_t data; ///< where it is
    size_t len;
};

static unsigned get16(const struct reader *r, size_t at)
{
    return (unsigned)r->bytes[at] << 8 | r->bytes[at + 1];
}

// The name at `at`, malloc'ed by c-ares, and the bytes that it takes there; NULL when it is malformed.
static char *expand(const struct reader *r, size_t at, size_t *taken)
{
    char *name = NULL;
    long len = 0;
    if (at >= r->len || ares_expand_name(r->bytes + at, r->bytes, (int)r->len, &name, &len) != ARES_SUCCESS)
        return NULL;
    *taken = (size_t)len;
    return name;
}

static bool skip_name(struct reader *r)
{
    size_t taken = 0;
    char *name = expand(r, r->at, &taken);
    if (name)
        ares_free_string(name);
    r->at += taken;
    return name != NULL;
}

static bool read_record(struct reader *r, struct record *record)
{
    if (!skip_name(r) || r->len < r->at + NS_RRFIXEDSZ)
        return false;
    *record = (struct record){
        .type = get16(r, r->at),
        .class = get16(r, r->at + 2),
        .ttl_s = (uint32_t)get16(r, r->at + 4) << 16 | get16(r, r->at + 6),
        .data = r->at + NS_RRFIXEDSZ,
        .len = get16(r, r->at + 8),
    };
    r->at = record->data + record->len;
    return r->at <= r->len;
}

static bool is_host(const char *name)
{
    size_t len = strlen(name);
    return len > 0 && len <= NAME_MAX_BYTES &&
           strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._") == len;
}

static int compare(const struct peri_dns_target *a, const struct peri_dns_target *b)
{
    int order = (a->priority > b->priority) - (a->priority < b->priority);
    if (order == 0)
        order = strcmp(a->host, b->host);
    return order != 0 ? order : (a->port > b->port) - (a->port < b->port);
}

// Servers turn their records round with every answer: those that are kept must not depend on that.
static void keep(struct peri_dns_service *service, const struct peri_dns_target *target)
{
    unsigned at = service->count;
    while (at > 0 && compare(&service->targets[at - 1], target) > 0)
        at--;
    if (at == PERI_DNS_TARGETS || (at > 0 && compare(&service->targets[at - 1], target) == 0))
        return;
    if (service->count < PERI_DNS_TARGETS)
        service->count++;
    memmove(&service->targets[at + 1], &service->targets[at], (service->count - 1 - at) * sizeof(*target));
    service->targets[at] = *target;
}

// Keeps the target of an SRV record, unless it says that there is none.
static bool read_target(const struct reader *r, const struct record *record, struct peri_dns_service *service)
{
    size_t taken = 0;
    char *host = record->len > 6 ? expand(r, record->data + 6, &taken) : NULL;
    bool is_none = host && host[0] == '\0';
    bool is_good = host && taken == record->len - 6 && (is_none || is_host(host));
    if (is_good && !is_none) {
        struct peri_dns_target target = {
            .priority = (uint16_t)get16(r, record->data),
            .weight = (uint16_t)get16(r, record->data + 2),
            .port = (uint16_t)get16(r, record->data + 4),
        };
        for (size_t i = 0; host[i] != '\0'; i++)
            target.host[i] = peri_ascii_lower(host[i]);
        is_good = target.port > 0;
        if (is_good)
            keep(service, &target);
    }
    if (host)
        ares_free_string(host);
    return is_good;
}

static uint64_t clamp_ttl(uint64_t ms)
{
    if (ms < PERI_DNS_TTL_MIN_MS)
        return PERI_DNS_TTL_MIN_MS;
    return ms < PERI_DNS_TTL_MAX_MS ? ms : PERI_DNS_TTL_MAX_MS;
}

peri_err_t peri_dns_srv_read(const unsigned char *bytes, size_t len, struct peri_dns_service *service)
{
    struct reader r = {.bytes = bytes, .len = len, .at = NS_HFIXEDSZ};
    struct record record;
    uint32_t ttl_s = PERI_DNS_TTL_MAX_MS / 1000;
    bool has_any = false;
    service->count = 0;
    if (len < NS_HFIXEDSZ || len > NS_MAXMSG)
        return PERI_ERR_INVALID;
    for (unsigned i = get16(&r, 4); i > 0; i--) {
        if (!skip_name(&r))
            return PERI_ERR_INVALID;
        r.at += NS_QFIXEDSZ;
    }
    for (unsigned i = get16(&r, 6); i > 0; i--) {
        if (!read_record(&r, &record))
            return PERI_ERR_INVALID;
        bool is_srv = record.type == ns_t_srv && record.class == ns_c_in;
        if (is_srv && !read_target(&r, &record, service))
            return PERI_ERR_INVALID;
        has_any = has_any || is_srv;
        ttl_s = record.ttl_s < ttl_s ? record.ttl_s : ttl_s; // of an alias on the way too
    }
    service->ttl_ms = clamp_ttl((uint64_t)ttl_s * 1000);
    return has_any ? PERI_OK : PERI_ERR_INVALID;
}

// ---- questions

static void on_answer(struct peri_defer *defer)
{
    struct dns_question *question = PERI_CONTAINER(defer, struct dns_question, answer);
    struct peri_dns_srv_query *query = question->query;
    query->question = NULL;
    query->on_done(query, question->err, question->err == PERI_OK ? &question->service : NULL);
    free(question);
}

static void on_found(void *data, int status, int timeouts, unsigned char *bytes, int len)
{
    struct dns_question *question = data;
    PERI_UNUSED(timeouts);
    question->is_asked = false;
    question->dns->service_count--;
    if (!question->query) {
        free(question);
        return;
    }
    if (status != ARES_SUCCESS)
        question->err = peri_dns_blame(status);
    else if (peri_dns_srv_read(bytes, (size_t)len, &question->service) != PERI_OK)
        question->err = PERI_ERR_RESOLVE;
    peri_defer_schedule(question->dns->loop, &question->answer);
}

peri_err_t peri_dns_srv_ask(struct peri_dns *dns, struct peri_slice name, struct peri_dns_srv_query *query)
{
    peri_assert(!query->question);
    struct dns_question *question = name.len <= NAME_MAX_BYTES ? calloc(1, sizeof(*question)) : NULL;
    if (!question)
        return PERI_ERR_NOMEM;
    *question = (struct dns_question){.dns = dns, .query = query, .is_asked = true};
    memcpy(question->name, name.ptr, name.len);
    peri_defer_init(&question->answer, on_answer);
    query->question = question;
    dns->service_count++;
    peri_dns_arm(dns);
    ares_query(dns->channel, question->name, ns_c_in, ns_t_srv, on_found, question);
    return PERI_OK;
}

void peri_dns_srv_cancel(struct peri_dns_srv_query *query)
{
    struct dns_question *question = query->question;
    query->question = NULL;
    if (!question)
        return;
    question->query = NULL;
    peri_defer_cancel(&question->answer);
    if (!question->is_asked)
        free(question);
}
