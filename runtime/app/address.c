// SPDX-License-Identifier: MIT
// Takes addresses apart and writes them down.
#include "app/address.h"

#include <arpa/inet.h>
#include <stdio.h>

#define UNIX_PREFIX "unix:"

static peri_err_t parse_unix(struct peri_slice path, struct peri_address *address)
{
    struct sockaddr_un *un = &address->socket.un;
    if (path.len == 0 || path.len >= sizeof(un->sun_path) || memchr(path.ptr, '\0', path.len))
        return PERI_ERR_INVALID;
    un->sun_family = AF_UNIX;
    memcpy(un->sun_path, path.ptr, path.len);
    address->len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + path.len + 1);
    return PERI_OK;
}

// A port; 0 may have a number behind it ("0#2"), which tells listeners apart that want any port.
static bool parse_port(struct peri_slice text, in_port_t *port)
{
    unsigned value = 0;
    if (text.len > 2 && text.ptr[0] == '0' && text.ptr[1] == '#' && text.ptr[2] != '0') {
        in_port_t number;
        *port = 0;
        return parse_port(peri_slice(text.ptr + 2, text.len - 2), &number);
    }
    if (text.len == 0 || text.len > 5)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] < '0' || text.ptr[i] > '9')
            return false;
        value = value * 10 + (unsigned)(text.ptr[i] - '0');
    }
    *port = htons((uint16_t)value);
    return value <= 65535;
}

static bool parse_ipv6(struct peri_slice host, in_port_t port, struct peri_address *address)
{
    char text[INET6_ADDRSTRLEN];
    struct sockaddr_in6 *in6 = &address->socket.in6;
    if (host.len < 3 || host.len - 2 >= sizeof(text) || host.ptr[host.len - 1] != ']')
        return false;
    memcpy(text, host.ptr + 1, host.len - 2);
    text[host.len - 2] = '\0';
    in6->sin6_family = AF_INET6;
    in6->sin6_port = port;
    address->len = sizeof(*in6);
    return inet_pton(AF_INET6, text, &in6->sin6_addr) == 1;
}

static bool parse_ipv4(struct peri_slice host, in_port_t port, struct peri_address *address)
{
    char text[INET_ADDRSTRLEN];
    struct sockaddr_in *in = &address->socket.in;
    in->sin_family = AF_INET;
    in->sin_port = port;
    address->len = sizeof(*in);
    if (peri_slice_eq(host, PERI_SLICE("*")))
        return true;
    if (peri_slice_ieq(host, PERI_SLICE("localhost")))
        host = PERI_SLICE("127.0.0.1");
    if (host.len >= sizeof(text))
        return false;
    memcpy(text, host.ptr, host.len);
    text[host.len] = '\0';
    return inet_pton(AF_INET, text, &in->sin_addr) == 1;
}

peri_err_t peri_address_parse(struct peri_slice text, struct peri_address *address)
{
    in_port_t port;
    memset(address, 0, sizeof(*address));
    if (peri_slice_starts(text, PERI_SLICE(UNIX_PREFIX)))
        return parse_unix(peri_slice(text.ptr + strlen(UNIX_PREFIX), text.len - strlen(UNIX_PREFIX)), address);
    const char *colon = text.len ? memrchr(text.ptr, ':', text.len) : NULL;
    if (!colon || !parse_port(peri_slice(colon + 1, (size_t)(text.ptr + text.len - colon - 1)), &port))
        return PERI_ERR_INVALID;
    struct peri_slice host = peri_slice(text.ptr, (size_t)(colon - text.ptr));
    bool is_ipv6 = host.len > 0 && host.ptr[0] == '[';
    bool is_good = is_ipv6 ? parse_ipv6(host, port, address) : parse_ipv4(host, port, address);
    return is_good ? PERI_OK : PERI_ERR_INVALID;
}

void peri_address_format(const struct peri_address *address, char text[PERI_ADDRESS_TEXT])
{
    char host[INET6_ADDRSTRLEN];
    switch (address->socket.any.sa_family) {
    case AF_INET:
        inet_ntop(AF_INET, &address->socket.in.sin_addr, host, sizeof(host));
        snprintf(text, PERI_ADDRESS_TEXT, "%s:%u", host, ntohs(address->socket.in.sin_port));
        break;
    case AF_INET6:
        inet_ntop(AF_INET6, &address->socket.in6.sin6_addr, host, sizeof(host));
        snprintf(text, PERI_ADDRESS_TEXT, "[%s]:%u", host, ntohs(address->socket.in6.sin6_port));
        break;
    default: snprintf(text, PERI_ADDRESS_TEXT, UNIX_PREFIX "%.107s", address->socket.un.sun_path);
    }
}

bool peri_address_is_local(const struct peri_address *address)
{
    switch (address->socket.any.sa_family) {
    case AF_INET: return ntohl(address->socket.in.sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
    case AF_INET6: return IN6_IS_ADDR_LOOPBACK(&address->socket.in6.sin6_addr);
    default: return true;
    }
}
