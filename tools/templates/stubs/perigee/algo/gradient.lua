---@meta
-- Made by tools/stubs.py from the annotations in lua/perigee/. Editors read it; it is never run.
--
-- How many requests a service should have under way, found from how long it takes: Envoy's gradient controller. Now and then it
-- lets only a few requests through, and takes their time as the one without queues (min_rtt). In between it compares:
--
-- gradient = min_rtt * (1 + buffer) / time of the requests in the last interval      at least 0.5, at most 2
-- limit    = limit * gradient + sqrt(limit * gradient)                               within its bounds
--
-- The root is room for growth: without it a limit that is too small would never be found out. When the limit has been at its
-- bottom for five intervals the measured time may be wrong, and is measured again.
--
-- Pure: time is passed in, chance is a function. It works when it is called; there are no timers.

---@class perigee.GradientOptions
---@field min_concurrency integer requests that may be under way while the time without queues is measured; the least limit
---@field max_concurrency_limit integer the most
---@field concurrency_update_interval number seconds between two limits
---@field sample_aggregate_percentile number which one of the times of an interval counts, from 0 to 1
---@field min_rtt { interval: number, request_count: integer, jitter: number, buffer: number } seconds, requests, and parts of 1
local GradientOptions = {}

---@class perigee.Gradient
---@field limit integer requests that may be under way
---@field in_flight integer requests that are
---@field min_rtt number|nil seconds; nil until it was measured
---@field deferred integer|nil the limit that comes back when min_rtt has been measured; nil while it is not being measured
local Gradient = {}

---@class perigee.algo.gradient.module
local gradient = {}

--- A controller that begins by measuring.
---@param options perigee.GradientOptions kept
---@param now number seconds
---@param random fun(): number from 0 to 1
---@return perigee.Gradient
function gradient.new(options, now, random) end

--- The limit after an interval.
---@param options perigee.GradientOptions
---@param limit integer until now
---@param min_rtt number seconds
---@param sample_rtt number seconds
---@return integer
function gradient.next_limit(options, limit, min_rtt, sample_rtt) end

--- Lets a request through, or not. One that is let through is ended by leave().
---@param self perigee.Gradient
---@param now number seconds
---@return boolean is_admitted
function gradient.enter(self, now) end

--- A request that was let through is over.
---@param self perigee.Gradient
function gradient.leave(self) end

--- Takes note of how long a request took. Failures that were quicker than the time without queues say nothing of queues.
---@param self perigee.Gradient
---@param began number seconds; when it was let through
---@param now number seconds
---@param is_failure boolean
function gradient.sample(self, began, now, is_failure) end

--- What another controller needs to go on from here: plain data.
---@param self perigee.Gradient
---@return table
function gradient.save(self) end

--- Goes on from what another controller has saved, unless that one had measured nothing.
---@param self perigee.Gradient a new one
---@param saved table
---@param now number seconds
function gradient.restore(self, saved, now) end

return gradient
