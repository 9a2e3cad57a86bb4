// SPDX-License-Identifier: MIT
//
// Files that are part of the binary: the Lua SDK, the shipped policies, the templates of new ones, the editor stubs and the FFI header. The
// build makes the table from lua/, policies/, tools/templates/ and include/perigee/ffi.h (tools/embed); specs are left out.
// Everything here is constant and lives as long as the process.

#ifndef PERI_BASE_EMBED_H
#define PERI_BASE_EMBED_H

#include <stddef.h>

/// One file of the source tree.
struct peri_embed {
    const char *path;          ///< relative to the top of the tree: "lua/perigee/init.lua", "policies/jwt/init.lua"
    const unsigned char *data; ///< its bytes; data[len] is a zero that is not part of the file
    size_t len;                ///< bytes
};

/// All embedded files, sorted by the bytes of their path; peri_embed_count entries.
extern const struct peri_embed peri_embed_files[];
/// Number of entries in peri_embed_files.
extern const size_t peri_embed_count;

/// Finds an embedded file by its exact path.
/// @param path relative to the top of the tree, with '/' between the parts
/// @return the entry (process lifetime, borrowed), or NULL when no such file was embedded
const struct peri_embed *peri_embed_find(const char *path);

#endif
