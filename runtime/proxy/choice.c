// SPDX-License-Identifier: MIT
// What limited the choice is read from the upstream's view, which is as the choice left it: nobody pays for it who does not ask.
#include "proxy/choice.h"

#include "base/attr.h"
#include "exchange/exchange.h"
#include "proxy/trace.h"
#include "shared/text.h"
#include "upstream/guard.h"
#include "upstream/upstream.h"

#define LEFT_OUT_MAX 4 ///< endpoints left out that are named

// ---- by what ----

static void put_slice(struct peri_text *out, const char *before, struct peri_slice text)
{
    peri_text_add(out, peri_slice_from(before));
    peri_text_add(out, text);
}

static void put_key(struct peri_text *out, const struct peri_exchange *x, const struct peri_balance *balance)
{
    static const char *const names[] = {"", " by header ", " by cookie ", " by client", " by path"};
    bool is_script = x->wish && x->wish->key.ptr;
    put_slice(out, is_script ? " by a key of a function" : names[balance->key.kind],
              is_script ? peri_slice(NULL, 0) : balance->key.name);
}

static void put_algorithm(struct peri_text *out, const struct peri_exchange *x, const struct peri_balance *balance,
                          const struct peri_pick *pick)
{
    peri_text_add(out, peri_slice_from(balance->type->name));
    if (balance->type->is_keyed && pick->has_hash)
        put_key(out, x, balance);
}

// ---- among whom ----

static void put_labels(struct peri_text *out, const struct peri_labels *labels)
{
    for (uint32_t i = 0; labels && i < labels->count; i++) {
        put_slice(out, i == 0 ? " with " : " and ", labels->items[i].name);
        put_slice(out, "=", labels->items[i].value);
    }
}

static void put_limits(struct peri_text *out, const struct peri_upstream *upstream, const struct peri_pick *pick)
{
    const struct peri_filter *filter = &upstream->view.filter;
    bool is_limited = !upstream->view.is_whole || pick->except;
    if (is_limited && upstream->tier_count > 1)
        peri_text_printf(out, " of priority %u", filter->priority);
    if (is_limited && filter->zone != PERI_ZONE_NONE)
        peri_text_printf(out, " in %s zone", filter->zone == upstream->balance.zone ? "this" : "another");
    put_labels(out, pick->labels);
    if (is_limited && filter->except)
        peri_text_add(out, PERI_SLICE(", without the one before"));
    if (is_limited && filter->is_panic && pick->among > 0)
        peri_text_add(out, PERI_SLICE(", in a panic: too few are available, so all are asked"));
}

// What would have decided, and said nothing.
static void put_lack(struct peri_text *out, const struct peri_balance *balance, const struct peri_pick *pick)
{
    if (balance->type->is_keyed && !pick->has_hash)
        peri_text_add(out, PERI_SLICE(", no key"));
    if (balance->has_function)
        peri_text_add(out, PERI_SLICE(", the function of `balance` named nobody"));
    if (balance->cookie.len > 0)
        peri_text_add(out, pick->token.len > 0 ? PERI_SLICE(", the cookie names nobody who can be used")
                                               : PERI_SLICE(", no cookie"));
}

// ---- who not ----

static void put_left_out(struct peri_text *out, const struct peri_upstream *upstream)
{
    char why[PERI_GUARD_TEXT];
    unsigned count = 0;
    for (uint32_t i = 0; upstream->guard && i < upstream->count; i++) {
        if (!peri_guard_describe(upstream->guard, i, why) || count++ >= LEFT_OUT_MAX)
            continue;
        put_slice(out, "; ", peri_pool_address(upstream->endpoints[i].pool));
        peri_text_printf(out, " is %s", why);
    }
    if (count > LEFT_OUT_MAX)
        peri_text_printf(out, "; %u more cannot be used", count - LEFT_OUT_MAX);
}

static void put_choice(struct peri_text *out, const struct peri_exchange *x, const struct peri_upstream *upstream,
                       const struct peri_pick *pick)
{
    if (upstream->count == 0) {
        peri_text_add(out, PERI_SLICE("it has no endpoints"));
    } else if (upstream->count == 1 && pick->among == 1 && !pick->labels) {
        peri_text_add(out, PERI_SLICE("the only endpoint"));
    } else if (pick->among == 0) {
        peri_text_printf(out, "none of %u endpoint%s", upstream->count, upstream->count == 1 ? "" : "s");
        put_limits(out, upstream, pick);
    } else {
        put_algorithm(out, x, &upstream->balance, pick);
        peri_text_printf(out, " among %u of %u endpoints", pick->among, upstream->count);
        put_limits(out, upstream, pick);
        put_lack(out, &upstream->balance, pick);
    }
}

void peri_choice_note(struct peri_exchange *x, const struct peri_upstream *upstream, const struct peri_pick *pick)
{
    struct peri_text text;
    peri_text_init(&text);
    if (pick->is_sticky)
        peri_text_add(&text, PERI_SLICE("the client's cookie names it"));
    else
        put_choice(&text, x, upstream, pick);
    put_left_out(&text, upstream);
    x->trace->choice = text.failed ? peri_slice(NULL, 0) : peri_arena_copy(&x->arena, peri_slice(text.data, text.len));
    peri_text_close(&text);
}

void peri_choice_note_script(struct peri_exchange *x, bool is_policy)
{
    if (PERI_UNLIKELY(x->trace != NULL))
        x->trace->choice =
            is_policy ? PERI_SLICE("a policy chose it") : PERI_SLICE("the function of `balance` chose it");
}
