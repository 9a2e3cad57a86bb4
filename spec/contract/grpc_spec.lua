-- SPDX-License-Identifier: MIT
--
-- gRPC through the pipeline: what the proxy and policies answer calls with, deadlines, and what is noted of a call. The
-- connections are in HTTP/1.1, where "trailers-only" is a head without a body as well.

local test = require "perigee.test"

local CALL = { ["content-type"] = "application/grpc", te = "trailers" }

local function ANSWER()
    return test.reply(200, "data", { ["content-type"] = "application/grpc" }, { ["grpc-status"] = "5" })
end

local function with(more)
    local headers = {}
    for name, value in pairs(CALL) do
        headers[name] = value
    end
    for name, value in pairs(more or {}) do
        headers[name] = value
    end
    return headers
end

local function call(gw, more)
    return gw:post("/pkg.Service/Method", { headers = with(more), body = "\0\0\0\0\0" })
end

local function assert_error(res, status, message, kind)
    assert.equal(200, res.status)
    assert.equal("", res.body)
    assert.equal(kind or "application/grpc", res.headers["content-type"])
    assert.equal(tostring(status), res.headers["grpc-status"])
    assert.equal(message, res.headers["grpc-message"])
end

local function answering(answer)
    return test.gateway { upstreams = { api = answer } }
end

-- A gateway whose route runs `code` as a policy, before an upstream that gives this answer.
local function probing(code, answer)
    local config = { policies = { "probe" }, upstreams = answer and { api = answer } or nil }
    return test.gateway(config, { files = { ["policies/probe/init.lua"] = [[
        local perigee = require "perigee"
        local Probe = perigee.policy { name = "probe", stage = "auth" }
        ]] .. code .. "\nreturn Probe" } })
end

describe("an error of the proxy, for a gRPC call,", function()
    it("is UNIMPLEMENTED where no route matches", function()
        local gw = test.gateway { routes = { { match = { path = "/other" }, reply = "x" } } }
        assert_error(call(gw), 12, "No route matches the request.")
    end)

    it("is UNAVAILABLE where nobody is at the endpoint", function()
        local gw = answering { endpoints = { test.fail.refuse } }
        assert_error(call(gw), 14, "The upstream could not be reached.")
    end)

    it("is UNAVAILABLE where a policy fails", function()
        local gw = probing "function Probe:on_request() error 'broken' end"
        assert_error(call(gw), 14, "A policy of the route failed.")
    end)

    it("is INTERNAL where a handler fails", function()
        local gw = test.gateway { routes = { { match = {}, handler = function() error("broken") end } } }
        assert_error(call(gw), 13, "The route's handler failed.")
    end)

    it("is DEADLINE_EXCEEDED where the upstream takes longer than its time", function()
        local gw = answering { endpoints = { test.fail.hang }, timeouts = { request = "1s" } }
        assert_error(call(gw), 4, "The upstream did not answer in time.")
    end)

    it("is RESOURCE_EXHAUSTED where the body is too large", function()
        local gw = test.gateway { policies = { { "body_limit", max = 1 } } }
        assert_error(call(gw), 8, "The request body is too large.")
    end)

    it("stays a problem document for other requests", function()
        local gw = test.gateway { routes = { { match = { path = "/other" }, reply = "x" } } }
        for _, kind in ipairs {
            "application/json", "application/grpcx", "application/grp", "text/grpc", "application/grpc-webx",
        } do
            assert.response(gw:post("/", { headers = { ["content-type"] = kind } })).is.problem(404)
        end
    end)

    for kind, answer in pairs {
        ["application/grpc+proto"] = "application/grpc", ["Application/GRPC"] = "application/grpc",
        ["application/grpc;a=b"] = "application/grpc", ["application/grpc-web"] = "application/grpc-web+proto",
        ["application/grpc-web+json"] = "application/grpc-web+proto",
        ["application/grpc-web-text"] = "application/grpc-web-text+proto",
    } do
        it("is a gRPC error for " .. kind, function()
            local gw = test.gateway { routes = { { match = { path = "/other" }, reply = "x" } } }
            assert_error(call(gw, { ["content-type"] = kind }), 12, "No route matches the request.", answer)
        end)
    end
end)

