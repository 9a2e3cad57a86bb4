-- SPDX-License-Identifier: MIT

local perigee = require "perigee"
local test = require "perigee.test"

local function assert_error(expected, call, ...)
    local ok, message = pcall(call, ...)
    assert.is_false(ok, "an error was expected")
    assert.truthy(tostring(message):find(expected, 1, true), message)
end

-- A gateway whose only route fetches `url`, and answers the body or the error.
local function fetching(url, hosts)
    return test.gateway {
        hosts = hosts,
        routes = { { handler = function()
            local res, message = perigee.http.fetch(url)
            return perigee.reply(res and res.status or 502, res and res.body or message)
        end } },
    }
end

describe("test.answers", function()
    it("gives each answer once and in order, whatever its kind", function()
        local gw = test.gateway {
            upstreams = { api = test.answers {
                "one", test.reply(201, { n = 2 }), function(req) return req.path end, test.fail.reset,
                test.stream { "fi", 1, "ve" },
            } },
        }
        assert.response(gw:get "/").has.body "one"
        assert.response(gw:get "/").has.json { n = 2 }
        assert.response(gw:get "/three").has.body "/three"
        assert.response(gw:post "/").is.problem(502)
        assert.response(gw:get "/").has.body "five"
    end)

    it("fails the test that asks once more", function()
        local gw = test.gateway { upstreams = { api = test.answers { "one" } } }
        gw:get "/"
        assert_error("fake upstream 'api' is asked 2 times, and has 1 answers", gw.get, gw, "/")
    end)
end)

