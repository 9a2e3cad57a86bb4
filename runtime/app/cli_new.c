// SPDX-License-Identifier: MIT
// `perigee new policy NAME`: writes the files of a new policy from the templates in the binary (tools/templates/). What is
// there already is never touched; a policy that cannot be written whole leaves nothing behind.
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "app/cli.h"
#include "app/files.h"
#include "base/assert.h"
#include "base/embed.h"

#define NAME_MAX_LEN 64
#define PATH_SIZE 160

// Where a template goes; "NAME" stands for the policy's name, here and in the templates.
struct scaffold {
    const char *template_path;
    const char *to;
};

static const struct scaffold scaffolds[] = {
    {"tools/templates/policy/init.lua", "policies/NAME/init.lua"},
    {"tools/templates/policy/README.md", "policies/NAME/README.md"},
    {"tools/templates/policy/spec.lua", "spec/NAME_spec.lua"},
};

// Writes `text` with the name in place. False when the file system refuses.
static bool write_named(FILE *out, const char *text, const char *name)
{
    const char *at;
    while ((at = strstr(text, "NAME")) != NULL) {
        fwrite(text, 1, (size_t)(at - text), out);
        fputs(name, out);
        text = at + strlen("NAME");
    }
    fputs(text, out);
    return !ferror(out);
}

static void format_path(char path[PATH_SIZE], const char *to, const char *name)
{
    FILE *out = fmemopen(path, PATH_SIZE, "w");
    peri_assert(out != NULL);
    write_named(out, to, name);
    fclose(out);
}

static bool is_name(const char *name)
{
    size_t len = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_");
    return name[0] >= 'a' && name[0] <= 'z' && name[len] == '\0' && len <= NAME_MAX_LEN;
}

// ---- files ----

static bool create(const struct scaffold *scaffold, const char *name)
{
    char path[PATH_SIZE];
    const struct peri_embed *template = peri_embed_find(scaffold->template_path);
    peri_assert(template != NULL);
    format_path(path, scaffold->to, name);
    int fd = peri_files_make_parents(path) ? open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666) : -1;
    FILE *out = fd >= 0 ? fdopen(fd, "w") : NULL;
    bool is_written = out && write_named(out, (const char *)template->data, name);
    if (out && fclose(out) == 0 && is_written)
        return true;
    peri_cli_error("%s cannot be written: %s", path, strerror(errno));
    if (fd >= 0)
        unlink(path);
    return false;
}

// Takes back the first `count` files and the policy's folder; others may have been there before.
static void take_back(const char *name, size_t count)
{
    char path[PATH_SIZE];
    for (size_t i = 0; i < count; i++) {
        format_path(path, scaffolds[i].to, name);
        unlink(path);
    }
    format_path(path, "policies/NAME", name);
    rmdir(path);
}

static bool is_free(const char *name)
{
    static const char *const places[] = {"policies/NAME", "policies/NAME.lua", "spec/NAME_spec.lua"};
    char path[PATH_SIZE];
    struct stat status;
    for (size_t i = 0; i < PERI_COUNT(places); i++) {
        format_path(path, places[i], name);
        if (lstat(path, &status) == 0) {
            peri_cli_error("%s is there already; nothing was written", path);
            return false;
        }
    }
    snprintf(path, sizeof(path), "policies/%s/init.lua", name);
    if (!peri_embed_find(path))
        return true;
    peri_cli_error("'%s' is a policy that comes with Perigee; choose another name", name);
    return false;
}

// ---- the command ----

static void print_next(const char *name)
{
    char path[PATH_SIZE];
    for (size_t i = 0; i < PERI_COUNT(scaffolds); i++) {
        format_path(path, scaffolds[i].to, name);
        printf("%screated%s %s\n", peri_cli_color(stdout, "32"), peri_cli_color(stdout, "0"), path);
    }
    int width = (int)(strlen("perigee test spec/_spec.lua") + strlen(name)); // of the longest command
    int rest = width - (int)(strlen("policies = { \"\" }") + strlen(name));
    printf("\nNext:\n"
           "  perigee test spec/%s_spec.lua   runs its spec, which passes\n"
           "  policies = { \"%s\" }%*s   in a route of the configuration in this folder puts it to work\n"
           "  %-*s   serves it while you write; 'perigee check FILE' says whether it is fine\n"
           "  %-*s   lets an editor with lua-language-server complete and check it\n",
           name, name, rest, "", width, "perigee dev FILE", width, "perigee stubs");
}

static int new_policy(const char *name)
{
    if (!is_free(name))
        return PERI_EXIT_FAILED;
    for (size_t i = 0; i < PERI_COUNT(scaffolds); i++) {
        if (!create(&scaffolds[i], name)) {
            take_back(name, i);
            return PERI_EXIT_FAILED;
        }
    }
    print_next(name);
    return PERI_EXIT_OK;
}

int peri_cli_new(int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        if (argv[i][0] == '-')
            return peri_cli_usage(argv[0], "there is no option '%s'", argv[i]);
    if (argc < 2)
        return peri_cli_usage(argv[0], "what is to be new? 'perigee new policy NAME' makes a policy");
    if (strcmp(argv[1], "policy") != 0)
        return peri_cli_usage(argv[0], "'%s' is nothing that can be made; 'policy' is", argv[1]);
    if (argc < 3)
        return peri_cli_usage(argv[0], "how is the policy called? Give its name");
    if (argc > 3)
        return peri_cli_usage(argv[0], "'%s' is one argument too many", argv[3]);
    if (!is_name(argv[2]))
        return peri_cli_usage(
            argv[0], "'%s' is no name for a policy: a lower-case letter, then letters, digits and '_', at most %d",
            argv[2], NAME_MAX_LEN);
    return new_policy(argv[2]);
}
