-- SPDX-License-Identifier: MIT
--
-- The generic cell rate algorithm (ITU-T I.371) as a script for Redis: a token bucket of which only one number is stored, the
-- time at which it is full again. It holds `burst` tokens, begins full and gains `rate` of them a second; a call takes one or
-- nothing. A bucket that got smaller, or was filled by a clock that went back, is empty and gains tokens from then on. Time is
-- that of the Redis server, so the clocks of its clients do not matter. Times are in microseconds.

local gcra = {}

--- KEYS: the bucket. ARGV: microseconds that one token takes, tokens of the bucket. Gives 1 or 0, tokens left, seconds until
--- the next token (numbers as text, which keeps their fractions).
gcra.SCRIPT = [[
local interval, burst = tonumber(ARGV[1]), tonumber(ARGV[2])
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local full = tonumber(redis.call('GET', KEYS[1]) or 0)
local function keep()
    redis.call('SET', KEYS[1], string.format('%.2f', full), 'PX', math.ceil((full - now) / 1000) + 1000)
end
if full < now then
    full = now
elseif full > now + interval * burst then
    full = now + interval * burst
    keep()
end
local left = burst - (full - now) / interval
if left < 1 then
    return {0, string.format('%.6f', left), string.format('%.6f', (1 - left) * interval / 1000000)}
end
full = full + interval
keep()
return {1, string.format('%.6f', left - 1), '0'}
]]

--- ARGV of the script.
---@param rate number tokens a second; more than 0
---@param burst number tokens that the bucket holds; at least 1
---@return string[]
function gcra.arguments(rate, burst)
    return { ("%.17g"):format(1e6 / rate), ("%.17g"):format(burst) }
end

--- What a reply of the script says; nil when it is none.
---@param reply any
---@return boolean|nil is_taken
---@return number|nil remaining tokens left, with fractions
---@return number|nil retry_after seconds until a token is there; 0 when one was taken
function gcra.read(reply)
    if type(reply) ~= "table" then
        return nil
    end
    local remaining, retry_after = tonumber(reply[2]), tonumber(reply[3])
    if (reply[1] ~= 0 and reply[1] ~= 1) or not remaining or not retry_after then
        return nil
    end
    return reply[1] == 1, remaining, retry_after
end

return gcra
