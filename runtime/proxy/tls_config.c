// SPDX-License-Identifier: MIT
// Files to slices, settings to options; event/tls does the rest.
#include "proxy/tls_config.h"

#include <stdio.h>
#include <string.h>

#include "codec/json.h"
#include "event/tls.h"
#include "proxy/tls_directory.h"
#include "script/vm.h"
#include "shared/shm.h"

#define CERTIFICATES_MAX 256 // of one listener; as many as the schema allows
#define HOSTS_MAX 64         // names of one certificate; as many as the schema allows
#define NAMES_MAX 64         // pinned names of an upstream; as many as the schema allows

static bool refuse(struct peri_tls_fault *fault, const char *setting, const char *message)
{
    snprintf(fault->setting, sizeof(fault->setting), "%s", setting);
    snprintf(fault->message, sizeof(fault->message), "%s", message);
    return false;
}

// The bytes of the file that `name` says, below `place`; empty when it says none. Nobody is shown those of a key.
static bool read_file(const struct peri_json *json, const char *place, const char *name,
                      const struct peri_source *source, struct peri_slice *bytes, struct peri_tls_fault *fault)
{
    char setting[64];
    struct peri_slice path = peri_json_get_string(json, name);
    *bytes = peri_slice(NULL, 0);
    if (path.len == 0)
        return true;
    peri_err_t err = source->read(source->data, path, bytes);
    if (err == PERI_OK && source->mark_secret && strcmp(name, "key") == 0)
        source->mark_secret(source->data, path);
    if (err == PERI_OK && bytes->len > 0)
        return true;
    snprintf(setting, sizeof(setting), "%s%s", place, name);
    refuse(fault, setting, "");
    snprintf(fault->message, sizeof(fault->message), "the file '%.*s' %s", (int)(path.len < 150 ? path.len : 150),
             path.ptr,
             err == PERI_ERR_NOT_FOUND ? "does not exist"
             : err == PERI_OK          ? "is empty"
                                       : "cannot be read");
    return false;
}

static enum peri_tls_version read_version(const struct peri_json *json)
{
    return peri_slice_eq(peri_json_get_string(json, "min_version"), PERI_SLICE("1.3")) ? PERI_TLS_1_3 : PERI_TLS_1_2;
}

static size_t read_names(const struct peri_json *list, struct peri_slice *names, size_t max)
{
    size_t count = 0;
    for (size_t i = 0; i < peri_json_count(list) && count < max; i++)
        names[count++] = peri_json_string(peri_json_at(list, i));
    return count;
}

// ---- listeners ----

static enum peri_tls_client_auth read_client_auth(const struct peri_json *json)
{
    struct peri_slice text = peri_json_get_string(json, "client_auth");
    if (peri_slice_eq(text, PERI_SLICE("require")))
        return PERI_TLS_CLIENT_REQUIRED;
    return peri_slice_eq(text, PERI_SLICE("optional")) ? PERI_TLS_CLIENT_OPTIONAL : PERI_TLS_CLIENT_NONE;
}

static bool offers(const struct peri_json *list, struct peri_slice protocol)
{
    for (size_t i = 0; i < peri_json_count(list); i++)
        if (peri_slice_eq(peri_json_string(peri_json_at(list, i)), protocol))
            return true;
    return false;
}

static bool read_certificate(const struct peri_json *json, const char *place, const struct peri_source *source,
                             struct peri_slice hosts[HOSTS_MAX], struct peri_tls_certificate *c,
                             struct peri_tls_fault *fault)
{
    c->hosts = hosts;
    c->host_count = read_names(peri_json_get(json, "hosts"), hosts, HOSTS_MAX);
    return read_file(json, place, "cert", source, &c->cert, fault) &&
           read_file(json, place, "key", source, &c->key, fault) &&
           read_file(json, place, "ocsp", source, &c->ocsp, fault);
}

