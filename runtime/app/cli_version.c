// SPDX-License-Identifier: MIT
// `perigee version`: this program and the libraries it runs with, as they say it themselves.
#include <stdio.h>

#include "app/cli.h"
#include "codec/digest.h"
#include "codec/h1.h"
#include "codec/json.h"
#include "codec/regex.h"
#include "event/dns.h"
#include "event/loop.h"
#include "event/redis_reply.h"
#include "script/vm.h"
#include "version.h"

int peri_cli_version(int argc, char **argv)
{
    if (argc > 1)
        return peri_cli_usage(argv[0], "'%s' is one argument too many", argv[1]);
    printf("perigee  %s\n", PERI_VERSION);
    printf("LuaJIT   %s\n", peri_vm_version());
    printf("libuv    %s\n", peri_loop_version());
    printf("llhttp   %s\n", peri_h1_version());
    printf("OpenSSL  %s\n", peri_digest_version());
    printf("jansson  %s\n", peri_json_version());
    printf("c-ares   %s\n", peri_dns_version());
    printf("hiredis  %s\n", peri_redis_version());
    printf("PCRE2    %s\n", peri_regex_version());
    return PERI_EXIT_OK;
}
