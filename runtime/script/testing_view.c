// SPDX-License-Identifier: MIT
// What a test sees from outside: the log, the metrics, what is open.
#include "base/assert.h"
#include "event/loop.h"
#include "exchange/exchange.h"
#include "script/script_types.h"
#include "script/slot.h"
#include "script/testing_types.h"
#include "shared/prometheus.h"
#include "shared/shm.h"
#include "shared/text.h"

#define PERI_TEST_LOG (1024 * 1024) ///< bytes of log lines kept for one test

struct log_record {
    uint32_t level;
    uint32_t len;
};

static void put_count(lua_State *L, const char *name, uint32_t count)
{
    lua_pushinteger(L, (lua_Integer)count);
    lua_setfield(L, -2, name);
}

static uint32_t live_tasks(const struct peri_vm *vm)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < vm->task_count; i++)
        count += vm->tasks[i]->is_live;
    return count;
}

// counts(): what is open now, by kind.
static int counts(lua_State *L)
{
    const struct peri_vm *vm = peri_testing_current()->vm;
    lua_createtable(L, 0, 5);
    put_count(L, "exchanges", peri_exchange_count());
    put_count(L, "streams", peri_loop_streams(vm->loop));
    put_count(L, "timers", peri_loop_timers(vm->loop));
    put_count(L, "tasks", live_tasks(vm));
    put_count(L, "coroutines", vm->fiber_count - vm->idle_count);
    return 1;
}

// held(): what Lua holds of the runtime, by kind: slots of exchanges, generations.
static int held(lua_State *L)
{
    lua_createtable(L, 0, 2);
    put_count(L, "slots", peri_slot_count());
    put_count(L, "generations", peri_testing_current()->vm->script_count);
    return 1;
}

// metrics(): everything that is counted, in Prometheus' form.
static int metrics(lua_State *L)
{
    struct peri_text text;
    peri_text_init(&text);
    bool is_written = peri_metrics_write(peri_testing_current()->vm->shm, &text) == PERI_OK;
    if (is_written)
        lua_pushlstring(L, text.data ? text.data : "", text.len);
    peri_text_close(&text);
    return is_written ? 1 : luaL_error(L, "out of memory");
}

void peri_testing_log(void *data, enum peri_log_level level, const char *line, size_t len)
{
    struct peri_testing *kit = data;
    struct log_record record = {(uint32_t)level, (uint32_t)len};
    if (kit->is_log_cut)
        return;
    if (kit->log.len + sizeof(record) + len > PERI_TEST_LOG ||
        peri_buf_put(&kit->log, peri_slice((const char *)&record, sizeof(record))) != PERI_OK ||
        peri_buf_put(&kit->log, peri_slice(line, len)) != PERI_OK)
        kit->is_log_cut = true;
}

// log(): lines since the last reset: levels and texts in turn.
static int log_lines(lua_State *L)
{
    static const char *const names[] = {"debug", "info", "warn", "error"};
    const struct peri_testing *kit = peri_testing_current();
    char *text = lua_newuserdata(L, kit->log.len + 1);
    int count = 0;
    peri_buf_copy(&kit->log, text);
    lua_newtable(L);
    for (size_t at = 0; at < kit->log.len;) {
        struct log_record record;
        memcpy(&record, text + at, sizeof(record));
        at += sizeof(record);
        if (record.len > kit->log.len - at)
            break; // cut by want of memory
        peri_assert(record.level < PERI_COUNT(names));
        lua_pushstring(L, names[record.level]);
        lua_rawseti(L, -2, ++count);
        lua_pushlstring(L, text + at, record.len);
        lua_rawseti(L, -2, ++count);
        at += record.len;
    }
    if (kit->is_log_cut) {
        lua_pushliteral(L, "warn");
        lua_rawseti(L, -2, ++count);
        lua_pushliteral(L, "test: more than 1 MiB was logged; the rest is lost");
        lua_rawseti(L, -2, ++count);
    }
    return 1;
}

// reset(): forgets what a test left behind: shared memory, log, coroutines of fakes; the wall clock begins anew.
static int reset(lua_State *L)
{
    struct peri_testing *kit = peri_testing_current();
    peri_testing_check(L);
    peri_testing_drop_coroutines();
    peri_shm_reset(kit->vm->shm);
    peri_buf_close(&kit->log);
    kit->is_log_cut = false;
    peri_loop_reset_wall(kit->vm->loop);
    return 0;
}

const luaL_Reg peri_testing_view[] = {
    {"counts", counts}, {"held", held}, {"metrics", metrics}, {"log", log_lines}, {"reset", reset}, {NULL, NULL},
};
