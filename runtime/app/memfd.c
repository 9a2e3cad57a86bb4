// SPDX-License-Identifier: MIT
// memfd_create, seals and read-only mappings.
#include "app/memfd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define SEALS (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)

static int write_all(int fd, struct peri_slice part)
{
    while (part.len > 0) {
        ssize_t n = write(fd, part.ptr, part.len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        part.ptr += n;
        part.len -= (size_t)n;
    }
    return 0;
}

static int fail(int fd)
{
    int saved = errno;
    close(fd);
    errno = saved;
    return -1;
}

int peri_memfd_new(const char *name, const struct peri_slice *parts, size_t count)
{
    int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return -1;
    for (size_t i = 0; i < count; i++)
        if (write_all(fd, parts[i]) != 0)
            return fail(fd);
    return fcntl(fd, F_ADD_SEALS, SEALS) == 0 ? fd : fail(fd);
}

peri_err_t peri_memfd_map(int fd, size_t limit, struct peri_slice *bytes)
{
    struct stat info;
    *bytes = peri_slice(NULL, 0);
    int seals = fcntl(fd, F_GET_SEALS);
    if (seals < 0 || (seals & SEALS) != SEALS || fstat(fd, &info) != 0 || info.st_size < 0)
        return PERI_ERR_INVALID;
    if ((size_t)info.st_size > limit)
        return PERI_ERR_INVALID;
    if (info.st_size == 0)
        return PERI_OK;
    void *map = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED)
        return PERI_ERR_SYSTEM;
    *bytes = peri_slice(map, (size_t)info.st_size);
    return PERI_OK;
}

void peri_memfd_unmap(struct peri_slice bytes)
{
    if (bytes.len > 0)
        munmap((void *)bytes.ptr, bytes.len);
}

struct peri_slice peri_memfd_copy(int fd, size_t limit)
{
    struct peri_slice bytes;
    if (peri_memfd_map(fd, limit, &bytes) != PERI_OK)
        return peri_slice(NULL, 0);
    char *text = malloc(bytes.len + 1);
    if (text) {
        if (bytes.len > 0)
            memcpy(text, bytes.ptr, bytes.len);
        text[bytes.len] = '\0';
    }
    peri_memfd_unmap(bytes);
    return peri_slice(text, text ? bytes.len : 0);
}
