// SPDX-License-Identifier: MIT
// The timer wheel.
//
//   start: hang in the slot of the deadline, or in the furthest one when it is beyond the wheel's reach
//   start again with a later deadline: only the deadline is stored; the slot comes first and re-hangs the timer
//   slot comes: due timers fire, the others are hung again
#include "base/assert.h"
#include "event/loop_internal.h"

static void on_uv_timer(uv_timer_t *handle)
{
    struct peri_loop *loop = handle->data;
    loop->now.ns = 0;
    loop->wheel.armed_ms = UINT64_MAX;
    peri_wheel_run(loop);
}

void peri_wheel_init(struct peri_loop *loop)
{
    struct peri_wheel *wheel = &loop->wheel;
    for (unsigned i = 0; i < PERI_WHEEL_SLOTS; i++)
        peri_list_init(&wheel->slots[i]);
    wheel->tick_ms = loop->is_virtual ? 1 : 4;
    wheel->tick = peri_loop_now_ms(loop) / wheel->tick_ms;
    wheel->armed_ms = UINT64_MAX;
    uv_timer_init(&loop->uv, &loop->timer);
    loop->timer.data = loop;
}

static void wheel_arm(struct peri_loop *loop, uint64_t when_ms)
{
    if (loop->is_virtual || when_ms >= loop->wheel.armed_ms)
        return;
    uint64_t now = peri_loop_now_ms(loop);
    loop->wheel.armed_ms = when_ms;
    // One millisecond more than the rest: libuv's own cached clock may be behind ours.
    uv_timer_start(&loop->timer, on_uv_timer, when_ms > now ? when_ms - now + 1 : 1, 0);
}

static void wheel_hang(struct peri_loop *loop, struct peri_timer *timer)
{
    struct peri_wheel *wheel = &loop->wheel;
    uint64_t tick = (timer->deadline_ms + wheel->tick_ms - 1) / wheel->tick_ms;
    if (tick <= wheel->tick)
        tick = wheel->tick + 1;
    if (tick >= wheel->tick + PERI_WHEEL_SLOTS)
        tick = wheel->tick + PERI_WHEEL_SLOTS - 1;
    unsigned slot = tick % PERI_WHEEL_SLOTS;
    timer->slot_ms = tick * wheel->tick_ms;
    peri_list_append(&wheel->slots[slot], &timer->link);
    wheel->used[slot / 64] |= 1ull << (slot % 64);
    wheel_arm(loop, timer->slot_ms);
}

void peri_timer_init(struct peri_timer *timer, void (*on_fire)(struct peri_timer *timer))
{
    *timer = (struct peri_timer){.on_fire = on_fire};
    peri_list_init(&timer->link);
}

void peri_timer_start(struct peri_loop *loop, struct peri_timer *timer, uint64_t delay_ms)
{
    timer->deadline_ms = peri_loop_now_ms(loop) + delay_ms;
    if (!peri_list_is_empty(&timer->link)) {
        if (timer->slot_ms <= timer->deadline_ms)
            return;
        peri_list_remove(&timer->link);
    }
    wheel_hang(loop, timer);
}

void peri_timer_stop(struct peri_timer *timer)
{
    timer->deadline_ms = 0;
    peri_list_remove(&timer->link);
}

// Runs one slot whose time has come. The list is moved aside first: timers may stop or start any timer meanwhile.
static void wheel_run_slot(struct peri_loop *loop, unsigned slot)
{
    struct peri_wheel *wheel = &loop->wheel;
    struct peri_list due;
    if (peri_list_is_empty(&wheel->slots[slot]))
        return;
    due = wheel->slots[slot];
    due.next->prev = due.prev->next = &due;
    peri_list_init(&wheel->slots[slot]);
    while (!peri_list_is_empty(&due)) {
        struct peri_timer *timer = PERI_LIST_ITEM(due.next, struct peri_timer, link);
        peri_list_remove(&timer->link);
        if (timer->deadline_ms > peri_loop_now_ms(loop)) {
            wheel_hang(loop, timer);
            continue;
        }
        timer->deadline_ms = 0;
        timer->on_fire(timer);
    }
}

uint64_t peri_wheel_next_ms(const struct peri_loop *loop)
{
    const struct peri_wheel *wheel = &loop->wheel;
    for (uint64_t i = 1; i < PERI_WHEEL_SLOTS; i++) {
        unsigned slot = (wheel->tick + i) % PERI_WHEEL_SLOTS;
        if (slot % 64 == 0 && wheel->used[slot / 64] == 0) {
            i += 63;
            continue;
        }
        if (wheel->used[slot / 64] & 1ull << (slot % 64))
            return (wheel->tick + i) * wheel->tick_ms;
    }
    return UINT64_MAX;
}

uint32_t peri_wheel_count(const struct peri_loop *loop)
{
    uint32_t count = 0;
    for (unsigned i = 0; i < PERI_WHEEL_SLOTS; i++) {
        const struct peri_list *slot = &loop->wheel.slots[i];
        for (const struct peri_list *link = slot->next; link != slot; link = link->next)
            count++;
    }
    return count;
}

void peri_wheel_run(struct peri_loop *loop)
{
    struct peri_wheel *wheel = &loop->wheel;
    uint64_t target = peri_loop_now_ms(loop) / wheel->tick_ms;
    uint64_t next;
    while ((next = peri_wheel_next_ms(loop)) != UINT64_MAX && next / wheel->tick_ms <= target) {
        wheel->tick = next / wheel->tick_ms;
        unsigned slot = wheel->tick % PERI_WHEEL_SLOTS;
        wheel->used[slot / 64] &= ~(1ull << (slot % 64));
        wheel_run_slot(loop, slot);
    }
    wheel->tick = target;
    if (next != UINT64_MAX)
        wheel_arm(loop, next);
}
