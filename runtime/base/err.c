// SPDX-License-Identifier: MIT
// The rows of the error table.
#include "base/err.h"

#include <errno.h>

#include "base/assert.h"

static const struct peri_err_info err_table[PERI_ERR_COUNT] = {
#define X(code, name, status, flag, retryable, text) [code] = {name, flag, text, status, retryable},
    PERI_ERR_TABLE(X)
#undef X
};

const struct peri_err_info *peri_err_info(peri_err_t err)
{
    peri_assert((unsigned)err < PERI_ERR_COUNT);
    return &err_table[err];
}

bool peri_err_is_shortage(int error)
{
    return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM;
}
