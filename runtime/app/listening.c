// SPDX-License-Identifier: MIT
// bind and listen, with an explanation when they fail.
#include "app/listening.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "app/address.h"

#define BACKLOG 4096

struct peri_listening {
    struct peri_address real;
    char real_text[PERI_ADDRESS_TEXT];
    char *address; ///< owned
    dev_t device;  ///< of a unix socket's file
    ino_t inode;
    uint32_t count; ///< sockets in fds
    int fds[];
};

static void explain(struct peri_slice address, int error, char *message, size_t size)
{
    const char *text = strerror(error);
    const char *advice = "";
    switch (error) {
    case EADDRINUSE:
        text = "the address is already in use";
        advice = "; stop the process that has it, or choose another one";
        break;
    case EACCES:
    case EPERM:
        text = "permission denied";
        advice = "; a port below 1024 needs the capability CAP_NET_BIND_SERVICE, a unix socket a directory that can be "
                 "written";
        break;
    case EADDRNOTAVAIL: text = "no interface of this machine has the address"; break;
    case ENOENT: text = "the directory does not exist"; break;
    case EINVAL:
        text = "not an address";
        advice = "; write \"127.0.0.1:8080\", \"[::1]:8080\", \"*:8080\" or \"unix:/path\"";
        break;
    default: break;
    }
    snprintf(message, size, "cannot listen on %.*s: %s%s", (int)address.len, address.ptr, text, advice);
}

static int open_socket(const struct peri_address *address, bool is_shared)
{
    int family = address->socket.any.sa_family, on = 1;
    int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || family == AF_UNIX)
        return fd;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
    if (is_shared)
        setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
    return fd;
}

static int fail(int fd)
{
    int saved = errno;
    if (fd >= 0)
        close(fd);
    errno = saved;
    return -1;
}

static int open_bound(const struct peri_address *address, bool is_shared)
{
    int fd = open_socket(address, is_shared);
    if (fd < 0 || bind(fd, &address->socket.any, address->len) != 0)
        return fail(fd);
    return fd;
}

static int open_listening(const struct peri_address *address, bool is_shared)
{
    int fd = open_bound(address, is_shared);
    return fd >= 0 && listen(fd, BACKLOG) == 0 ? fd : fail(fd);
}

// SO_REUSEPORT would let a second Perigee share the port in silence. A socket without it is refused when anybody listens.
static bool is_free(const struct peri_address *address)
{
    int fd = open_bound(address, false);
    if (fd < 0)
        return false;
    close(fd);
    return true;
}

static peri_err_t open_tcp(struct peri_listening *listening, const struct peri_address *address, uint32_t workers)
{
    bool is_shared = workers > 1;
    listening->real = *address;
    if (is_shared && !is_free(address))
        return PERI_ERR_SYSTEM;
    while (listening->count < workers) {
        int fd = open_listening(&listening->real, is_shared);
        if (fd < 0)
            return PERI_ERR_SYSTEM;
        listening->fds[listening->count++] = fd;
        listening->real.len = sizeof(listening->real.socket);
        if (getsockname(fd, &listening->real.socket.any, &listening->real.len) != 0)
            return PERI_ERR_SYSTEM;
    }
    return PERI_OK;
}

// Removes a socket's file that nobody answers on. True when the address can be tried again.
static bool remove_stale(const struct peri_address *address)
{
    struct stat info;
    const char *path = address->socket.un.sun_path;
    if (lstat(path, &info) != 0 || !S_ISSOCK(info.st_mode))
        return false;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return false;
    bool is_stale = connect(fd, &address->socket.any, address->len) != 0 && errno == ECONNREFUSED;
    close(fd);
    return is_stale && unlink(path) == 0;
}

static peri_err_t open_unix(struct peri_listening *listening, const struct peri_address *address, unsigned mode)
{
    struct stat info;
    mode_t mask = mode ? umask(0777 & ~mode) : 0;
    int fd = open_listening(address, false);
    if (fd < 0 && errno == EADDRINUSE) {
        if (remove_stale(address))
            fd = open_listening(address, false);
        else
            errno = EADDRINUSE;
    }
    if (mode)
        umask(mask);
    if (fd < 0)
        return PERI_ERR_SYSTEM;
    listening->real = *address;
    listening->fds[listening->count++] = fd;
    if (lstat(address->socket.un.sun_path, &info) == 0) {
        listening->device = info.st_dev;
        listening->inode = info.st_ino;
    }
    return PERI_OK;
}

static struct peri_listening *new_listening(struct peri_slice address, uint32_t workers)
{
    struct peri_listening *listening = calloc(1, sizeof(*listening) + workers * sizeof(int));
    if (!listening)
        return NULL;
    listening->address = strndup(address.ptr, address.len);
    if (!listening->address) {
        free(listening);
        return NULL;
    }
    return listening;
}

peri_err_t peri_listening_open(struct peri_slice text, uint32_t workers, unsigned mode, struct peri_listening **out,
                               char *message, size_t size)
{
    struct peri_address address;
    struct peri_listening *listening = new_listening(text, workers);
    peri_err_t err = PERI_ERR_SYSTEM;
    *out = NULL;
    if (!listening) {
        snprintf(message, size, "out of memory");
        return PERI_ERR_NOMEM;
    }
    if (peri_address_parse(text, &address) != PERI_OK)
        errno = EINVAL;
    else if (address.socket.any.sa_family == AF_UNIX)
        err = open_unix(listening, &address, mode);
    else
        err = open_tcp(listening, &address, workers);
    if (err != PERI_OK) {
        explain(text, errno, message, size);
        peri_listening_close(listening);
        return err;
    }
    peri_address_format(&listening->real, listening->real_text);
    *out = listening;
    return PERI_OK;
}

int peri_listening_fd(const struct peri_listening *listening, uint32_t worker)
{
    return listening->fds[worker % listening->count];
}

struct peri_slice peri_listening_address(const struct peri_listening *listening)
{
    return peri_slice_from(listening->address);
}

const char *peri_listening_real(const struct peri_listening *listening)
{
    return listening->real_text;
}

static void remove_file(const struct peri_listening *listening)
{
    struct stat info;
    const char *path = listening->real.socket.un.sun_path;
    if (listening->real.socket.any.sa_family != AF_UNIX || lstat(path, &info) != 0)
        return;
    if (info.st_dev == listening->device && info.st_ino == listening->inode)
        unlink(path);
}

void peri_listening_close(struct peri_listening *listening)
{
    if (!listening)
        return;
    if (listening->count > 0)
        remove_file(listening);
    while (listening->count > 0)
        close(listening->fds[--listening->count]);
    free(listening->address);
    free(listening);
}
