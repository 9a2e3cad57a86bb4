-- SPDX-License-Identifier: MIT
--
-- The limit as a sliding window of two counters (perigee.algo.sliding_window).

local perigee = require "perigee"
local sliding_window = require "perigee.algo.sliding_window"
local up_to = require "perigee.algo.up_to"

local now, room, wait_for = perigee.time.monotonic, sliding_window.room, sliding_window.wait
local count, floor = up_to.count, math.floor

local window = {}

--- What does not change from request to request.
---@param conf table settings of the policy
---@return table
function window.new(conf)
    local arguments = sliding_window.arguments(conf.limit, conf.window)
    return {
        counts = perigee.shared "rate_limit", limit = conf.limit, window = conf.window,
        arguments = arguments, script = sliding_window.SCRIPT, read = sliding_window.read,
        prefix = "rate_limit:" .. arguments[1] .. ":", -- another window counts anew
    }
end

--- Counts one request in the window of this machine.
---@param self table
---@param key string
---@return boolean|nil is_admitted nil when it cannot be said
---@return number|string previous requests of the last window, or a message
---@return number current requests of this window
---@return number at part of it that is over
function window.take(self, key)
    local at = now() / self.window
    local number = floor(at)
    at = at - number
    if number ~= self.number then
        self.number, self.this, self.last = number, number .. "\1", number - 1 .. "\1"
    end
    local previous = self.counts:get(self.last .. key)
    if type(previous) ~= "number" then
        previous = 0
    end
    local most = room(self.limit, previous, 0, at)
    local is_admitted, current = count(self.counts, self.this .. key, 1, most, 2 * self.window)
    if is_admitted == nil then
        return nil, current
    end
    return is_admitted, previous, current, at
end

--- What clients are told.
---@param self table
---@param previous number
---@param current number
---@param at number
---@return number remaining
---@return number reset seconds until the whole limit may come at once
---@return number wait seconds until the next one goes through
function window.tell(self, previous, current, at)
    local limit, length = self.limit, self.window
    return room(limit, previous, current, at), wait_for(limit, length, previous, current, at, limit),
        wait_for(limit, length, previous, current, at, 1)
end

return window
