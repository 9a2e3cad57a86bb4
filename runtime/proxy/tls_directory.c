// SPDX-License-Identifier: MIT
// Goes by names: lego, acme.sh and Kubernetes write pairs of files, certbot a folder for each certificate.
#include "proxy/tls_directory.h"

#include <stdio.h>

#include "event/tls.h"
#include "proxy/tls_config.h"
#include "script/vm.h"

#define PATH_MAX_LEN 4608 // of the folder and a name in it; what is cut is refused by the source

struct directory {
    const struct peri_source *source;
    struct peri_slice path;
    struct peri_slice names; ///< each with a line break behind it
    struct peri_tls_certificate *certificates;
    size_t max;
    size_t *count;
    struct peri_tls_fault *fault;
};

static bool refuse(const struct directory *d, const char *path, const char *why)
{
    snprintf(d->fault->setting, sizeof(d->fault->setting), "directory");
    snprintf(d->fault->message, sizeof(d->fault->message), "'%.100s': %.140s", path, why);
    return false;
}

static bool next_name(struct peri_slice *rest, struct peri_slice *name)
{
    const char *end = rest->len > 0 ? memchr(rest->ptr, '\n', rest->len) : NULL;
    if (!end)
        return false;
    *name = peri_slice(rest->ptr, (size_t)(end - rest->ptr));
    *rest = peri_slice(end + 1, rest->len - name->len - 1);
    return true;
}

static bool has_ending(struct peri_slice name, struct peri_slice ending)
{
    return name.len > ending.len && memcmp(name.ptr + name.len - ending.len, ending.ptr, ending.len) == 0;
}

// Is there a file that is called `stem` and `ending`?
static bool has_name(const struct directory *d, struct peri_slice stem, struct peri_slice ending)
{
    struct peri_slice rest = d->names, name;
    while (next_name(&rest, &name))
        if (name.len == stem.len + ending.len && peri_slice_starts(name, stem) && has_ending(name, ending))
            return true;
    return false;
}

// One file of a pair. False when it is not there, or cannot be used: *is_refused tells these apart.
static bool read_part(const struct directory *d, const char *path, struct peri_slice *bytes, bool *is_refused)
{
    peri_err_t err = d->source->read(d->source->data, peri_slice_from(path), bytes);
    if (err == PERI_OK && bytes->len > 0)
        return true;
    *is_refused = err != PERI_ERR_NOT_FOUND;
    if (*is_refused)
        refuse(d, path, err == PERI_OK ? "the file is empty" : "the file cannot be read");
    return false;
}

static bool add_pair(const struct directory *d, const char *cert, const char *key)
{
    struct peri_tls_certificate pair = {.host_count = 0};
    struct peri_tls_server_options alone = {.certificates = &pair, .certificate_count = 1};
    bool is_refused = false;
    char why[PERI_TLS_WHY];
    if (!read_part(d, cert, &pair.cert, &is_refused) || !read_part(d, key, &pair.key, &is_refused))
        return !is_refused;
    if (d->source->mark_secret)
        d->source->mark_secret(d->source->data, peri_slice_from(key));
    if (*d->count == d->max)
        return refuse(d, cert, "there are too many certificates");
    struct peri_tls_server *server = peri_tls_server_new(&alone, why);
    if (!server)
        return refuse(d, cert, why);
    peri_tls_server_unref(server);
    d->certificates[(*d->count)++] = pair;
    return true;
}

static bool add_name(const struct directory *d, struct peri_slice name)
{
    char cert[PATH_MAX_LEN], key[PATH_MAX_LEN];
    int folder = (int)d->path.len, len = (int)name.len;
    if (has_ending(name, PERI_SLICE(".crt")) || has_ending(name, PERI_SLICE(".pem"))) {
        if (!has_name(d, peri_slice(name.ptr, name.len - 4), PERI_SLICE(".key")))
            return true;
        snprintf(cert, sizeof(cert), "%.*s/%.*s", folder, d->path.ptr, len, name.ptr);
        snprintf(key, sizeof(key), "%.*s/%.*s.key", folder, d->path.ptr, len - 4, name.ptr);
    } else {
        snprintf(cert, sizeof(cert), "%.*s/%.*s/fullchain.pem", folder, d->path.ptr, len, name.ptr);
        snprintf(key, sizeof(key), "%.*s/%.*s/privkey.pem", folder, d->path.ptr, len, name.ptr);
    }
    return add_pair(d, cert, key);
}

bool peri_tls_directory_read(const struct peri_source *source, struct peri_slice path,
                             struct peri_tls_certificate *certificates, size_t max, size_t *count,
                             struct peri_tls_fault *fault)
{
    struct directory d = {.source = source, .certificates = certificates, .max = max, .count = count, .fault = fault};
    char text[101];
    while (path.len > 1 && path.ptr[path.len - 1] == '/')
        path.len--;
    d.path = path;
    peri_err_t err = source->names ? source->names(source->data, path, &d.names) : PERI_ERR_SYSTEM;
    snprintf(text, sizeof(text), "%.*s", (int)(path.len < 100 ? path.len : 100), path.ptr);
    if (err != PERI_OK)
        return refuse(&d, text, err == PERI_ERR_NOT_FOUND ? "there is no such folder" : "the folder cannot be read");
    struct peri_slice rest = d.names, name;
    while (next_name(&rest, &name))
        if (!add_name(&d, name))
            return false;
    return *count > 0 || refuse(&d, text, "there is no certificate with its key in the folder");
}
