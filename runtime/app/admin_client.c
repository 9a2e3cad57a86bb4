// SPDX-License-Identifier: MIT
// A request on a plain socket, and everything up to the end of the connection as its answer, at once or piece by piece.
#include "app/admin_client.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#include "app/address.h"

#define REPLY_LIMIT (64u * 1024 * 1024) ///< most bytes of an answer
#define TIMEOUT_S 180                   ///< a reload may run specs for two minutes

static int connect_to(const char *text, char *message, size_t size)
{
    struct peri_address address;
    struct timeval limit = {.tv_sec = TIMEOUT_S};
    if (peri_address_parse(peri_slice_from(text), &address) != PERI_OK) {
        snprintf(message, size, "\"%s\" is not an address; write 127.0.0.1:9901 or unix:/path", text);
        return -1;
    }
    int fd = socket(address.socket.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0) {
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
        if (connect(fd, &address.socket.any, address.len) == 0)
            return fd;
    }
    snprintf(message, size,
             "cannot reach the admin interface at %s: %s; is Perigee running with this `admin` address? Name another "
             "one with "
             "--admin ADDRESS or PERIGEE_ADMIN",
             text, strerror(errno));
    if (fd >= 0)
        close(fd);
    return -1;
}

static peri_err_t send_all(int fd, const char *text, size_t len)
{
    while (len > 0) {
        ssize_t n = send(fd, text, len, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return PERI_ERR_CLOSED;
        text += n;
        len -= (size_t)n;
    }
    return PERI_OK;
}

// HTTP/1.0 where the answer is read as it comes: the end of the connection is its end, without chunks.
static peri_err_t send_request(int fd, const char *method, const char *target, const char *version, const char *body)
{
    char head[2048];
    int len = snprintf(head, sizeof(head),
                       "%s %s HTTP/%s\r\nhost: localhost\r\nconnection: close\r\ncontent-length: %zu\r\n\r\n", method,
                       target, version, strlen(body));
    if (len < 0 || (size_t)len >= sizeof(head))
        return PERI_ERR_INVALID;
    peri_err_t err = send_all(fd, head, (size_t)len);
    return err == PERI_OK ? send_all(fd, body, strlen(body)) : err;
}

// Everything up to the end of the connection; malloc'ed and NUL-terminated.
static char *read_all(int fd, size_t *len)
{
    size_t size = 4096;
    char *text = malloc(size);
    *len = 0;
    while (text) {
        ssize_t n = recv(fd, text + *len, size - *len - 1, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        *len += (size_t)n;
        if (size - *len > 1)
            continue;
        char *larger = size < REPLY_LIMIT ? realloc(text, size *= 2) : NULL;
        if (!larger)
            free(text);
        text = larger;
    }
    if (text)
        text[*len] = '\0';
    return text;
}

// Splits status and body off the bytes of a response; `text` is taken.
static peri_err_t parse(char *text, size_t len, struct peri_admin_reply *reply)
{
    static const char line[] = "HTTP/1.1 ";
    const char *end = strstr(text, "\r\n\r\n");
    if (strncmp(text, line, sizeof(line) - 1) != 0 || !end) {
        free(text);
        return PERI_ERR_UPSTREAM_PROTOCOL;
    }
    reply->status = atoi(text + sizeof(line) - 1);
    size_t head = (size_t)(end + 4 - text);
    memmove(text, text + head, len - head + 1);
    reply->body = text;
    return PERI_OK;
}

static peri_err_t exchange(const char *address, const char *method, const char *target, const char *body,
                           struct peri_admin_reply *reply, char *message, size_t size)
{
    size_t len;
    *reply = (struct peri_admin_reply){0};
    int fd = connect_to(address, message, size);
    if (fd < 0)
        return PERI_ERR_CONNECT;
    peri_err_t err = send_request(fd, method, target, "1.1", body);
    char *text = err == PERI_OK ? read_all(fd, &len) : NULL;
    close(fd);
    err = text ? parse(text, len, reply) : PERI_ERR_CLOSED;
    if (err != PERI_OK)
        snprintf(message, size, "%s does not answer like the admin interface of Perigee", address);
    return err;
}

peri_err_t peri_admin_request(const char *address, const char *method, const char *target,
                              struct peri_admin_reply *reply, char *message, size_t size)
{
    return exchange(address, method, target, "", reply, message, size);
}

peri_err_t peri_admin_post(const char *address, const char *target, const char *body, struct peri_admin_reply *reply,
                           char *message, size_t size)
{
    return exchange(address, "POST", target, body, reply, message, size);
}

// Reads a head byte by byte: what follows it is the caller's. The status, or 0.
static int read_head(int fd)
{
    static const char line[] = "HTTP/1.1 ";
    char head[4096] = {0};
    size_t len = 0;
    while (len + 1 < sizeof(head) && (len < 4 || memcmp(head + len - 4, "\r\n\r\n", 4) != 0))
        if (recv(fd, head + len++, 1, 0) != 1)
            return 0;
    return strncmp(head, line, sizeof(line) - 1) == 0 ? atoi(head + sizeof(line) - 1) : 0;
}

int peri_admin_stream(const char *address, const char *method, const char *target, int *status, char *message,
                      size_t size)
{
    int fd = connect_to(address, message, size);
    if (fd < 0)
        return -1;
    *status = send_request(fd, method, target, "1.0", "") == PERI_OK ? read_head(fd) : 0;
    if (*status > 0)
        return fd;
    close(fd);
    snprintf(message, size, "%s does not answer like the admin interface of Perigee", address);
    return -1;
}
