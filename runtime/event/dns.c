// SPDX-License-Identifier: MIT
// The resolver: entries by name, each with its addresses, its time and the queries that wait for it.
//
//   resolve -> fresh entry: answer on the next turn
//           -> stale or new: ask c-ares once; when it fails, the last good addresses serve on
#include "event/dns.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"
#include "event/dns_internal.h"
#include "event/loop_internal.h"

#define PERI_DNS_NAMES 256
#define PERI_DNS_NAME_MAX 253
#define PERI_DNS_TIMEOUT_MS 2000
#define PERI_DNS_TRIES 2

struct dns_entry {
    struct peri_list link;
    struct peri_dns *dns;
    struct peri_list queries; ///< waiting
    struct peri_defer answer; ///< gives the waiting queries what is known
    uint64_t expires_ms;
    unsigned count;
    bool is_asking;
    bool has_failed; ///< the last look-up; the addresses may be older
    peri_err_t err;  ///< why it failed
    struct sockaddr_storage addresses[PERI_DNS_ADDRESSES];
    char name[PERI_DNS_NAME_MAX + 1];
};

/// A socket of c-ares that the loop watches; frees itself when libuv has closed the watcher.
struct dns_socket {
    uv_poll_t poll;
    struct peri_list link;
    struct peri_dns *dns;
    int fd;
};

// ---- c-ares on the loop ----

void peri_dns_arm(struct peri_dns *dns)
{
    struct timeval most = {.tv_sec = 1};
    struct timeval left;
    struct timeval *next = ares_timeout(dns->channel, &most, &left);
    peri_timer_start(dns->loop, &dns->timer, (uint64_t)next->tv_sec * 1000 + (uint64_t)next->tv_usec / 1000 + 1);
}

static bool dns_is_asking(const struct peri_dns *dns)
{
    for (struct peri_list *link = dns->entries.next; link != &dns->entries; link = link->next)
        if (PERI_LIST_ITEM(link, struct dns_entry, link)->is_asking)
            return true;
    return dns->service_count > 0;
}

