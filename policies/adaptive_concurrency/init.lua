-- SPDX-License-Identifier: MIT
--
-- Limits how many requests are under way to what the service can do without queues, found from how long it takes to answer:
-- Envoy's gradient controller (perigee.algo.gradient). Each worker has a controller of its own.

local perigee = require "perigee"
local gradient = require "perigee.algo.gradient"
local try_later = require "perigee.algo.try_later"

local enter, leave, sample = gradient.enter, gradient.leave, gradient.sample
local now, random = perigee.time.monotonic, math.random
local REFUSAL = try_later.new(503, "urn:perigee:concurrency_limited",
    "Too many requests are under way; try again later.", "UO")
local LABELS = { "use", "worker" }

local metrics = perigee.metrics
local limits = metrics.gauge("adaptive_concurrency_limit", "Requests that may be under way.", LABELS)
local min_rtts = metrics.gauge("adaptive_concurrency_min_rtt_seconds", "Time of requests without queues.", LABELS)
local measurings = metrics.gauge("adaptive_concurrency_min_rtt_calculation_active",
    "1 while the time of requests without queues is measured.", LABELS)
local blocked = metrics.counter("adaptive_concurrency_blocked_total", "Requests refused.", { "use" })

local AdaptiveConcurrency = perigee.policy {
    name = "adaptive_concurrency",
    stage = "traffic",
    schema = {
        max_concurrency_limit = {
            type = "integer", min = 1, max = 1000000, default = 1000, doc = "The limit is never higher.",
        },
        min_concurrency = {
            type = "integer", min = 1, max = 10000, default = 3,
            doc = "The limit is never lower, and is this while the time without queues is measured.",
        },
        concurrency_update_interval = {
            type = "duration", min = "10ms", max = "10s", default = "100ms", doc = "How often there is a new limit.",
        },
        sample_aggregate_percentile = {
            type = "number", min = 1, max = 100, default = 50,
            doc = "Which of the times of an interval counts: 50 is the median.",
        },
        min_rtt = {
            type = "table", default = {}, doc = "How the time without queues is measured.",
            fields = {
                interval = { type = "duration", min = "1s", default = "1m", doc = "How long a measurement holds." },
                request_count = {
                    type = "integer", min = 1, max = 100000, default = 50, doc = "Requests that it takes.",
                },
                jitter = {
                    type = "number", min = 0, max = 100, default = 15,
                    doc = "By how many percent of `interval` it comes later at most, so that not all measure at once.",
                },
                buffer = {
                    type = "number", min = 0, max = 1000, default = 25,
                    doc = "By how many percent requests may take longer before the limit falls.",
                },
            },
        },
    },
    check = function(conf)
        if conf.min_concurrency > conf.max_concurrency_limit then
            return "is above 'max_concurrency_limit'", "min_concurrency"
        end
    end,
}

local function show(self)
    local controller = self.controller
    if controller.limit ~= self.shown_limit then
        self.shown_limit = controller.limit
        limits:set(controller.limit, self.labels)
    end
    local is_measuring = controller.deferred ~= nil
    if is_measuring ~= self.shown_measuring then
        self.shown_measuring = is_measuring
        measurings:set(is_measuring and 1 or 0, self.labels)
    end
    if controller.min_rtt ~= self.shown_min_rtt then
        self.shown_min_rtt = controller.min_rtt
        min_rtts:set(controller.min_rtt, self.labels)
    end
end

function AdaptiveConcurrency:restore(state)
    self.before = state
end

function AdaptiveConcurrency:save()
    return gradient.save(self.controller)
end

function AdaptiveConcurrency:init()
    local conf = self.conf
    local measuring = conf.min_rtt
    self.controller = gradient.new({
        min_concurrency = conf.min_concurrency, max_concurrency_limit = conf.max_concurrency_limit,
        concurrency_update_interval = conf.concurrency_update_interval,
        sample_aggregate_percentile = conf.sample_aggregate_percentile / 100,
        min_rtt = {
            interval = measuring.interval, request_count = measuring.request_count, jitter = measuring.jitter / 100,
            buffer = measuring.buffer / 100,
        },
    }, now(), random)
    if self.before then
        gradient.restore(self.controller, self.before, now())
    end
    self.use, self.labels = { self.id }, { self.id, perigee.worker }
    show(self)
end

function AdaptiveConcurrency:on_request(req)
    local time = now()
    local is_admitted = enter(self.controller, time)
    show(self)
    if not is_admitted then
        blocked:inc(1, self.use)
        return try_later.refuse(REFUSAL, req)
    end
    req.ctx[self] = time
end

function AdaptiveConcurrency:on_response(req, res)
    local began = req.ctx[self]
    if began then
        sample(self.controller, began, now(), res.status >= 500)
        show(self)
    end
end

-- Comes at the end of every exchange, whatever ended it.
function AdaptiveConcurrency:on_log(req)
    if req.ctx[self] then
        leave(self.controller)
    end
end

return AdaptiveConcurrency