// Loads those that are listed one after the other, so that a fault can be laid at the door of the one that has it.
static bool check_each(const struct peri_tls_server_options *options, size_t listed, struct peri_tls_fault *fault)
{
    for (size_t i = 0; i < listed && options->certificate_count > 1; i++) {
        struct peri_tls_server_options one = {.certificates = &options->certificates[i], .certificate_count = 1};
        struct peri_tls_server *server = peri_tls_server_new(&one, fault->message);
        if (!server) {
            snprintf(fault->setting, sizeof(fault->setting), listed > 1 ? "certificates[%zu]" : "", i + 1);
            return false;
        }
        peri_tls_server_unref(server);
    }
    return true;
}

// Reads the certificates that are listed, or has one made; those of a folder come behind them.
static bool read_certificates(const struct peri_json *json, const struct peri_source *source,
                              struct peri_tls_certificate certificates[CERTIFICATES_MAX],
                              struct peri_slice hosts[CERTIFICATES_MAX][HOSTS_MAX], size_t *count,
                              struct peri_tls_fault *fault)
{
    const struct peri_json *list = peri_json_get(json, "certificates");
    if (peri_json_get_bool(json, "dev", false)) {
        const struct peri_tls_certificate *made = peri_tls_dev_certificate();
        if (!made)
            return refuse(fault, "", "the certificate for development cannot be made");
        certificates[0] = *made;
        *count = 1;
        return true;
    }
    for (*count = 0; *count < peri_json_count(list) && *count < CERTIFICATES_MAX; (*count)++) {
        char place[32];
        snprintf(place, sizeof(place), peri_json_count(list) > 1 ? "certificates[%zu]." : "", *count + 1);
        if (!read_certificate(peri_json_at(list, *count), place, source, hosts[*count], &certificates[*count], fault))
            return false;
    }
    struct peri_slice directory = peri_json_get_string(json, "directory");
    return directory.len == 0 ||
           peri_tls_directory_read(source, directory, certificates, CERTIFICATES_MAX, count, fault);
}

struct peri_tls_server *peri_tls_config_server(const struct peri_json *json, const struct peri_source *source,
                                               struct peri_shm *shm, struct peri_tls_fault *fault)
{
    static struct peri_tls_certificate certificates[CERTIFICATES_MAX]; // used within one call only
    static struct peri_slice hosts[CERTIFICATES_MAX][HOSTS_MAX];
    const struct peri_json *alpn = peri_json_get(json, "alpn");
    struct peri_tls_server_options options = {
        .certificates = certificates,
        .client_auth = read_client_auth(json),
        .min_version = read_version(json),
        .has_h2 = offers(alpn, PERI_SLICE("h2")),
        .has_h1 = offers(alpn, PERI_SLICE("http/1.1")),
        .tickets = peri_shm_ticket_keys(shm),
    };
    *fault = (struct peri_tls_fault){0};
    if (!read_certificates(json, source, certificates, hosts, &options.certificate_count, fault) ||
        !read_file(json, "", "client_ca", source, &options.client_ca, fault) ||
        !check_each(&options, peri_json_count(peri_json_get(json, "certificates")), fault))
        return NULL;
    return peri_tls_server_new(&options, fault->message);
}

// ---- upstreams ----

struct peri_tls_client *peri_tls_config_client(const struct peri_json *json, const struct peri_source *source,
                                               bool has_h1, bool has_h2, struct peri_tls_fault *fault)
{
    struct peri_slice names[NAMES_MAX];
    struct peri_tls_client_options options = {
        .is_unverified = !peri_json_get_bool(json, "verify", true),
        .server_name = peri_json_get_string(json, "sni"),
        .names = names,
        .name_count = read_names(peri_json_get(json, "san"), names, NAMES_MAX),
        .min_version = read_version(json),
        .has_h1 = has_h1,
        .has_h2 = has_h2,
    };
    *fault = (struct peri_tls_fault){0};
    if (!read_file(json, "", "ca", source, &options.ca, fault) ||
        !read_file(json, "", "cert", source, &options.cert, fault) ||
        !read_file(json, "", "key", source, &options.key, fault))
        return NULL;
    return peri_tls_client_new(&options, fault->message);
}
