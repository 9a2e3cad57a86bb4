-- SPDX-License-Identifier: MIT
--
-- The limit as token buckets: they hold `burst` and fill with `limit` a window.

local perigee = require "perigee"
local gcra = require "perigee.algo.gcra"

local bucket = {}

--- What does not change from request to request.
---@param conf table settings of the policy
---@return table
function bucket.new(conf)
    local rate, burst = conf.limit / conf.window, conf.burst or conf.limit
    return {
        buckets = perigee.shared "rate_limit", rate = rate, burst = burst, quota = { rate = rate, burst = burst },
        arguments = gcra.arguments(rate, burst), script = gcra.SCRIPT, read = gcra.read, prefix = "rate_limit:",
    }
end

--- Takes one request from the bucket of this machine.
---@param self table
---@param key string
---@return boolean|nil is_admitted nil when it cannot be said
---@return number|string remaining or a message
---@return number wait seconds until the next one goes through
function bucket.take(self, key)
    return self.buckets:take(key, self.quota)
end

--- What clients are told.
---@param self table
---@param remaining number
---@param wait number
---@return number remaining
---@return number reset seconds until the bucket is full
---@return number wait
function bucket.tell(self, remaining, wait)
    return remaining, (self.burst - remaining) / self.rate, wait
end

return bucket