static void on_timer(struct peri_timer *timer)
{
    struct peri_dns *dns = PERI_CONTAINER(timer, struct peri_dns, timer);
    ares_process_fd(dns->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
    if (dns_is_asking(dns))
        peri_dns_arm(dns);
}

static void on_socket_ready(uv_poll_t *poll, int status, int events)
{
    struct dns_socket *s = poll->data;
    bool has_failed = status < 0; // c-ares finds out what by using the socket
    ares_process_fd(s->dns->channel, has_failed || events & UV_READABLE ? s->fd : ARES_SOCKET_BAD,
                    events & UV_WRITABLE ? s->fd : ARES_SOCKET_BAD);
}

static struct dns_socket *find_socket(struct peri_dns *dns, int fd)
{
    for (struct peri_list *link = dns->sockets.next; link != &dns->sockets; link = link->next)
        if (PERI_LIST_ITEM(link, struct dns_socket, link)->fd == fd)
            return PERI_LIST_ITEM(link, struct dns_socket, link);
    return NULL;
}

static struct dns_socket *new_socket(struct peri_dns *dns, int fd)
{
    struct dns_socket *s = calloc(1, sizeof(*s));
    if (!s || uv_poll_init_socket(&dns->loop->uv, &s->poll, fd) < 0) {
        free(s); // c-ares asks again by its timer
        return NULL;
    }
    s->poll.data = s;
    s->dns = dns;
    s->fd = fd;
    peri_list_append(&dns->sockets, &s->link);
    return s;
}

static void on_socket_closed(uv_handle_t *handle)
{
    free(handle->data);
}

static void on_socket_state(void *data, ares_socket_t fd, int readable, int writable)
{
    struct peri_dns *dns = data;
    struct dns_socket *s = find_socket(dns, fd);
    if (!readable && !writable) {
        if (!s)
            return;
        peri_list_remove(&s->link);
        uv_poll_stop(&s->poll);
        uv_close((uv_handle_t *)&s->poll, on_socket_closed);
        return;
    }
    if (!s)
        s = new_socket(dns, fd);
    if (s)
        uv_poll_start(&s->poll, (readable ? UV_READABLE : 0) | (writable ? UV_WRITABLE : 0), on_socket_ready);
}

peri_err_t peri_dns_blame(int status)
{
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    bool is_short = fd < 0 && peri_err_is_shortage(errno);
    if (fd >= 0)
        close(fd);
    return is_short || status == ARES_ENOMEM ? PERI_ERR_OVERLOADED : PERI_ERR_RESOLVE;
}

struct peri_dns *peri_dns_new(struct peri_loop *loop)
{
    struct peri_dns *dns = calloc(1, sizeof(*dns));
    struct ares_options options = {.timeout = PERI_DNS_TIMEOUT_MS,
                                   .tries = PERI_DNS_TRIES,
                                   .sock_state_cb = on_socket_state,
                                   .sock_state_cb_data = dns};
    if (!dns)
        return NULL;
    dns->loop = loop;
    peri_list_init(&dns->entries);
    peri_list_init(&dns->sockets);
    peri_timer_init(&dns->timer, on_timer);
    if (ares_library_init(ARES_LIB_INIT_ALL) != ARES_SUCCESS ||
        ares_init_options(&dns->channel, &options, ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_SOCK_STATE_CB) !=
            ARES_SUCCESS) {
        free(dns);
        return NULL;
    }
    ares_get_servers_ports(dns->channel, &dns->defaults);
    return dns;
}

peri_err_t peri_dns_set_servers(struct peri_dns *dns, const char *servers)
{
    ares_cancel(dns->channel); // c-ares changes its servers only while nothing is under way
    int status = servers ? ares_set_servers_ports_csv(dns->channel, servers)
                         : ares_set_servers_ports(dns->channel, dns->defaults);
    if (status != ARES_SUCCESS)
        return PERI_ERR_INVALID;
    for (struct peri_list *link = dns->entries.next; link != &dns->entries; link = link->next)
        PERI_LIST_ITEM(link, struct dns_entry, link)->expires_ms = 0;
    return PERI_OK;
}

static void entry_free(struct dns_entry *entry)
{
    peri_list_remove(&entry->link);
    peri_defer_cancel(&entry->answer);
    entry->dns->entry_count--;
    free(entry);
}

void peri_dns_free(struct peri_dns *dns)
{
    ares_destroy(dns->channel); // ends every look-up with ARES_EDESTRUCTION
    ares_free_data(dns->defaults);
    ares_library_cleanup();
    peri_timer_stop(&dns->timer);
    while (!peri_list_is_empty(&dns->entries)) {
        struct dns_entry *entry = PERI_LIST_ITEM(dns->entries.next, struct dns_entry, link);
        peri_assert(peri_list_is_empty(&entry->queries));
        entry_free(entry);
    }
    free(dns);
}

const char *peri_dns_version(void)
{
    return ares_version(NULL);
}

bool peri_dns_parse_literal(struct peri_slice host, uint16_t port, struct sockaddr_storage *address)
{
    char text[64];
    if (host.len >= 2 && host.ptr[0] == '[' && host.ptr[host.len - 1] == ']')
        host = peri_slice(host.ptr + 1, host.len - 2);
    if (host.len >= sizeof(text))
        return false;
    memcpy(text, host.ptr, host.len);
    text[host.len] = '\0';
    memset(address, 0, sizeof(*address));
    struct sockaddr_in *v4 = (struct sockaddr_in *)address;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)address;
    if (inet_pton(AF_INET, text, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons(port);
        return true;
    }
    if (inet_pton(AF_INET6, text, &v6->sin6_addr) == 1) {
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons(port);
        return true;
    }
    return false;
}

// ---- entries ----

static void on_answer(struct peri_defer *defer)
{
    struct dns_entry *entry = PERI_CONTAINER(defer, struct dns_entry, answer);
    peri_err_t err = entry->count > 0 ? PERI_OK : entry->has_failed ? entry->err : PERI_ERR_RESOLVE;
    uint64_t now_ms = peri_loop_now_ms(entry->dns->loop);
    while (!peri_list_is_empty(&entry->queries)) {
        struct peri_dns_query *query = PERI_LIST_ITEM(entry->queries.next, struct peri_dns_query, link);
        peri_list_remove(&query->link);
        query->left_ms = entry->expires_ms > now_ms ? entry->expires_ms - now_ms : 0;
        query->is_stale = entry->has_failed;
        query->on_done(query, err, entry->addresses, entry->count);
    }
}

static void entry_take_family(struct dns_entry *entry, const struct ares_addrinfo *found, int family, uint64_t *ttl_ms)
{
    for (const struct ares_addrinfo_node *node = found->nodes; node && entry->count < PERI_DNS_ADDRESSES;
         node = node->ai_next) {
        if (node->ai_family != family || node->ai_addrlen > sizeof(entry->addresses[0]))
            continue;
        memcpy(&entry->addresses[entry->count++], node->ai_addr, node->ai_addrlen);
        uint64_t ms = (uint64_t)(node->ai_ttl > 0 ? node->ai_ttl : 0) * 1000;
        if (ms < *ttl_ms)
            *ttl_ms = ms;
    }
}

static void on_found(void *data, int status, int timeouts, struct ares_addrinfo *found)
{
    struct dns_entry *entry = data;
    uint64_t ttl_ms = PERI_DNS_TTL_MAX_MS;
    PERI_UNUSED(timeouts);
    entry->is_asking = false;
    if (status == ARES_EDESTRUCTION)
        return;
    entry->has_failed = status != ARES_SUCCESS;
    if (status == ARES_SUCCESS) {
        entry->count = 0;
        entry_take_family(entry, found, AF_INET, &ttl_ms);
        entry_take_family(entry, found, AF_INET6, &ttl_ms);
        ares_freeaddrinfo(found);
        if (ttl_ms < PERI_DNS_TTL_MIN_MS)
            ttl_ms = PERI_DNS_TTL_MIN_MS;
    } else {
        entry->err = peri_dns_blame(status);
        ttl_ms = PERI_DNS_FAILURE_MS;
    }
    entry->expires_ms = peri_loop_now_ms(entry->dns->loop) + ttl_ms;
    peri_defer_schedule(entry->dns->loop, &entry->answer);
}

static void entry_ask(struct dns_entry *entry)
{
    struct ares_addrinfo_hints hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = ARES_AI_NOSORT};
    entry->is_asking = true;
    peri_dns_arm(entry->dns);
    ares_getaddrinfo(entry->dns->channel, entry->name, NULL, &hints, on_found, entry);
}

