-- SPDX-License-Identifier: MIT
--
-- Refuses a part of the requests here when many of those that are sent fail, so that a service that cannot cope gets less to
-- do: the more fail, the more are refused (perigee.algo.admission). Each worker looks at its own requests.

local perigee = require "perigee"
local admission = require "perigee.algo.admission"
local try_later = require "perigee.algo.try_later"

local now, random = perigee.time.monotonic, math.random
local probability, record = admission.probability, admission.record
local REFUSAL = try_later.new(503, "urn:perigee:admission_refused",
    "Too many requests to this service fail; try again later.", "UO")
local GRPC = "application/grpc"
-- What fewer requests could help against: DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED, ABORTED, INTERNAL, UNAVAILABLE, DATA_LOSS.
local GRPC_FAILURES = { ["4"] = true, ["8"] = true, ["10"] = true, ["13"] = true, ["14"] = true, ["15"] = true }

local refused = perigee.metrics.counter("admission_control_refused_total", "Requests refused.", { "use" })
local chances = perigee.metrics.gauge("admission_control_rejection_probability",
    "With which probability the last request was to be refused.", { "use", "worker" })

local AdmissionControl = perigee.policy {
    name = "admission_control",
    stage = "traffic",
    schema = {
        window = {
            type = "duration", min = "1s", max = "5m", default = "30s",
            doc = "How far it looks back, in whole seconds.",
        },
        threshold = {
            type = "number", min = 1, max = 100, default = 95,
            doc = "Percent of requests that succeed when all is well: nothing is refused above.",
        },
        aggression = {
            type = "number", min = 1, max = 100, default = 1,
            doc = "1: it refuses in proportion to what fails. More: it refuses sooner.",
        },
        max_rejection = {
            type = "number", min = 1, max = 99, default = 80, doc = "Percent of requests that are refused at most.",
        },
        min_rate = {
            type = "number", min = 0, max = 1e6, default = 0,
            doc = "Requests a second in the window below which nothing is refused.",
        },
        failures = {
            type = "set", items = { type = "integer", min = 400, max = 599 },
            doc = "Statuses that are failures. Without it: 500 and above.",
        },
    },
}

function AdmissionControl:restore(state)
    self.before = state
end

function AdmissionControl:save()
    return admission.save(self.window)
end

function AdmissionControl:init()
    local conf = self.conf
    self.window = admission.new({
        window = math.floor(conf.window + 0.5), threshold = conf.threshold / 100, aggression = conf.aggression,
        max_rejection = conf.max_rejection / 100, min_rate = conf.min_rate,
    }, now())
    if self.before then
        admission.restore(self.window, self.before)
    end
    self.use, self.labels = { self.id }, { self.id, perigee.worker }
end

function AdmissionControl:on_request(req)
    local chance = probability(self.window, now())
    if chance ~= self.shown then
        self.shown = chance
        chances:set(chance, self.labels)
    end
    if chance > 0 and random() < chance then
        refused:inc(1, self.use)
        return try_later.refuse(REFUSAL, req)
    end
    req.ctx[self] = "sent"
end

-- A gRPC response with status 200 says only at its end how it went.
function AdmissionControl:on_response(req, res)
    local ctx = req.ctx
    if ctx[self] ~= "sent" then
        return
    end
    local status, failures = res.status, self.conf.failures
    local kind = status == 200 and res.headers:get "content-type"
    if kind and kind:sub(1, #GRPC) == GRPC then
        ctx[self] = "grpc"
        return
    end
    ctx[self] = "noted"
    if failures then
        record(self.window, not failures[status], now())
    else
        record(self.window, status < 500, now())
    end
end

function AdmissionControl:on_log(req, res)
    if req.ctx[self] == "grpc" then
        local status = res.headers:get "grpc-status" or res.trailers:get "grpc-status"
        if status then
            record(self.window, not GRPC_FAILURES[status], now())
        end
    end
end

return AdmissionControl
