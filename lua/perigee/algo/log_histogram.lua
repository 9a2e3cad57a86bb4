-- SPDX-License-Identifier: MIT
--
-- Durations in buckets whose bounds grow by about 2 %, from a microsecond to more than an hour: the memory is the same for any
-- number of them, and a quantile is right within 1.1 %.

local floor, log = math.floor, math.log

local log_histogram = {}

local PER_DOUBLING, DOUBLINGS = 32, 32
local LAST = PER_DOUBLING * DOUBLINGS
local SCALE = PER_DOUBLING / log(2)
local SHORTEST = 1e-6 -- seconds

--- An empty one.
---@return table
function log_histogram.new()
    local self = { count = 0, low = LAST, high = 0 }
    for i = 0, LAST do
        self[i] = 0
    end
    return self
end

--- Adds a duration. Shorter ones than a microsecond count as one.
---@param self table
---@param seconds number
function log_histogram.add(self, seconds)
    local i = seconds > SHORTEST and floor(log(seconds / SHORTEST) * SCALE) or 0
    i = i > LAST and LAST or i
    self[i] = self[i] + 1
    self.count = self.count + 1
    if i < self.low then
        self.low = i
    end
    if i > self.high then
        self.high = i
    end
end

--- The duration that this part of them does not exceed; nil when it is empty.
---@param self table
---@param part number from 0 to 1
---@return number|nil seconds
function log_histogram.quantile(self, part)
    local wanted, seen = part * self.count, 0
    for i = self.low, self.high do
        seen = seen + self[i]
        if seen >= wanted and seen > 0 then
            return SHORTEST * 2 ^ ((i + 0.5) / PER_DOUBLING)
        end
    end
    return nil
end

--- Empties it.
---@param self table
function log_histogram.clear(self)
    for i = self.low, self.high do
        self[i] = 0
    end
    self.count, self.low, self.high = 0, LAST, 0
end

return log_histogram
