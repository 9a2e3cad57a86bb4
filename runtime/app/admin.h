// SPDX-License-Identifier: MIT
// The admin interface: HTTP on a loopback address or a unix socket, answered by the supervisor itself. An owner of exchanges
// like the proxy's pipeline, but without routes and Lua. What it answers is made in admin_views.c.
#ifndef PERI_APP_ADMIN_H
#define PERI_APP_ADMIN_H

struct peri_admin;
struct peri_listening;
struct peri_loop;
struct peri_supervisor;

/// Serves on the socket of `listening` (borrowed) on behalf of `supervisor` (borrowed). NULL when out of memory.
struct peri_admin *peri_admin_open(struct peri_loop *loop, const struct peri_listening *listening,
                                   struct peri_supervisor *supervisor);

/// Closes every connection at once; requests that wait for a reload are forgotten. NULL is fine.
void peri_admin_close(struct peri_admin *admin);

#endif
