-- SPDX-License-Identifier: MIT
--
-- A circuit breaker on a store that others share: closed, open for a while, half open.
--
--   closed --failures in a row, or too many of a window--> open --time is over--> half open: a few requests are let through
--     ^------------------------- all of them succeeded ----------------------------'   one failed: open again
--
-- Of a breaker the store has under its key: `o` the time at which it is half open (there while it is not closed), `c` failures
-- in a row, `t` and `f` with the number of a half window requests and failures in it, `p` and `s` requests let through while
-- half open, and those of them that succeeded. Results of requests that began in an earlier state are ignored.

local circuit_breaker = {}

local floor = math.floor
local MEMORY = 86400 -- seconds for which an open breaker that nobody asks is remembered

---@class perigee.algo.CircuitBreakerSettings
---@field failures number in a row that open it; 0: they do not
---@field ratio number failures of all requests in a window, 0 to 1, that open it; more than 1: they do not
---@field volume number requests in a window below which the ratio does not matter
---@field window number seconds
---@field open number seconds for which it stays open
---@field probes number requests that are let through while half open, and must succeed

---@class perigee.algo.Store what keeps it: a dictionary of perigee.shared, of which it uses get, cas, incr and delete

--- May a request pass? True and the state that its result belongs to (nil: closed); false and the seconds after which it may
--- be worth another try.
---@param store perigee.algo.Store
---@param key string
---@param settings perigee.algo.CircuitBreakerSettings
---@param now number seconds
---@return boolean passes
---@return number|nil state_or_wait
function circuit_breaker.admit(store, key, settings, now)
    local ends = store:get(key .. "o")
    if not ends then
        return true, nil
    elseif now < ends then
        return false, ends - now
    end
    local probe = store:incr(key .. "p", 1, 0, settings.open)
    if not probe then
        return false, 1
    elseif probe > settings.probes then
        store:incr(key .. "p", -1, 0, settings.open)
        return false, 1
    end
    return true, ends
end

local function slice_of(settings, now)
    return floor(now / (settings.window / 2))
end

-- Moves on from `state` to another one (nil: closed), if nobody else did, and begins to count anew: whether it was this call.
local function move(store, key, settings, state, ends, now)
    if not store:cas(key .. "o", state, ends, MEMORY) then
        return false
    end
    local slice = slice_of(settings, now)
    for _, entry in ipairs { "p", "s", "c", "t" .. slice, "f" .. slice, "t" .. slice - 1, "f" .. slice - 1 } do
        store:delete(key .. entry)
    end
    return true
end

-- Counts a result of a closed breaker. Is it one failure too many?
local function count(store, key, settings, is_failure, now)
    local slice = slice_of(settings, now)
    local total = store:incr(key .. "t" .. slice, 1, 0, settings.window)
    if not is_failure then
        if settings.failures > 0 and store:get(key .. "c") then
            store:delete(key .. "c")
        end
        return false
    end
    local failed = store:incr(key .. "f" .. slice, 1, 0, settings.window)
    if settings.failures > 0 and (store:incr(key .. "c", 1) or 0) >= settings.failures then
        return true
    end
    total = (total or 0) + (store:get(key .. "t" .. (slice - 1)) or 0)
    failed = (failed or 0) + (store:get(key .. "f" .. (slice - 1)) or 0)
    return total >= settings.volume and failed >= settings.ratio * total
end

--- A request that was admitted in `state` is over. "open" or "close" when that changed the breaker.
---@param store perigee.algo.Store
---@param key string
---@param settings perigee.algo.CircuitBreakerSettings
---@param state number|nil
---@param is_failure boolean
---@param now number seconds
---@return "open"|"close"|nil change
function circuit_breaker.record(store, key, settings, state, is_failure, now)
    if store:get(key .. "o") ~= state then
        return nil
    elseif not state then
        is_failure = count(store, key, settings, is_failure, now)
    end
    if is_failure then
        return move(store, key, settings, state, now + settings.open, now) and "open" or nil
    elseif state and (store:incr(key .. "s", 1, 0, settings.open) or 0) >= settings.probes then
        return move(store, key, settings, state, nil, now) and "close" or nil
    end
    return nil
end

--- A request that was admitted in `state` is over and says nothing: another one may take its place.
---@param store perigee.algo.Store
---@param key string
---@param state number|nil
function circuit_breaker.forget(store, key, state)
    if state and store:get(key .. "o") == state and (store:get(key .. "p") or 0) > 0 then
        store:incr(key .. "p", -1) -- which keeps its time to live
    end
end

return circuit_breaker
