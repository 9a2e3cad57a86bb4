-- SPDX-License-Identifier: MIT
--
-- Buckets that several machines share through Redis. Every trouble with it is answered by nil: the caller counts on this machine
-- then. The log is told once when that begins and once when it ends.

local perigee = require "perigee"
local gcra = require "perigee.algo.gcra"

local remote = {}

local counted_locally = perigee.metrics.counter("rate_limit_local_total",
    "Requests of limits with Redis that were counted on this machine, because Redis was away.", { "limit" })

--- What is wrong with the address of a server; nil when nothing is.
---@param text string
---@return string|nil message
function remote.check(text)
    local ok, message = pcall(perigee.redis, { address = text })
    return not ok and message:gsub("^.*'address': ", "") or nil
end

--- The limit of a use of the policy.
---@param conf table settings of the policy, with `redis`
---@param rate number requests a second
---@param burst number requests at once
---@return table
function remote.new(conf, rate, burst)
    local settings = conf.redis
    return {
        client = perigee.redis {
            address = settings.address, user = settings.user, password = settings.password,
            database = settings.database, timeout = settings.timeout,
        },
        prefix = settings.prefix .. "rate_limit:",
        arguments = gcra.arguments(rate, burst),
        labels = { conf.name },
        is_away = false,
    }
end

local function note(self, is_away, message)
    if is_away then
        counted_locally:inc(1, self.labels)
    end
    if self.is_away == is_away then
        return
    end
    self.is_away = is_away
    if is_away then
        perigee.log.warn("Redis is away: requests are counted on this machine",
            { limit = self.labels[1], reason = message })
    else
        perigee.log.info("Redis is back", { limit = self.labels[1] })
    end
end

--- Takes one request from the bucket at `key`.
---@param key string
---@return boolean|nil is_admitted nil: Redis cannot say
---@return number|nil remaining
---@return number|nil wait seconds
function remote.take(self, key)
    local reply, message = self.client:eval(gcra.SCRIPT, { self.prefix .. key }, self.arguments)
    local is_admitted, remaining, wait = gcra.read(reply)
    note(self, is_admitted == nil, message or "it answered something else")
    return is_admitted, remaining, wait
end

return remote
