-- SPDX-License-Identifier: MIT

local shared = require "perigee.shared"
local test = require "perigee.test"

local function gateway(settings, answer, more)
    settings[1] = "circuit_breaker"
    local policies = { settings }
    for _, policy in ipairs(more or {}) do
        policies[#policies + 1] = policy
    end
    return test.gateway { policies = policies, upstreams = { api = answer } }
end

-- An upstream that always answers so.
local function always(...)
    local answer = test.reply(...)
    return function()
        return answer
    end
end

-- Statuses of the answers to so many requests.
local function statuses(gw, count)
    local list = {}
    for i = 1, count do
        list[i] = gw:get("/").status
    end
    return list
end

local function replies(...)
    local list = { ... }
    for i, status in ipairs(list) do
        list[i] = test.reply(status)
    end
    return test.answers(list)
end

describe("circuit_breaker", function()
    it("opens after failures in a row and asks nobody meanwhile", function()
        local gw = gateway({ failures = 3 }, always(500))
        assert.same({ 500, 500, 500, 503, 503 }, statuses(gw, 5))
        assert.equal(3, #gw.upstreams.api.requests)
    end)

    it("refuses with a problem and the time to wait", function()
        local gw = gateway({ failures = 1, open = "20s" }, always(500))
        statuses(gw, 1)
        gw:advance(5)
        local res = gw:get "/"
        assert.response(res).is.problem(503)
        assert.equal("urn:perigee:circuit_open", res:json().type)
        assert.response(res).has.header("retry-after", "15")
        assert.same({ nil, "UO" }, { gw:access_log()[1].flags, gw:access_log()[2].flags })
    end)

    it("closes when the request that it tries succeeds", function()
        local gw = gateway({ failures = 2, open = "10s" }, replies(500, 500, 200, 200))
        assert.same({ 500, 500, 503 }, statuses(gw, 3))
        gw:advance(10)
        assert.same({ 200, 200 }, statuses(gw, 2))
    end)

    it("opens again when that fails", function()
        local gw = gateway({ failures = 2, open = "10s" }, always(500))
        statuses(gw, 2)
        gw:advance(10)
        assert.same({ 500, 503 }, statuses(gw, 2))
        gw:advance(9.9)
        assert.same({ 503 }, statuses(gw, 1))
        gw:advance(0.1)
        assert.same({ 500, 503 }, statuses(gw, 2))
    end)

    it("tries no more than its probes at a time", function()
        local gw = gateway({ failures = 1, open = "10s", probes = 2 }, test.answers {
            test.reply(500), test.fail.hang, test.fail.hang,
        })
        statuses(gw, 1)
        gw:advance(10)
        local first, second = gw:send { path = "/" }, gw:send { path = "/" }
        assert.same({ 503 }, statuses(gw, 1))
        assert.same({ 504, 504 }, { first:wait().status, second:wait().status })
    end)

    it("opens when too many requests of a window fail", function()
        local gw = gateway({ failures = 0, ratio = 0.5, volume = 4 }, replies(200, 500, 200, 500))
        assert.same({ 200, 500, 200, 500, 503 }, statuses(gw, 5))
    end)

    it("counts what it is told to count", function()
        assert.same({ 500, 500, 500 }, statuses(gateway({ failures = 1, on = { 502 } }, always(500)), 3))
        assert.same({ 404, 404, 404 }, statuses(gateway({ failures = 1 }, always(404)), 3))
        assert.same({ 429, 503 }, statuses(gateway({ failures = 1, on = { 429 } }, always(429)), 2))
    end)

    it("counts connections that break off", function()
        assert.same({ 502, 503 }, statuses(gateway({ failures = 1 }, test.fail.reset), 2))
    end)

    it("sees the statuses of gRPC", function()
        local gw = gateway({ failures = 1 }, always(200, "", {
            ["content-type"] = "application/grpc", ["grpc-status"] = "14",
        }))
        local headers = { ["content-type"] = "application/grpc", te = "trailers" }
        assert.equal("14", gw:post("/", { headers = headers }).headers["grpc-status"])
        assert.equal(1, #gw.upstreams.api.requests)
        gw:post("/", { headers = headers })
        assert.equal(1, #gw.upstreams.api.requests)
    end)

    it("takes those statuses of gRPC for failures that say that the service failed, in trailers too", function()
        local headers = { ["content-type"] = "application/grpc", te = "trailers" }
        for status = 0, 16 do
            for _, answer in ipairs {
                test.reply(200, "", { ["content-type"] = "application/grpc", ["grpc-status"] = tostring(status) }),
                test.reply(200, "x", { ["content-type"] = "application/grpc" }, { ["grpc-status"] = tostring(status) }),
            } do
                local gw = gateway({ failures = 1 }, function() return answer end)
                gw:post("/", { headers = headers })
                gw:post("/", { headers = headers })
                local is_failure = status == 2 or status == 4 or status >= 13 and status <= 15
                assert.equal(is_failure and 1 or 2, #gw.upstreams.api.requests, "status " .. status)
                gw:close()
                shared "circuit_breaker":flush()
            end
        end
    end)

    it("counts what it refuses, and when it opens and closes", function()
        local gw = gateway({ failures = 2, open = "1s" }, replies(500, 500, 200))
        statuses(gw, 5)
        gw:advance(1)
        statuses(gw, 1)
        local metrics = gw:metrics()
        assert.equal(3, metrics['circuit_breaker_refused_total{route="test"}'])
        assert.equal(1, metrics['circuit_breaker_changes_total{route="test",to="open"}'])
        assert.equal(1, metrics['circuit_breaker_changes_total{route="test",to="close"}'])
    end)

    it("says nothing while nothing changes", function()
        local gw = gateway({ failures = 3 }, replies(200, 500, 404, 200))
        statuses(gw, 4)
        assert.same({}, gw:log())
        assert.equal(0, gw:metrics()['circuit_breaker_changes_total{route="test",to="close"}'] or 0)
    end)

    it("lets another request be tried when the client of the first one left", function()
        local gw = gateway({ failures = 2, open = "10s" }, test.answers {
            test.reply(500), test.reply(500), test.fail.hang, test.reply(500),
        })
        statuses(gw, 2)
        gw:advance(10)
        local probe = gw:send { path = "/" }
        gw:advance(1)
        assert.same({ 503 }, statuses(gw, 1))
        probe:abort()
        gw:advance(0)
        assert.same({ 500, 503 }, statuses(gw, 2)) -- one failure is enough still
    end)

    it("has one for each route", function()
        local gw = test.gateway {
            policies = { { "circuit_breaker", failures = 1 } },
            upstreams = { bad = always(500), good = always(200) },
            routes = {
                { match = { path = "/bad" }, upstream = "bad" }, { match = { path = "/good" }, upstream = "good" },
            },
        }
        assert.equal(500, gw:get("/bad").status)
        assert.equal(503, gw:get("/bad").status)
        assert.equal(200, gw:get("/good").status)
    end)

    it("says when it opens and closes", function()
        local gw = gateway({ failures = 1, open = "1s" }, replies(500, 200))
        statuses(gw, 1)
        gw:advance(1)
        statuses(gw, 1)
        local log = gw:log()
        assert.matches("route test: the circuit is open$", log[1].message)
        assert.matches("route test: the circuit is closed$", log[2].message)
    end)

    for what, settings in pairs {
        ["with a share of nothing"] = { ratio = 0 }, ["with a share above all"] = { ratio = 1.5 },
        ["without probes"] = { probes = 0 }, ["on a good status"] = { on = { 200 } },
    } do
        it("is refused " .. what, function()
            settings[1] = "circuit_breaker"
            assert.equal(1, #test.errors { policies = { settings } })
        end)
    end
end)
