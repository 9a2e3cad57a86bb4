// SPDX-License-Identifier: MIT
// Addresses as the configuration writes them: "127.0.0.1:8080", "[::1]:8080", "localhost:8080", "*:8080" for every
// IPv4 interface, "unix:/run/perigee.sock". Nothing here asks a name server.
#ifndef PERI_APP_ADDRESS_H
#define PERI_APP_ADDRESS_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/err.h"
#include "base/slice.h"

#define PERI_ADDRESS_TEXT 128 ///< room for the text form of any address, with its zero

struct peri_address {
    union {
        struct sockaddr any;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
        struct sockaddr_un un;
    } socket;
    socklen_t len;
};

/// Reads an address; the port may be 0, or "0#2", "0#3" … for further listeners with port 0. PERI_ERR_INVALID for what is none of the forms above.
peri_err_t peri_address_parse(struct peri_slice text, struct peri_address *address);

/// Writes an address in the form that peri_address_parse reads.
void peri_address_format(const struct peri_address *address, char text[PERI_ADDRESS_TEXT]);

/// Only reachable from this machine: a loopback address or a unix socket?
bool peri_address_is_local(const struct peri_address *address);

#endif
