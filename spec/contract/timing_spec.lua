-- SPDX-License-Identifier: MIT
--
-- How long exchanges may take, in virtual time: deadlines that clients say and servers are told, the longest duration, and what
-- scripts may set of it.

local test = require "perigee.test"

local READ, WRITTEN = "x-wait", "x-expected"

local function gateway(upstream, answer, more)
    upstream.endpoints = { answer or test.fail.hang }
    local config = {
        listeners = { { address = "127.0.0.1:8080", deadline_header = READ } },
        upstreams = { api = upstream }, routes = { { upstream = "api" } },
    }
    for name, value in pairs(more or {}) do
        config[name] = value
    end
    return test.gateway(config)
end

local function span(gw, headers)
    local before = gw:now()
    local res = gw:get("/", { headers = headers })
    return gw:now() - before, res
end

local function answer_ok()
    return test.reply(200, "ok")
end

-- What a server was told in its last requests.
local function told(gw, from, to)
    local list = {}
    for i = from, to do
        list[#list + 1] = tonumber(gw.upstreams.api.requests[i].headers[WRITTEN]) or "nothing"
    end
    return list
end

-- The test kit's gateway with a policy of these hooks.
local function probing(hooks, upstream, answer)
    upstream.endpoints = { answer or test.fail.hang }
    return test.gateway({ policies = { "probe" }, upstreams = { api = upstream } }, { files = {
        ["policies/probe/init.lua"] = 'local perigee = require "perigee"\n'
            .. 'local Probe = perigee.policy { name = "probe", stage = "traffic" }\n' .. hooks .. "\nreturn Probe",
    } })
end

describe("a deadline of the client", function()
    it("ends the exchange", function()
        local took, res = span(gateway {}, { [READ] = "700" })
        assert.near(0.7, took, 0.01)
        assert.response(res).is.problem(504)
        assert.equal("urn:perigee:deadline_exceeded", res:json().type)
    end)

    it("makes no timeout longer", function()
        local took, res = span(gateway { timeouts = { request = "2s" } }, { [READ] = "9000" })
        assert.near(2, took, 0.01)
        assert.equal("urn:perigee:upstream_timeout", res:json().type)
    end)

    it("is not believed where the listener does not say so", function()
        local gw = gateway({ timeouts = { request = "2s" } }, nil, { listeners = { { address = "127.0.0.1:8080" } } })
        assert.near(2, span(gw, { [READ] = "700" }), 0.01)
    end)

    it("is a number of milliseconds, or says nothing", function()
        for _, value in ipairs { "0", "", "soon", "-5", "1.5", "1e3", "00000000700", "700ms" } do
            assert.near(2, span(gateway { timeouts = { request = "2s" } }, { [READ] = value }), 0.01)
        end
    end)

    it("ends an exchange whose response has begun", function()
        local gw = gateway({}, function()
            return test.stream { "ab", 10, "c" }
        end)
        local before = gw:now()
        assert.error_matches(function()
            gw:get("/", { headers = { [READ] = "700" } })
        end, "before the response was complete")
        assert.near(0.7, gw:now() - before, 0.01)
    end)

    it("ends a wait of a policy", function()
        local gw = probing([[
            function Probe:on_request(req)
                req.deadline = perigee.time.monotonic() + 1
                perigee.sleep(5)
            end]], {}, answer_ok)
        local took, res = span(gw)
        assert.near(1, took, 0.01)
        assert.response(res).is.problem(504)
        gw:advance(10)
    end)

    it("ends the wait for a retry", function()
        local gw = gateway({ retries = { attempts = 5, on = { 503 } } }, function()
            return test.reply(503, "", { ["retry-after"] = "100" })
        end, {})
        local took = span(gw, { [READ] = "700" })
        assert.is_true(took < 0.71)
    end)
end)

describe("the timeout of a fetch", function()
    local function fetching(upstream, answer)
        return gateway(upstream, answer, { routes = { { handler = function()
            local res, message = require "perigee".http.fetch("http://api/x", { timeout = 1 })
            return test.reply(res and res.status or 500, res and res.headers["retry-after"] or message)
        end } } })
    end

    it("ends the wait for a retry before it begins: the answer is passed on", function()
        local gw = fetching({ retries = { attempts = 2, on = { 503 } } }, function()
            return test.reply(503, "", { ["retry-after"] = "5" })
        end)
        local took, res = span(gw)
        assert.equal(503, res.status)
        assert.equal("5", res.body)
        assert.is_true(took < 0.01)
        assert.equal(1, #gw.upstreams.api.requests)
    end)

    it("leaves time for a retry that fits", function()
        local count = 0
        local gw = fetching({ retries = { attempts = 2, on = { 503 } } }, function()
            count = count + 1
            return count == 1 and test.reply(503) or test.reply(200)
        end)
        assert.equal(200, select(2, span(gw)).status)
    end)

    it("is told to the server, and ends a fetch that is not answered", function()
        local gw = fetching({ deadline_header = WRITTEN, timeouts = { request = "4s" } })
        local took, res = span(gw)
        assert.equal(500, res.status)
        assert.near(1, took, 0.01)
        assert.same({ 1000 }, told(gw, 1, 1))
    end)
end)

describe("a server is told", function()
    it("how long its answer is waited for", function()
        local gw = gateway({ deadline_header = WRITTEN, timeouts = { request = "4s" } }, answer_ok)
        gw:get "/"
        gw:get("/", { headers = { [READ] = "700" } })
        gw:get("/", { headers = { [READ] = "9000" } })
        assert.same({ 4000, 700, 4000 }, told(gw, 1, 3))
    end)

    it("less with each attempt", function()
        local gw = gateway({
            deadline_header = WRITTEN, timeouts = { request = "4s" },
            retries = { attempts = 2, per_try_timeout = "1500ms", backoff = { base = "0s" } },
        })
        span(gw)
        local first, second, third = unpack(told(gw, 1, 3))
        assert.same({ 1500, 1500 }, { first, second })
        assert.near(1000, third, 5)
    end)

    it("what is left of the client's deadline, with each attempt", function()
        local gw = gateway({
            deadline_header = WRITTEN, retries = { attempts = 2, per_try_timeout = "400ms", backoff = { base = "0s" } },
        })
        span(gw, { [READ] = "1000" })
        local first, second, third = unpack(told(gw, 1, 3))
        assert.same({ 400, 400 }, { first, second })
        assert.near(200, third, 5)
    end)

    it("what is left for a hedge", function()
        local gw = gateway({ deadline_header = WRITTEN, timeouts = { request = "1s" }, hedge = { after = "300ms" } })
        span(gw)
        local first, second = unpack(told(gw, 1, 2))
        assert.equal(1000, first)
        assert.near(700, second, 5)
    end)

    it("nothing without a limit, and never what a client wrote", function()
        local gw = gateway({ deadline_header = WRITTEN, timeouts = { request = "0s" } }, answer_ok)
        gw:get("/", { headers = { [WRITTEN] = "123456" } })
        assert.same({ "nothing" }, told(gw, 1, 1))
    end)

    it("nothing where no header is named", function()
        local gw = gateway({}, answer_ok)
        gw:get("/", { headers = { [READ] = "700" } })
        assert.same({ "nothing" }, told(gw, 1, 1))
    end)
end)

describe("the longest duration", function()
    it("ends an exchange that was not answered", function()
        local took, res = span(gateway { timeouts = { stream = "3s", request = "0s" } })
        assert.near(3, took, 0.01)
        assert.response(res).is.problem(504)
        assert.equal("urn:perigee:duration_exceeded", res:json().type)
    end)

    it("breaks off a response that goes on for ever", function()
        local gw = gateway({ timeouts = { stream = "3s", idle = "2s" } }, function()
            return test.stream { "a", 1, "b", 1, "c", 1, "d", 1, "e", 1, "f" }
        end)
        local before = gw:now()
        assert.error_matches(function() gw:get "/" end, "before the response was complete")
        assert.near(3, gw:now() - before, 0.01)
    end)

    it("leaves those alone that are shorter", function()
        local gw = gateway({ timeouts = { stream = "3s" } }, function()
            return test.stream { "a", 1, "b", 1, "c" }
        end)
        assert.equal("abc", gw:get("/").body)
        gw:advance(10)
        assert.equal("abc", gw:get("/").body)
    end)
end)

describe("hedges", function()
    it("are made by http.fetch too", function()
        local gw = test.gateway {
            upstreams = { api = {
                endpoints = { test.answers { test.fail.hang, "second" } }, hedge = { after = "50ms" },
            } },
            routes = { { handler = function()
                local res = require("perigee").http.fetch "http://api/"
                return require("perigee").reply(res.status, res.body)
            end } },
        }
        local took, res = span(gw)
        assert.equal("second", res.body)
        assert.near(0.05, took, 0.005)
    end)

    it("are not made for a request whose policies decide about each attempt", function()
        local gw = probing("function Probe:on_upstream(req, attempt) end", {
            hedge = { after = "50ms" }, timeouts = { request = "1s" },
        })
        assert.near(1, span(gw), 0.01)
        assert.equal(1, #gw.upstreams.api.requests)
    end)
end)

describe("req.timeouts", function()
    it("takes seconds, and nothing else", function()
        for _, value in ipairs { "-1", "0/0", '"2s"', "nil" } do
            local hook = "function Probe:on_request(req) req.timeouts.request = " .. value .. " end"
            local gw = probing(hook, {}, answer_ok)
            assert.response(gw:get "/").is.problem(503)
        end
    end)

    it("knows its names, and is not read", function()
        for _, line in ipairs {
            "req.timeouts.reqest = 1", "local x = req.timeouts.request", "local x = req.timeouts.x",
        } do
            local gw = probing("function Probe:on_request(req) " .. line .. " end", {}, answer_ok)
            assert.response(gw:get "/").is.problem(503)
        end
    end)

    it("holds for each attempt of around()", function()
        local gw = probing([[
            function Probe:around(req, next)
                req.timeouts.request = 1
                next(req)
                req.timeouts.request = 2
                return next(req)
            end]], {})
        assert.near(3, span(gw), 0.02)
    end)
end)

describe("req.deadline", function()
    it("comes nearer, never goes further", function()
        local gw = probing([[
            function Probe:on_request(req)
                local now = perigee.time.monotonic()
                req.deadline = now + 3
                req.deadline = now + 1
                req.deadline = now + 9
                assert(math.abs(req.deadline - now - 1) < 0.01)
            end]], {})
        assert.near(1, span(gw), 0.01)
    end)

    it("may be over", function()
        local gw = probing("function Probe:on_request(req) req.deadline = perigee.time.monotonic() - 1 end", {})
        local took, res = span(gw)
        assert.near(0, took, 0.01)
        assert.equal("urn:perigee:deadline_exceeded", res:json().type)
        assert.equal(0, #gw.upstreams.api.requests)
    end)

    it("is a moment", function()
        local gw = probing('function Probe:on_request(req) req.deadline = "1s" end', {}, answer_ok)
        assert.response(gw:get "/").is.problem(503)
    end)

    it("stays as it is in a dry run", function()
        local gw = test.gateway {
            policies = { { "timeout", deadline = READ, dry_run = true } }, upstreams = { api = test.fail.hang },
        }
        assert.near(15, span(gw, { [READ] = "700" }), 0.01)
    end)
end)
