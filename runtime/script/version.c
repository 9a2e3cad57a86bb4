// SPDX-License-Identifier: MIT
// The version of LuaJIT, for `perigee version`.
#include <luajit.h>

#include "script/vm.h"

const char *peri_vm_version(void)
{
    return LUAJIT_VERSION + sizeof("LuaJIT ") - 1;
}
