// SPDX-License-Identifier: MIT
//
// Preloaded into Perigee when it runs under valgrind. Perigee starts its children from /proc/self/exe, which there is
// valgrind's own program; this sends such a start to the file that BENCH_BINARY names. Nothing else is changed.

#include <dlfcn.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>

typedef int spawn_function(pid_t *, const char *, const posix_spawn_file_actions_t *, const posix_spawnattr_t *,
                           char *const[], char *const[]);

int posix_spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions,
                const posix_spawnattr_t *attributes, char *const args[], char *const env[])
{
    spawn_function *next = (spawn_function *)dlsym(RTLD_NEXT, "posix_spawn");
    const char *binary = getenv("BENCH_BINARY");
    if (binary && strcmp(path, "/proc/self/exe") == 0)
        path = binary;
    return next(pid, path, actions, attributes, args, env);
}
