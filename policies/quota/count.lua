-- SPDX-License-Identifier: MIT
--
-- The counts of a quota: one number per key and period, in Redis or on this machine, which goes by itself when its period is
-- over.

local perigee = require "perigee"
local remote = require "perigee.algo.remote"
local up_to = require "perigee.algo.up_to"

local count = {}

local SKEW = 60 -- seconds by which clocks of gateways may differ
local MEANWHILE = {
    ["local"] = "requests are counted on this machine",
    allow = "requests are not counted",
    deny = "requests are refused",
}

-- KEYS: the count. ARGV: what is added, the most it may be, milliseconds that it lives. Gives 1 or 0, and what it is now.
local SCRIPT = [[
local used = tonumber(redis.call('GET', KEYS[1]) or 0)
local sum = used + tonumber(ARGV[1])
if sum ~= sum then -- it holds "nan", and nothing is more than that
    return {err = 'ERR the count is not a number'}
end
if sum > tonumber(ARGV[2]) then
    return {0, used}
end
redis.call('SET', KEYS[1], string.format('%.0f', sum), 'PX', ARGV[3])
return {1, sum}
]]

local without_redis = perigee.metrics.counter("quota_without_redis_total",
    "Requests of quotas with Redis that came while Redis was away.", { "limit" })

local function read(reply)
    local used = type(reply) == "table" and tonumber(reply[2])
    if not used or (reply[1] ~= 0 and reply[1] ~= 1) then
        return nil
    end
    return reply[1] == 1, used
end

--- The counts of a use of the policy.
---@param conf table its settings
---@return table
function count.new(conf)
    return {
        counts = perigee.shared "quota", limit = conf.limit, on_unavailable = conf.on_unavailable,
        remote = conf.redis and remote.new {
            settings = conf.redis, prefix = "quota:", script = SCRIPT, read = read, limit = conf.name,
            without = without_redis, meanwhile = MEANWHILE[conf.on_unavailable],
        },
    }
end

--- Adds to a count, unless it would be more than the limit then.
---@param self table
---@param key string
---@param cost integer
---@param left number seconds until the period is over
---@return boolean|nil is_counted nil: it cannot be said
---@return number|string used what the count is now, or "allow", "deny" or a message
function count.take(self, key, cost, left)
    if self.remote then
        local arguments = { cost, self.limit, math.ceil((left + SKEW) * 1000) }
        local is_counted, used = remote.ask(self.remote, key, arguments)
        if self.on_unavailable ~= "local" then
            return is_counted, used or self.on_unavailable
        elseif is_counted ~= nil then
            self.counts:set(key, used, left) -- from where this machine goes on when Redis is away
            return is_counted, used
        end
    end
    return up_to.count(self.counts, key, cost, self.limit, left)
end

return count
