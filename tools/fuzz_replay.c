// SPDX-License-Identifier: MIT
//
// A main() for a fuzz target built without libFuzzer: runs the target once over the empty input and once over every
// regular file of the directories and files named on the command line, so that the corpora in spec/fuzz/corpus/ are
// ordinary tests. It must not know what the target parses.

#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

/// The target. Reads exactly `size` bytes at `data`, which stay borrowed until it returns; always returns 0.
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int replay_file(const char *path);
static int replay_dir(const char *path);

int main(int argc, char **argv)
{
    int files = 0;

    LLVMFuzzerTestOneInput((const uint8_t *)"", 0);
    for (int i = 1; i < argc; i++) {
        struct stat st;
        if (stat(argv[i], &st) != 0) {
            perror(argv[i]);
            return 1;
        }
        int n = S_ISDIR(st.st_mode) ? replay_dir(argv[i]) : replay_file(argv[i]);
        if (n < 0) {
            perror(argv[i]);
            return 1;
        }
        files += n;
    }
    printf("%d inputs replayed\n", files);
    return files > 0 ? 0 : 1;
}

/// Copies the file into a heap block of its exact size, so that a sanitizer sees a read past the end.
static int replay_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (!file)
        return -1;
    fseek(file, 0, SEEK_END);
    long size = ftell(file);
    rewind(file);
    uint8_t *data = size >= 0 ? malloc(size > 0 ? (size_t)size : 1) : NULL;
    size_t got = data ? fread(data, 1, (size_t)size, file) : 0;
    fclose(file);
    if (!data || got != (size_t)size) {
        free(data);
        return -1;
    }
    LLVMFuzzerTestOneInput(data, got);
    free(data);
    return 1;
}

static int replay_dir(const char *path)
{
    DIR *dir = opendir(path);
    int files = 0;

    if (!dir)
        return -1;
    for (struct dirent *entry; (entry = readdir(dir));) {
        char full[4096];
        if (entry->d_name[0] == '.' || snprintf(full, sizeof full, "%s/%s", path, entry->d_name) >= (int)sizeof full)
            continue;
        if (replay_file(full) < 0) {
            closedir(dir);
            return -1;
        }
        files++;
    }
    closedir(dir);
    return files;
}