static struct dns_entry *entry_evict(struct peri_dns *dns)
{
    for (struct peri_list *link = dns->entries.prev; link != &dns->entries; link = link->prev) {
        struct dns_entry *entry = PERI_LIST_ITEM(link, struct dns_entry, link);
        if (!entry->is_asking && peri_list_is_empty(&entry->queries))
            return entry;
    }
    return NULL;
}

static struct dns_entry *entry_new(struct peri_dns *dns, struct peri_slice host)
{
    if (dns->entry_count >= PERI_DNS_NAMES) {
        struct dns_entry *oldest = entry_evict(dns);
        if (!oldest)
            return NULL;
        entry_free(oldest);
    }
    struct dns_entry *entry = host.len <= PERI_DNS_NAME_MAX ? calloc(1, sizeof(*entry)) : NULL;
    if (!entry)
        return NULL;
    memcpy(entry->name, host.ptr, host.len);
    entry->dns = dns;
    peri_list_init(&entry->queries);
    peri_defer_init(&entry->answer, on_answer);
    peri_list_prepend(&dns->entries, &entry->link);
    dns->entry_count++;
    return entry;
}

static struct dns_entry *entry_find(struct peri_dns *dns, struct peri_slice host)
{
    for (struct peri_list *link = dns->entries.next; link != &dns->entries; link = link->next) {
        struct dns_entry *entry = PERI_LIST_ITEM(link, struct dns_entry, link);
        if (peri_slice_ieq(peri_slice_from(entry->name), host)) {
            peri_list_remove(&entry->link);
            peri_list_prepend(&dns->entries, &entry->link); // the last used one is first
            return entry;
        }
    }
    return NULL;
}

void peri_dns_resolve(struct peri_dns *dns, struct peri_slice host, struct peri_dns_query *query)
{
    struct dns_entry *entry = entry_find(dns, host);
    peri_list_init(&query->link);
    if (!entry)
        entry = entry_new(dns, host);
    if (!entry) { // no room: every one of the names is being asked for; or no such name can be
        query->left_ms = PERI_DNS_FAILURE_MS;
        query->on_done(query, host.len <= PERI_DNS_NAME_MAX ? PERI_ERR_OVERLOADED : PERI_ERR_RESOLVE, NULL, 0);
        return;
    }
    peri_list_append(&entry->queries, &query->link);
    if (peri_loop_now_ms(dns->loop) < entry->expires_ms)
        peri_defer_schedule(dns->loop, &entry->answer);
    else if (!entry->is_asking)
        entry_ask(entry);
}

void peri_dns_cancel(struct peri_dns_query *query)
{
    peri_list_remove(&query->link);
}
