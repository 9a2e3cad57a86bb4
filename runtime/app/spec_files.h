// SPDX-License-Identifier: MIT
// Finds the specs of a configuration: every *_spec.lua below `spec` and `policies` in its folder.
#ifndef PERI_APP_SPEC_FILES_H
#define PERI_APP_SPEC_FILES_H

#include <stdint.h>

#include "base/err.h"

#define PERI_SPEC_FILES 1000 ///< most files
#define PERI_SPEC_DEPTH 8    ///< folders below each other

struct peri_spec_files {
    char **paths; ///< owned; relative to the folder, in byte order
    uint32_t count;
};

/// Lists the specs in `directory`. Folders that are links and names that begin with "." are passed over. PERI_ERR_LIMIT when there
/// are more, PERI_ERR_NOMEM, PERI_ERR_SYSTEM. The caller closes the list, also after an error.
peri_err_t peri_spec_files_find(const char *directory, struct peri_spec_files *files);

/// Frees the list.
void peri_spec_files_close(struct peri_spec_files *files);

#endif
