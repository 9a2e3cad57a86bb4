-- SPDX-License-Identifier: MIT
--
-- A sliding window as two counters: what came in the window that runs, and in the one before it. Windows follow one another
-- by the clock, and what came in the last one counts with the share of it that a window ending now still covers:
--
--   estimate = floor(previous * (1 - at / window)) + current        one more may come while estimate < limit
--
-- It assumes that requests came evenly in the last window. When they came all at its end, up to twice the limit fits into some
-- stretch of one window; an exact log of times would not allow that, and needs memory for `limit` times per client. Two numbers
-- are enough here. Pure: time and counts are passed in. SCRIPT is the same rule for Redis.

local floor = math.floor

local sliding_window = {}

local EPSILON = 0.001 -- seconds: at the bound itself a request does not fit yet

--- How many requests may come now.
---@param limit integer requests in a window
---@param previous integer requests that were let in during the last window
---@param current integer requests that were let in during this one
---@param at number which part of this window is over, from 0 to 1
---@return integer room 0 when there is none
function sliding_window.room(limit, previous, current, at)
    local room = limit - current - floor(previous * (1 - at))
    return room > 0 and room or 0
end

--- Seconds until there is room for `wanted` requests, if none comes meanwhile; 0 when there is.
---@param limit integer
---@param window number seconds
---@param previous integer
---@param current integer
---@param at number
---@param wanted integer from 1 to `limit`
---@return number seconds
function sliding_window.wait(limit, window, previous, current, at, wanted)
    local count, bound, from = previous, limit - wanted - current + 1, 0
    if bound <= 0 then -- not before the next window, in which this one is the last
        count, bound, from = current, limit - wanted + 1, 1
    end
    local part = from + 1 - bound / count - at -- from then on `count` weighs less than `bound`; past when it does so now
    return part < 0 and 0 or part * window + EPSILON
end

--- KEYS: the window. ARGV: its length in microseconds, requests in it. Gives 1 or 0, requests of the last window and of this
--- one (the one that was let in included), and the part of this one that is over (as text, which keeps its fraction). Time is
--- that of the server; when it goes back, the window stands still.
sliding_window.SCRIPT = [[
local window, limit = tonumber(ARGV[1]), tonumber(ARGV[2])
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local number = math.floor(now / window)
local at = now / window - number
local value = redis.call('GET', KEYS[1])
local previous, current = 0, 0
if value then
    local n, p, c = string.match(value, '^(%d+) (%d+) (%d+)$')
    n, p, c = tonumber(n), tonumber(p), tonumber(c)
    if n == number then
        previous, current = p, c
    elseif n == number - 1 then
        previous = c
    elseif n == number + 1 then
        number, at, previous, current = n, 0, p, c
    end
end
local taken = 0
if math.floor(previous * (1 - at)) + current < limit then
    taken, current = 1, current + 1
    redis.call('SET', KEYS[1], string.format('%.0f %d %d', number, previous, current),
        'PX', math.ceil((2 - at) * window / 1000))
end
return {taken, previous, current, string.format('%.9f', at)}
]]

--- ARGV of the script.
---@param limit integer
---@param window number seconds
---@return string[]
function sliding_window.arguments(limit, window)
    return { ("%d"):format(window * 1e6 + 0.5), ("%d"):format(limit) }
end

--- What a reply of the script says; nil when it is none.
---@param reply any
---@return boolean|nil is_admitted
---@return integer|nil previous
---@return integer|nil current
---@return number|nil at
function sliding_window.read(reply)
    if type(reply) ~= "table" then
        return nil
    end
    local previous, current, at = tonumber(reply[2]), tonumber(reply[3]), tonumber(reply[4])
    if (reply[1] ~= 0 and reply[1] ~= 1) or not previous or not current or not at then
        return nil
    end
    return reply[1] == 1, previous, current, at
end

return sliding_window
