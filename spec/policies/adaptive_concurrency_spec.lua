-- SPDX-License-Identifier: MIT

local lifecycle = require "spec.support.lifecycle"
local perigee = require "perigee"
local test = require "perigee.test"

local LIMIT = 'adaptive_concurrency_limit{use="#1",worker="0"}'
local MIN_RTT = 'adaptive_concurrency_min_rtt_seconds{use="#1",worker="0"}'
local ACTIVE = 'adaptive_concurrency_min_rtt_calculation_active{use="#1",worker="0"}'
local BLOCKED = 'adaptive_concurrency_blocked_total{use="#1"}'

-- A gateway before a service that takes `service.seconds`.
local function gateway(settings, service)
    settings[1] = "adaptive_concurrency"
    return test.gateway {
        policies = { settings },
        upstreams = { api = function(req)
            perigee.sleep(service.seconds)
            return test.reply(service.status or 200, req.path)
        end },
    }
end

-- Statuses of so many requests that are sent at once, as a count of each.
local function at_once(gw, count)
    local pending, counts = {}, {}
    for i = 1, count do
        pending[i] = gw:send { path = "/" }
        gw:advance(0)
    end
    for _, request in ipairs(pending) do
        local status = request:wait().status
        counts[status] = (counts[status] or 0) + 1
    end
    return counts
end

local function one_by_one(gw, count)
    for _ = 1, count do
        assert.response(gw:get "/").has.status(200)
    end
end

-- So many intervals of 100 ms with some requests each.
local function intervals(gw, count)
    for _ = 1, count do
        at_once(gw, 3)
        gw:advance(0.1)
    end
end

