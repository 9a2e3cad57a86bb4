// SPDX-License-Identifier: MIT
// Asks the policies of a tcp listener about a connection: one entry into the VM for on_connect of all of them, which may wait. Knows
// nothing of streams; the connection is some texts.
#ifndef PERI_SCRIPT_CONNECT_H
#define PERI_SCRIPT_CONNECT_H

#include <stdint.h>

#include "base/slice.h"
#include "script/chain.h"

struct peri_fiber;

/// A question; embedded in its owner, who keeps it until the verdict or peri_connect_cancel.
struct peri_connect {
    struct peri_slice client; ///< its address, "unix" for none; borrowed for the call
    uint16_t port;
    struct peri_slice server_name; ///< likewise; empty for none
    struct peri_slice alpn;        ///< likewise: what the client offers, each a length and its bytes; empty for nothing
    char upstream[256];            ///< with CONTINUE: the upstream that a policy chose, "" for none
    /// A PENDING question is answered. Called from the event loop.
    void (*on_verdict)(struct peri_connect *connect, enum peri_verdict verdict);
    struct peri_fiber *fiber; ///< under way; NULL otherwise
};

/// Asks the policies of listener number `index` (the "connect" of its normalised form, less 1). CONTINUE: pass it on; REPLY: a
/// policy refused it; FAIL: a policy failed, or memory is out; PENDING: on_verdict says later which of them.
enum peri_verdict peri_connect_run(struct peri_script_generation *script, uint32_t index, struct peri_connect *connect);

/// Takes a pending question back; no-op for others. Not from inside a VM entry.
void peri_connect_cancel(struct peri_connect *connect);

#endif