describe("the answer of a policy to a gRPC call", function()
    for http, status in pairs {
        [400] = 13, [401] = 16, [403] = 7, [404] = 12, [408] = 4, [409] = 2, [413] = 8, [429] = 8, [431] = 8,
        [500] = 13, [501] = 12, [502] = 14, [503] = 14, [504] = 4, [302] = 2, [200] = 2,
    } do
        it("with status " .. http .. " is the gRPC status " .. status, function()
            local gw = probing("function Probe:on_request() return perigee.reply(" .. http .. ", 'No 5%.\\n') end")
            assert_error(call(gw), status, "No 5%25.")
        end)
    end

    it("without a body says what its status says, and keeps its other headers", function()
        local gw = probing [[function Probe:on_request()
            return perigee.reply(401, nil, { ["www-authenticate"] = "ApiKey" })
        end]]
        local res = call(gw)
        assert_error(res, 16, "Unauthorized")
        assert.equal("ApiKey", res.headers["www-authenticate"])
    end)

    it("that is a problem document tells its detail", function()
        local gw = probing "function Probe:on_request() return perigee.problem(403, 'Not for you: é\\n.') end"
        assert_error(call(gw), 7, "Not for you: %C3%A9%0A.")
    end)

    it("that is a problem document without a detail tells its title", function()
        local gw = probing "function Probe:on_request() return perigee.problem(403) end"
        assert_error(call(gw), 7, "Forbidden")
    end)

    it("that is of another kind tells what its status says", function()
        local gw = probing "function Probe:on_request() return perigee.reply(403, { secret = 1 }) end"
        assert_error(call(gw), 7, "Forbidden")
    end)

    it("is cut where it is long", function()
        local gw = probing "function Probe:on_request() return perigee.reply(403, ('%'):rep(2000)) end"
        assert_error(call(gw), 7, ("%25"):rep(1024))
    end)

    it("has the status and the message that the policy wrote", function()
        local gw = probing [[function Probe:on_request()
            return perigee.reply(200, "x", { ["grpc-status"] = "9", ["grpc-message"] = "not now" })
        end]]
        assert_error(call(gw), 9, "not now")
    end)

    it("loses a grpc-status that is none", function()
        local gw = probing "function Probe:on_request() return perigee.reply(403, 'x', { ['grpc-status'] = '17' }) end"
        assert_error(call(gw), 7, "x")
    end)

    it("is left alone where it is a gRPC response", function()
        local gw = probing [[function Probe:on_request()
            return perigee.reply(200, "\0\0\0\0\0", { ["content-type"] = "application/grpc", ["grpc-status"] = "0" })
        end]]
        assert.equal("\0\0\0\0\0", call(gw).body)
    end)

    it("is seen with its own status by other policies", function()
        local gw = test.gateway({ policies = { "seer", { "rate_limit", limit = 1, window = "1h" } } }, { files = {
            ["policies/seer/init.lua"] = [[
                local Seer = require("perigee").policy { name = "seer", stage = "observe" }
                function Seer:on_response(req, res) res.headers["x-seen"] = res.status end
                return Seer]],
        } })
        call(gw)
        local res = call(gw)
        assert_error(res, 8, "There were too many requests; try again later.")
        assert.equal("429", res.headers["x-seen"])
    end)

    it("takes the place of an upstream's response", function()
        local gw = probing "function Probe:on_response() return perigee.reply(403, 'not that') end"
        assert_error(call(gw), 7, "not that")
    end)
end)

describe("a response of the upstream to a gRPC call", function()
    it("passes with its trailers", function()
        local res = call(answering(ANSWER))
        assert.equal("data", res.body)
        assert.equal("5", res.trailers["grpc-status"])
    end)

    it("passes as it is where it is not gRPC", function()
        local res = call(answering(function() return test.reply(502, "<html>", { ["content-type"] = "text/html" }) end))
        assert.equal(502, res.status)
        assert.equal("<html>", res.body)
    end)
end)

