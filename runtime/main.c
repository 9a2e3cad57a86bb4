// SPDX-License-Identifier: MIT
// Perigee: a Lua-scriptable programmable proxy. Where what is:
//
//   app/cli            the commands
//   app/supervisor     `perigee run`: configuration, listeners, workers, reloads, admin interface
//   app/worker         what serves, in a process of its own or in this one
//   proxy/server       listeners and generations of a worker
//   proxy/pipeline     the way of a request
#include <signal.h>

#include "app/cli.h"

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN); // a peer that goes away is an error of one write
    return peri_cli_main(argc, argv);
}
