// SPDX-License-Identifier: MIT
// What changed between two snapshots, file by file: for people who ask what a generation is. Of secrets only the names are told.
#ifndef PERI_APP_CHANGES_H
#define PERI_APP_CHANGES_H

#define PERI_CHANGES_DIFF (64u * 1024) ///< most bytes of a diff that are kept

struct peri_json;
struct peri_snapshot;

struct peri_changes {
    struct peri_json
        *files; ///< owned; array of {file, change, added, removed} (docs/operations/admin.md); NULL: out of memory
    char *diff; ///< owned; a unified diff of the files, "" when nothing changed; NULL: out of memory
};

/// Compares two snapshots. The caller closes the result.
void peri_changes_make(const struct peri_snapshot *from, const struct peri_snapshot *to, struct peri_changes *changes);

/// Frees the members.
void peri_changes_close(struct peri_changes *changes);

#endif