describe("grpc-timeout", function()
    local function left(gw)
        return gw.upstreams.api.requests[1].headers["grpc-timeout"]
    end

    it("ends a call that the upstream does not answer", function()
        local gw = answering(test.fail.hang)
        local pending = gw:send { method = "POST", path = "/", headers = with { ["grpc-timeout"] = "3S" } }
        gw:advance(2.9)
        assert.is_false(pending:done())
        gw:advance(0.2)
        assert_error(pending:wait(), 4, "The client's deadline has passed.")
    end)

    it("breaks a call off whose response has begun", function()
        local gw = answering(function()
            return test.reply(200, test.stream { "data", test.fail.hang }, { ["content-type"] = "application/grpc" })
        end)
        local raw = gw:raw("POST / HTTP/1.1\r\nhost: a\r\ncontent-type: application/grpc\r\ngrpc-timeout: 3S\r\n"
            .. "content-length: 0\r\n\r\n")
        gw:advance(2.9)
        assert.matches("4\r\ndata\r\n$", raw:read())
        assert.is_false(raw:closed())
        gw:advance(0.2)
        assert.equal("", raw:read() or "")
        assert.is_true(raw:closed())
    end)

    it("ends a call whose policy is not done", function()
        local gw = probing "function Probe:on_request() perigee.sleep(60) end"
        assert_error(call(gw, { ["grpc-timeout"] = "100m" }), 4, "The client's deadline has passed.")
        assert.equal(0, #gw.upstreams.api.requests)
    end)

    it("of nothing is over at once, and nothing is sent", function()
        local gw = test.gateway {}
        assert_error(call(gw, { ["grpc-timeout"] = "0n" }), 4, "The client's deadline has passed.")
        assert.equal(0, #gw.upstreams.api.requests)
    end)

    it("is sent on without the time that has passed", function()
        local gw = probing "function Probe:on_request() perigee.sleep(2) end"
        call(gw, { ["grpc-timeout"] = "10S" })
        local number, unit = left(gw):match "^(%d+)(%a)$"
        assert.equal("u", unit)
        assert.is_true(tonumber(number) <= 8000000 and tonumber(number) > 7900000)
    end)

    it("is sent on smaller where a policy made it smaller, and not larger", function()
        for asked, sent in pairs { ["5m"] = "5000000n", ["9H"] = "10000000u" } do
            local gw = probing("function Probe:on_request(req) req.headers['grpc-timeout'] = '" .. asked .. "' end")
            call(gw, { ["grpc-timeout"] = "10S" })
            assert.equal(sent, left(gw))
        end
    end)

    it("is not sent where a policy took it out, and still holds", function()
        local gw = probing("function Probe:on_request(req) req.headers['grpc-timeout'] = nil end", test.fail.hang)
        assert_error(call(gw, { ["grpc-timeout"] = "1S" }), 4, "The client's deadline has passed.")
        assert.is_nil(left(gw))
    end)

    for _, odd in ipairs { "S", "1", "1s", "123456789S", "-1S", "1.5S", "+1S", "1SS", "0x1S" } do
        it(("%q passes and bounds nothing"):format(odd), function()
            local gw = test.gateway {}
            assert.response(call(gw, { ["grpc-timeout"] = odd })).has.status(200)
            assert.equal(odd, left(gw))
        end)
    end

    it("of another request passes and bounds nothing", function()
        local gw = probing "function Probe:on_request(req) perigee.sleep(5) assert(req.deadline == nil) end"
        gw:get("/", { headers = { ["grpc-timeout"] = "1S" } })
        assert.equal("1S", left(gw))
    end)

    it("is what req.deadline says", function()
        local gw = probing [[function Probe:on_request(req)
            return perigee.reply(403, ("%.2f"):format(req.deadline - perigee.time.monotonic()))
        end]]
        assert_error(call(gw, { ["grpc-timeout"] = "1M" }), 7, "60.00")
    end)

    it("leaves req.deadline empty where it is missing", function()
        local gw = probing "function Probe:on_request(req) return perigee.reply(403, tostring(req.deadline)) end"
        assert_error(call(gw), 7, "nil")
    end)

    it("is not passed by around(), which hears why", function()
        local gw = probing([[function Probe:around(req, next)
            next(req)
            perigee.sleep(1)
            return next(req)
        end]], test.fail.hang)
        assert_error(call(gw, { ["grpc-timeout"] = "1S" }), 4, "The client's deadline has passed.")
        assert.equal(1, #gw.upstreams.api.requests)
    end)
end)

describe("trailers in a body hook", function()
    it("may be changed in the last call", function()
        local gw = probing([[function Probe:on_response_body(req, res, chunk, last)
            if last then res.trailers["grpc-status"], res.trailers["x-more"] = nil, "1" end
        end]], ANSWER)
        local res = call(gw)
        assert.is_nil(res.trailers["grpc-status"])
        assert.equal("1", res.trailers["x-more"])
    end)
end)