describe("a fake by name", function()
    it("answers for a host, a host with a port, and the beginning of a URL", function()
        for url, name in pairs {
            ["http://rates.internal/today"] = "rates.internal",
            ["http://rates.internal:80/today"] = "Rates.Internal",
            ["http://rates.internal:8080/today"] = "rates.internal:8080",
            ["http://192.0.2.7/today"] = "http://192.0.2.7/",
        } do
            local gw = fetching(url, { [name] = function(req) return req.path end })
            assert.response(gw:get "/").has.body "/today"
            assert.equal(1, #gw.hosts[name].requests)
        end
    end)

    it("answers for every host that has no fake of its own", function()
        local hosts = {
            ["*"] = function(req) return "any " .. req.headers.host end,
            ["known.internal"] = function() return "known" end,
        }
        assert.response(fetching("http://a.example:81/x", hosts):get "/").has.body "any a.example:81"
        assert.response(fetching("http://known.internal/x", hosts):get "/").has.body "known"
    end)

    it("may be whatever goes wrong", function()
        local before = test.now()
        assert.response(fetching("http://a.example/", { ["*"] = test.fail.refuse }):get "/").has.status(502)
        assert.equal(before, test.now())
        assert.response(fetching("http://a.example/", { ["*"] = test.fail.timeout }):get "/").has.status(502)
        assert.is_true(test.now() > before)
    end)

    it("is missed with the address that was asked, and those that there are", function()
        local gw = fetching("http://rates.internal:8080/today", { ["other.internal"] = test.fail.hang })
        assert_error("no fake answers at rates.internal:8080, which the gateway asks", gw.get, gw, "/")
        assert_error("There are fakes at: other.internal:80", gw.get, gw, "/")
    end)

    it("has no path in its name", function()
        assert_error("is no host", fetching, "http://a/", { ["http://a/b"] = test.fail.hang })
    end)
end)

describe("a connection", function()
    it("that never comes about ends with the connect timeout", function()
        local gw = test.gateway {
            upstreams = { api = { endpoints = { test.fail.timeout }, timeouts = { connect = "3s" } } },
        }
        local before = gw:now()
        assert.response(gw:get "/").is.problem(503)
        assert.equal(3, gw:now() - before)
        assert.same({}, gw.upstreams.api.requests)
    end)

    it("that never comes about ends with its client", function()
        local gw = test.gateway { upstreams = { api = test.fail.timeout } }
        local pending = gw:send { path = "/" }
        gw:advance(0.5)
        pending:abort()
    end)
end)

describe("a client", function()
    it("sends a body slowly, in virtual time", function()
        local gw = test.gateway { upstreams = { api = function(req) return req.body end } }
        local before = gw:now()
        local res = gw:post("/", { chunks = { "one ", 2, "two ", 0.5, "three" }, trailers = { ["x-end"] = "yes" } })
        assert.response(res).has.body "one two three"
        assert.equal(2.5, gw:now() - before)
        assert.equal("yes", gw.upstreams.api.requests[1].trailers["x-end"])
    end)

    it("breaks off in the middle of a body", function()
        local gw = test.gateway {}
        gw:send { method = "POST", path = "/", chunks = { "one", 1, test.fail.reset } }
        gw:advance(2)
        assert.same({}, gw.upstreams.api.requests)
    end)

    it("is too slow for the gateway's timeout", function()
        local gw = test.gateway { listeners = { { address = "127.0.0.1:80", timeouts = { request = "5s" } } } }
        local pending = gw:send { method = "POST", path = "/", chunks = { "one", 3600, "two" } }
        gw:advance(60)
        assert.is_true(pending:done())
        pending:abort()
    end)
end)

describe("a policy under test", function()
    it("has every clock in virtual time", function()
        local gw = test.gateway { routes = { { handler = function()
            local time = perigee.time
            return perigee.reply(200, {
                now = time.now(), monotonic = time.monotonic(), date = os.date "!%Y-%m-%dT%H:%M:%SZ",
                time = os.time(), clock = os.clock(),
            })
        end } } }
        local first = gw:get("/"):json()
        local again = gw:get("/"):json()
        assert.same(first, again)
        assert.equal("2026-01-01T00:00:00Z", first.date)
        gw:advance "90s"
        local later = gw:get("/"):json()
        for _, name in ipairs { "now", "monotonic", "time", "clock" } do
            assert.equal(90, later[name] - first[name], name)
        end
        assert.equal("2026-01-01T00:01:30Z", later.date)
    end)

    it("has the same clocks in the sandbox", function()
        local gw = test.gateway({ policies = { "probe" } }, { files = { ["policies/probe/init.lua"] = [[
            local perigee = require "perigee"
            local Probe = perigee.policy { name = "probe", stage = "observe" }
            function Probe:on_request()
                return perigee.reply(200, { os.time(), os.clock(), os.date "!%H:%M:%S" })
            end
            return Probe
        ]] } })
        local first = gw:get("/"):json()
        gw:advance(3600)
        local later = gw:get("/"):json()
        assert.same({ 3600, 3600, "01:00:00" }, { later[1] - first[1], later[2] - first[2], later[3] })
    end)

    it("sees the wall clock set, and nothing else move", function()
        local ticks = 0
        local gw = test.gateway { routes = { { handler = function(req)
            if req.path == "/start" then
                perigee.timer.every(10, function() ticks = ticks + 1 end)
                perigee.shared("kit"):set("key", "value", 30)
            end
            return perigee.reply(200, {
                perigee.time.now(), perigee.time.monotonic(), perigee.shared("kit"):get "key" or "gone",
            })
        end } } }
        local before = gw:get("/start"):json()
        gw:set_time "2031-05-06T07:08:09Z"
        assert.equal(os.time { year = 2031, month = 5, day = 6, hour = 7, min = 8, sec = 9 },
            os.time(os.date("!*t", gw:now())))
        assert.same({ gw:now(), before[2], "value" }, gw:get("/"):json())
        assert.equal(0, ticks)
        gw:set_time(1000)
        gw:advance(31)
        assert.same({ 1031, before[2] + 31, "gone" }, gw:get("/"):json())
        assert.equal(3, ticks)
        gw:drop_tasks()
    end)

    it("has buckets that fill in virtual time", function()
        local gw = test.gateway { policies = { { "rate_limit", limit = 2, window = "10s" } } }
        assert.same({ 200, 200, 429 }, { gw:get("/").status, gw:get("/").status, gw:get("/").status })
        gw:advance "10s"
        assert.equal(200, gw:get("/").status)
    end)
end)

describe("a spec", function()
    it("moves time without a gateway", function()
        local start = test.now()
        assert.equal(1767225600, start)
        test.advance "1.5s"
        assert.equal(start + 1.5, test.now())
        assert.equal(math.floor(start + 1.5), os.time())
        test.set_time "Sun, 06 Nov 1994 08:49:37 GMT"
        assert.equal("1994-11-06 08:49:37", os.date "!%Y-%m-%d %H:%M:%S")
    end)

    it("begins at the same moment in the next test", function()
        assert.equal(1767225600, test.now())
        assert.equal(1767225600, os.time())
    end)
end)
