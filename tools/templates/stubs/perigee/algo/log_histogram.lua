---@meta
-- Made by tools/stubs.py from the annotations in lua/perigee/. Editors read it; it is never run.
--
-- Durations in buckets whose bounds grow by about 2 %, from a microsecond to more than an hour: the memory is the same for any
-- number of them, and a quantile is right within 1.1 %.


---@class perigee.algo.log_histogram.module
local log_histogram = {}

--- An empty one.
---@return table
function log_histogram.new() end

--- Adds a duration. Shorter ones than a microsecond count as one.
---@param self table
---@param seconds number
function log_histogram.add(self, seconds) end

--- The duration that this part of them does not exceed; nil when it is empty.
---@param self table
---@param part number from 0 to 1
---@return number|nil seconds
function log_histogram.quantile(self, part) end

--- Empties it.
---@param self table
function log_histogram.clear(self) end

return log_histogram
