-- SPDX-License-Identifier: MIT
--
-- Stops asking when the answers are errors, for a while, and then tries with a few requests. All workers share one breaker for
-- each route; it outlives reloads.

local perigee = require "perigee"
local breaker = require "perigee.algo.circuit_breaker"
local try_later = require "perigee.algo.try_later"

local now = perigee.time.monotonic
local REFUSAL = try_later.new(503, "urn:perigee:circuit_open", "The last answers were errors; try again later.", "UO")
-- Statuses of gRPC that say that the service failed, not the call.
local GRPC = { ["2"] = true, ["4"] = true, ["13"] = true, ["14"] = true, ["15"] = true }

local CircuitBreaker = perigee.policy {
    name = "circuit_breaker",
    stage = "traffic",
    schema = {
        failures = {
            type = "integer", min = 0, max = 1000000, default = 5, doc = "Failures in a row that open it. 0: no limit.",
        },
        ratio = {
            type = "number", min = 0.01, max = 1, default = 0.5,
            doc = "Share of failures among the requests of a `window` that opens it.",
        },
        volume = {
            type = "integer", min = 1, max = 1000000, default = 20,
            doc = "Requests in a `window` below which the share does not matter.",
        },
        window = { type = "duration", min = "100ms", max = "1h", default = "10s", doc = "Time that is looked at." },
        open = {
            type = "duration", min = "10ms", max = "1h", default = "30s",
            doc = "How long requests are refused before a few are tried.",
        },
        probes = {
            type = "integer", min = 1, max = 1000, default = 1,
            doc = "How many are tried at a time; when all succeed it closes, when one fails it opens again.",
        },
        on = {
            type = "set", items = { type = "integer", min = 400, max = 599 }, default = { 500, 502, 503, 504 },
            doc = "Statuses that are failures. Those of gRPC are UNKNOWN, DEADLINE_EXCEEDED, INTERNAL, UNAVAILABLE and "
                .. "DATA_LOSS.",
        },
    },
}

local refused = perigee.metrics.counter("circuit_breaker_refused_total", "Requests refused.", { "route" })
local changes = perigee.metrics.counter("circuit_breaker_changes_total", "Openings and closings.", { "route", "to" })

function CircuitBreaker:init()
    self.store = perigee.shared "circuit_breaker"
end

local function key_of(self, req)
    return self.id .. "\1" .. req.route .. "\1"
end

function CircuitBreaker:on_request(req)
    local passes, state = breaker.admit(self.store, key_of(self, req), self.conf, now())
    if passes then
        req.ctx[self] = state or true
        return
    end
    refused:inc(1, { req.route })
    return try_later.refuse(REFUSAL, req, try_later.headers(state))
end

local function is_failure(self, res)
    local status = res.status
    if status ~= 200 then
        return self.conf.on[status] == true
    end
    return GRPC[res.trailers:get "grpc-status" or res.headers:get "grpc-status" or "0"] == true
end

-- Comes at the end of every exchange, whatever ended it.
function CircuitBreaker:on_log(req, res)
    local state = req.ctx[self]
    if not state then
        return
    end
    local key, status = key_of(self, req), res.status
    state = state ~= true and state or nil
    if not status or status < 200 or status == 499 then -- the client left before there was an answer
        return breaker.forget(self.store, key, state)
    end
    local change = breaker.record(self.store, key, self.conf, state, is_failure(self, res), now())
    if change then
        changes:inc(1, { req.route, change })
        perigee.log.warn("route " .. req.route .. ": the circuit is " .. (change == "open" and "open" or "closed"))
    end
end

return CircuitBreaker