describe("adaptive_concurrency", function()
    it("begins with a few at a time", function()
        local gw = gateway({}, { seconds = 0.01 })
        assert.same({ [200] = 3, [503] = 5 }, at_once(gw, 8))
        assert.same({ [200] = 3 }, at_once(gw, 3))
        assert.equal(6, #gw.upstreams.api.requests)
    end)

    it("says what it refuses, and counts it", function()
        local gw = gateway({ min_concurrency = 1 }, { seconds = 1 })
        local first = gw:send { path = "/" }
        gw:advance(0)
        local res = gw:get "/"
        assert.response(res).is.problem(503)
        assert.equal("UO", gw:access_log()[1].flags)
        assert.equal("urn:perigee:concurrency_limited", res:json().type)
        assert.equal("1", res.headers["retry-after"])
        assert.equal(1, gw:metrics()[BLOCKED])
        first:wait()
    end)

    it("lets more in when it has seen that the service has no queue, and shows it", function()
        local gw = gateway({}, { seconds = 0.01 })
        assert.equal(3, gw:metrics()[LIMIT])
        one_by_one(gw, 50)
        assert.near(0.01, gw:metrics()[MIN_RTT], 0.0002)
        intervals(gw, 20)
        local limit = gw:metrics()[LIMIT]
        assert.is_true(limit > 100)
        assert.same({ [200] = 60 }, at_once(gw, 60))
    end)

    it("lets fewer in when the service gets slower, and more when that is over", function()
        local service = { seconds = 0.01 }
        local gw = gateway({}, service)
        one_by_one(gw, 50)
        intervals(gw, 20)
        service.seconds = 0.05
        intervals(gw, 12)
        local limit = gw:metrics()[LIMIT]
        assert.is_true(limit <= 10)
        local counts = at_once(gw, 60)
        assert.is_true(counts[503] >= 45)
        service.seconds = 0.01
        intervals(gw, 20)
        assert.is_true(gw:metrics()[LIMIT] > 10 * limit)
    end)

    it("has no higher limit than is wanted, and no lower one", function()
        local service = { seconds = 0.01 }
        local gw = gateway({ min_concurrency = 2, max_concurrency_limit = 9 }, service)
        one_by_one(gw, 50)
        intervals(gw, 20)
        assert.equal(9, gw:metrics()[LIMIT])
        service.seconds = 1
        intervals(gw, 6)
        assert.equal(2, gw:metrics()[LIMIT])
    end)

    it("measures anew from time to time", function()
        local service = { seconds = 0.01 }
        local gw = gateway({ min_rtt = { interval = "10s", jitter = 0, request_count = 10 } }, service)
        one_by_one(gw, 10)
        intervals(gw, 20)
        local limit = gw:metrics()[LIMIT]
        service.seconds = 0.02
        gw:advance(10)
        assert.equal(0, gw:metrics()[ACTIVE])
        one_by_one(gw, 1)
        assert.equal(3, gw:metrics()[LIMIT])
        assert.equal(1, gw:metrics()[ACTIVE])
        one_by_one(gw, 10)
        assert.equal(0, gw:metrics()[ACTIVE])
        assert.near(0.02, gw:metrics()[MIN_RTT], 0.0004)
        assert.is_true(gw:metrics()[LIMIT] >= limit)
    end)

    it("measures a part of the interval later, drawn at random", function()
        local gw = gateway({ min_rtt = { interval = "10s", jitter = 10, request_count = 10 } }, { seconds = 0.01 })
        one_by_one(gw, 10)
        gw:advance(9.9)
        one_by_one(gw, 1)
        assert.equal(0, gw:metrics()[ACTIVE])
        gw:advance(1.1)
        one_by_one(gw, 1)
        assert.equal(1, gw:metrics()[ACTIVE])
    end)

    it("measures until the head of the response, and counts until its end", function()
        local gw = test.gateway {
            policies = { { "adaptive_concurrency", min_concurrency = 1, min_rtt = { request_count = 1 } } },
            upstreams = { api = function() return test.stream { "a", 5, "b" } end },
        }
        local first = gw:send { path = "/" }
        gw:advance(1)
        assert.is_true(gw:metrics()[MIN_RTT] < 0.01)
        assert.response(gw:get "/").has.status(503)
        assert.equal("ab", first:wait().body)
        local second = gw:send { path = "/" }
        assert.equal("ab", second:wait().body)
    end)

    it("learns nothing from failures that come quickly", function()
        local service = { seconds = 0.05 }
        local gw = gateway({}, service)
        one_by_one(gw, 50)
        service.seconds, service.status = 0.001, 500
        intervals(gw, 20)
        assert.equal(3, gw:metrics()[LIMIT])
        service.seconds, service.status = 0.05, 200
        intervals(gw, 5)
        assert.is_true(gw:metrics()[LIMIT] > 8)
    end)

    it("goes on through a reload with what it knows", function()
        local gw = gateway({}, { seconds = 0.01 })
        one_by_one(gw, 50)
        intervals(gw, 20)
        local function reload(most)
            assert.is_true(gw:reload {
                policies = { { "adaptive_concurrency", max_concurrency_limit = most } },
                upstreams = { api = function() perigee.sleep(0.01) return "ok" end },
            })
        end
        reload(1000)
        assert.same({ [200] = 60 }, at_once(gw, 60))
        reload(20)
        assert.equal(20, gw:metrics()[LIMIT])
    end)

    it("has a controller for each use", function()
        local gw = test.gateway {
            upstreams = { api = function() perigee.sleep(1) return "ok" end },
            routes = {
                { name = "a", match = { path = "/a" }, upstream = "api",
                  policies = { { "adaptive_concurrency", min_concurrency = 1 } } },
                { name = "b", match = { path = "/b" }, upstream = "api",
                  policies = { { "adaptive_concurrency", min_concurrency = 1 } } },
            },
        }
        local first = gw:send { path = "/a" }
        gw:advance(0)
        assert.response(gw:get "/a").has.status(503)
        assert.response(gw:get "/b").has.status(200)
        first:wait()
    end)

    it("refuses nobody in a dry run", function()
        local gw = gateway({ dry_run = true }, { seconds = 0.01 })
        assert.same({ [200] = 8 }, at_once(gw, 8))
        for _, line in ipairs(gw:log()) do
            assert.not_equal("error", line.level)
        end
    end)

    describe("counts a request no more", function()
        local HOOKS = {
            "on_request", "on_request_body", "on_upstream", "on_response", "on_response_body", "on_log",
            "around, before next", "around, in next", "around, after next", "handler", "target", "when", "a task",
        }
        local IS_OVER = { ["a stop"] = true, ["a drain"] = true, ["a drain that takes too long"] = true }

        for ending in pairs(lifecycle.endings) do
            for _, hook in ipairs(IS_OVER[ending] and {} or HOOKS) do
                it("after " .. ending .. ", while " .. hook .. " waits", function()
                    local run = lifecycle.run {
                        hook = hook, wait = hook == "around, in next" and "none" or "sleep", ending = ending,
                        before = { "adaptive_concurrency", min_concurrency = 1, max_concurrency_limit = 1 },
                    }
                    assert.is_true(run.entered >= 1)
                    assert.equal(200, run.gw:get("/cell", { headers = { ["x-quick"] = "1" } }).status)
                end)
            end
        end

        it("when a policy behind it answers", function()
            local gw = test.gateway { policies = {
                { "adaptive_concurrency", min_concurrency = 1, max_concurrency_limit = 1 },
                { "fault", abort = { status = 500 } },
            } }
            for _ = 1, 3 do
                assert.response(gw:get "/").has.status(500)
            end
        end)
    end)

    for what, settings in pairs {
        ["with a limit of 0"] = { max_concurrency_limit = 0 }, ["with a lower limit of 0"] = { min_concurrency = 0 },
        ["with bounds the wrong way round"] = { min_concurrency = 10, max_concurrency_limit = 9 },
        ["with a percentile that is none"] = { sample_aggregate_percentile = 101 },
        ["with an interval of a moment"] = { concurrency_update_interval = "1ms" },
        ["with a measurement without requests"] = { min_rtt = { request_count = 0 } },
        ["with Envoy's name for the group"] = { min_rtt_calc_params = {} },
        ["with a measurement all the time"] = { min_rtt = { interval = "1ms" } },
        ["with a negative jitter"] = { min_rtt = { jitter = -1 } },
    } do
        it("is refused " .. what, function()
            settings[1] = "adaptive_concurrency"
            assert.equal(1, #test.errors { policies = { settings } })
        end)
    end
end)
