-- SPDX-License-Identifier: MIT
--
-- How many requests a service should have under way, found from how long it takes: Envoy's gradient controller. Now and then it
-- lets only a few requests through, and takes their time as the one without queues (min_rtt). In between it compares:
--
--   gradient = min_rtt * (1 + buffer) / time of the requests in the last interval      at least 0.5, at most 2
--   limit    = limit * gradient + sqrt(limit * gradient)                               within its bounds
--
-- The root is room for growth: without it a limit that is too small would never be found out. When the limit has been at its
-- bottom for five intervals the measured time may be wrong, and is measured again.
--
-- Pure: time is passed in, chance is a function. It works when it is called; there are no timers.

local log_histogram = require "perigee.algo.log_histogram"

local floor, max, min, sqrt = math.floor, math.max, math.min, math.sqrt

local gradient = {}

local LEAST, MOST = 0.5, 2 -- by how much a limit changes at a time, before the root
local BOTTOMS = 5

---@class perigee.GradientOptions
---@field min_concurrency integer requests that may be under way while the time without queues is measured; the least limit
---@field max_concurrency_limit integer the most
---@field concurrency_update_interval number seconds between two limits
---@field sample_aggregate_percentile number which one of the times of an interval counts, from 0 to 1
---@field min_rtt { interval: number, request_count: integer, jitter: number, buffer: number } seconds, requests, and parts of 1

---@class perigee.Gradient
---@field limit integer requests that may be under way
---@field in_flight integer requests that are
---@field min_rtt number|nil seconds; nil until it was measured
---@field deferred integer|nil the limit that comes back when min_rtt has been measured; nil while it is not being measured

--- A controller that begins by measuring.
---@param options perigee.GradientOptions kept
---@param now number seconds
---@param random fun(): number from 0 to 1
---@return perigee.Gradient
function gradient.new(options, now, random)
    return {
        options = options, random = random, samples = log_histogram.new(),
        limit = options.min_concurrency, in_flight = 0, bottoms = 0,
        deferred = options.min_concurrency, epoch = now, next_update = now, next_min_rtt = now,
    }
end

local function measure(self, now)
    self.deferred, self.epoch, self.bottoms = self.limit, now, 0
    self.limit = self.options.min_concurrency
    log_histogram.clear(self.samples)
end

local function end_measuring(self, now)
    local options = self.options
    self.min_rtt = log_histogram.quantile(self.samples, options.sample_aggregate_percentile)
    self.limit, self.deferred = self.deferred, nil
    log_histogram.clear(self.samples)
    self.next_min_rtt = now + options.min_rtt.interval * (1 + options.min_rtt.jitter * self.random())
    self.next_update = now + options.concurrency_update_interval
end

--- The limit after an interval.
---@param options perigee.GradientOptions
---@param limit integer until now
---@param min_rtt number seconds
---@param sample_rtt number seconds
---@return integer
function gradient.next_limit(options, limit, min_rtt, sample_rtt)
    local ratio = max(LEAST, min(MOST, min_rtt * (1 + options.min_rtt.buffer) / sample_rtt))
    local wanted = limit * ratio
    return max(options.min_concurrency, min(options.max_concurrency_limit, floor(wanted + sqrt(wanted))))
end

local function update(self, now)
    local options, before = self.options, self.limit
    self.next_update = now + options.concurrency_update_interval
    local sample_rtt = log_histogram.quantile(self.samples, options.sample_aggregate_percentile)
    if not sample_rtt then
        return
    end
    log_histogram.clear(self.samples)
    self.limit = gradient.next_limit(options, before, self.min_rtt, sample_rtt)
    local is_bottom = before == options.min_concurrency and self.limit == before
    self.bottoms = is_bottom and self.bottoms + 1 or 0
    if self.bottoms >= BOTTOMS then
        self.next_min_rtt = now
    end
end

local function turn(self, now)
    if self.deferred then
        return
    end
    if now >= self.next_update then
        update(self, now)
    end
    if now >= self.next_min_rtt then
        measure(self, now)
    end
end

--- Lets a request through, or not. One that is let through is ended by leave().
---@param self perigee.Gradient
---@param now number seconds
---@return boolean is_admitted
function gradient.enter(self, now)
    turn(self, now)
    if self.in_flight >= self.limit then
        return false
    end
    self.in_flight = self.in_flight + 1
    return true
end

--- A request that was let through is over.
---@param self perigee.Gradient
function gradient.leave(self)
    self.in_flight = self.in_flight - 1
end

--- Takes note of how long a request took. Failures that were quicker than the time without queues say nothing of queues.
---@param self perigee.Gradient
---@param began number seconds; when it was let through
---@param now number seconds
---@param is_failure boolean
function gradient.sample(self, began, now, is_failure)
    turn(self, now)
    local took = now - began
    if began < self.epoch or is_failure and (self.deferred or took < self.min_rtt) then
        return
    end
    log_histogram.add(self.samples, took)
    if self.deferred and self.samples.count >= self.options.min_rtt.request_count then
        end_measuring(self, now)
    end
end

--- What another controller needs to go on from here: plain data.
---@param self perigee.Gradient
---@return table
function gradient.save(self)
    return { limit = self.deferred or self.limit, min_rtt = self.min_rtt, next_min_rtt = self.next_min_rtt }
end

--- Goes on from what another controller has saved, unless that one had measured nothing.
---@param self perigee.Gradient a new one
---@param saved table
---@param now number seconds
function gradient.restore(self, saved, now)
    if not saved.min_rtt then
        return
    end
    local options = self.options
    self.limit = max(options.min_concurrency, min(options.max_concurrency_limit, saved.limit))
    self.min_rtt, self.deferred = saved.min_rtt, nil
    self.next_update = now + options.concurrency_update_interval
    self.next_min_rtt = min(saved.next_min_rtt, now + options.min_rtt.interval * (1 + options.min_rtt.jitter))
end

return gradient
