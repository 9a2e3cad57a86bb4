---@meta
-- Made by tools/stubs.py from the annotations in lua/perigee/. Editors read it; it is never run.
--
-- A circuit breaker on a store that others share: closed, open for a while, half open.
--
-- closed --failures in a row, or too many of a window--> open --time is over--> half open: a few requests are let through
-- ^------------------------- all of them succeeded ----------------------------'   one failed: open again
--
-- Of a breaker the store has under its key: `o` the time at which it is half open (there while it is not closed), `c` failures
-- in a row, `t` and `f` with the number of a half window requests and failures in it, `p` and `s` requests let through while
-- half open, and those of them that succeeded. Results of requests that began in an earlier state are ignored.

---@class perigee.algo.CircuitBreakerSettings
---@field failures number in a row that open it; 0: they do not
---@field ratio number failures of all requests in a window, 0 to 1, that open it; more than 1: they do not
---@field volume number requests in a window below which the ratio does not matter
---@field window number seconds
---@field open number seconds for which it stays open
---@field probes number requests that are let through while half open, and must succeed
local algo_CircuitBreakerSettings = {}

---@class perigee.algo.Store
local algo_Store = {}

---@class perigee.algo.circuit_breaker.module
local circuit_breaker = {}

--- May a request pass? True and the state that its result belongs to (nil: closed); false and the seconds after which it may
--- be worth another try.
---@param store perigee.algo.Store
---@param key string
---@param settings perigee.algo.CircuitBreakerSettings
---@param now number seconds
---@return boolean passes
---@return number|nil state_or_wait
function circuit_breaker.admit(store, key, settings, now) end

--- A request that was admitted in `state` is over. "open" or "close" when that changed the breaker.
---@param store perigee.algo.Store
---@param key string
---@param settings perigee.algo.CircuitBreakerSettings
---@param state number|nil
---@param is_failure boolean
---@param now number seconds
---@return "open"|"close"|nil change
function circuit_breaker.record(store, key, settings, state, is_failure, now) end

--- A request that was admitted in `state` is over and says nothing: another one may take its place.
---@param store perigee.algo.Store
---@param key string
---@param state number|nil
function circuit_breaker.forget(store, key, state) end

return circuit_breaker
