// SPDX-License-Identifier: MIT
// The error comes first, the others in the order of their bits.
#include "proxy/flags.h"

#include "base/assert.h"
#include "codec/grpc.h"
#include "exchange/exchange.h"
#include "proxy/grpc.h"

// The proxy's own answer to who asks too often, whichever policy gave it; gRPC calls have it as a status of theirs.
static bool is_rate_limited(const struct peri_exchange *x, int status)
{
    return x->res.is_own && (status == 429 || peri_grpc_status(x) == PERI_GRPC_RESOURCE_EXHAUSTED);
}

// Why the proxy answered or broke off.
static struct peri_slice reason_of(const struct peri_exchange *x, int status)
{
    struct peri_slice flag = peri_slice_from(peri_err_info(x->facts.err)->flag);
    return flag.len == 0 && is_rate_limited(x, status) ? PERI_SLICE("RL") : flag;
}

// Is the flag among those that are joined by commas?
static bool has_flag(struct peri_slice flags, struct peri_slice flag)
{
    size_t begin = 0;
    for (size_t i = 0; i <= flags.len; i++) {
        if (i < flags.len && flags.ptr[i] != ',')
            continue;
        if (peri_slice_eq(peri_slice(flags.ptr + begin, i - begin), flag))
            return true;
        begin = i + 1;
    }
    return false;
}

static void add(struct peri_slice *flags, char *room, struct peri_slice flag)
{
    if (flag.len == 0 || has_flag(*flags, flag))
        return;
    peri_assert(flags->len + 1 + flag.len <= PERI_FLAGS_ROOM);
    if (flags->len > 0)
        room[flags->len++] = ',';
    memcpy(room + flags->len, flag.ptr, flag.len);
    flags->len += flag.len;
}

struct peri_slice peri_flags_format(const struct peri_exchange *x, int status, char room[PERI_FLAGS_ROOM])
{
    struct peri_slice flags = peri_slice(room, 0);
    add(&flags, room, reason_of(x, status));
    for (uint32_t left = x->facts.flags; left != 0; left &= left - 1)
        add(&flags, room, peri_slice_from(peri_flag_letters((enum peri_flag)(left & -left))));
    return flags;
}
