// SPDX-License-Identifier: MIT
// Ticks at any moment: far more often than the runtime's own, while scripts compile, collect, wait, fail and spend their budgets.
// The argument is the number of rounds.

#include <signal.h>
#include <time.h>

#include "script/watchdog.h"
#include "script_world.h"

#define TICK_NS 70000
#define ROUNDS 15
#define FIBERS 6

static int rounds = ROUNDS;

static const char *const spins[] = {
    "while true do end",
    "local n = 0 while true do n = n + 1 end",
    "local function f(n) return f(n + 1) end f(1)",
    "local function f(n) if n > 0 then pcall(f, n - 1) end while true do end end f(40)",
    "while true do pcall(function() while true do end end) end",
    "while true do xpcall(error, function() while true do end end) end",
    "while true do coroutine.wrap(function() for i = 1, 1e4 do coroutine.yield(i) end end)() end",
    "while true do coroutine.resume(coroutine.create(function() while true do end end)) end",
    "local t = {} while true do t = { t[1], tostring(#t), {} } end",
    "while true do load('return ' .. math.random(1e6))() end",
    "while true do local _ = req.headers['x-many'] end",
    "while true do ('aaa'):gsub('a', function() return {} end) end",
};

#define SPINS (int)(sizeof(spins) / sizeof(*spins))

// The policy spins in way `n` of the header "spin"; without it, it computes something that has one right answer.
static void open_world(void)
{
    static char policy[6144];
    size_t used = (size_t)snprintf(policy, sizeof(policy), "local spins = {\n");
    for (int i = 0; i < SPINS; i++)
        used += (size_t)snprintf(policy + used, sizeof(policy) - used, "function(req) %s end,\n", spins[i]);
    snprintf(policy + used, sizeof(policy) - used,
             "}\n"
             "local function work(seed)\n"
             "  local sum, words = 0, {}\n"
             "  for i = 1, 300 do\n"
             "    local ok, value = pcall(function(k) if k %% 7 == 0 then error({ k }) end return { k * 2 } end, i)\n"
             "    sum = sum + value[1]\n"
             "    if i %% 50 == 0 then words[#words + 1] = tostring(i + seed) end\n"
             "  end\n"
             "  local gather = coroutine.wrap(function() for _, w in ipairs(words) do coroutine.yield(w) end end)\n"
             "  for _ = 1, #words do sum = sum + tonumber(gather()) end\n"
             "  return sum\n"
             "end\n"
             "function P:on_request(req)\n"
             "  perigee.sleep(0.001)\n"
             "  local way = req.headers['spin']\n"
             "  if way then spins[tonumber(way)](req) end\n"
             "  for seed = 1, 10 do\n"
             "    local sum = work(seed)\n"
             "    if sum ~= 85029 + 6 * seed then error('wrong: ' .. sum) end\n"
             "  end\n"
             "  req.headers['x-seen'] = 'yes'\n"
             "end\n");
    world_with(policy, "upstream = 'origin', policies = { { 'p', budget = '20ms' } }");
}

static timer_t start_ticks(void)
{
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGPROF};
    struct itimerspec period = {.it_interval.tv_nsec = TICK_NS, .it_value.tv_nsec = TICK_NS};
    timer_t timer;
    assert_int_equal(timer_create(CLOCK_MONOTONIC, &event, &timer), 0);
    assert_int_equal(timer_settime(timer, 0, &period, NULL), 0);
    return timer;
}

// One exchange spins, the others do not; all wait at the same time.
static void one_round(int way)
{
    struct peri_exchange *x[FIBERS];
    char number[12];
    snprintf(number, sizeof(number), "%d", way + 1);
    world.log[0] = 0;
    for (int i = 0; i < FIBERS; i++) {
        x[i] = world_request();
        if (i == way % FIBERS)
            add_header(&x[i]->req.headers, "spin", number);
        assert_int_equal(run(x[i], PERI_PHASE_REQUEST), PERI_VERDICT_PENDING);
    }
    world.verdicts = 0;
    peri_loop_advance(world.loop, 2);
    assert_int_equal(world.verdicts, FIBERS);
    for (int i = 0; i < FIBERS; i++) {
        bool is_seen = strcmp(header_of(&x[i]->req.headers, "x-seen"), "yes") == 0;
        if (is_seen == (i == way % FIBERS))
            fail_msg("way %d, exchange %d: %s", way, i, world.log);
        world_end(x[i]);
    }
    peri_vm_idle(world.vm);
}

static void ticks_at_any_moment_do_no_harm(void **state)
{
    (void)state;
    for (int i = 0; i < rounds; i++) {
        // Of each world, four rounds: the fifth trip would bring the policy into quarantine.
        open_world();
        timer_t timer = start_ticks();
        for (int k = 0; k < 4; k++)
            one_round((i * 4 + k) % SPINS);
        timer_delete(timer);
        assert_int_equal(peri_watchdog.is_asked | peri_watchdog.is_armed | peri_watchdog.is_spent, 0);
        world_close();
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(ticks_at_any_moment_do_no_harm)};
    rounds = argc > 1 ? atoi(argv[1]) : ROUNDS;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
