-- SPDX-License-Identifier: MIT
--
-- Retries in virtual time: how long they wait, and what limits them.

local test = require "perigee.test"

local function gateway(retries, answer, settings)
    local upstream = settings or {}
    upstream.endpoints = { answer }
    upstream.retries = retries
    return test.gateway { upstreams = { api = upstream }, routes = { { upstream = "api" } } }
end

local function fail()
    return test.reply(500, "broken")
end

local function span(gw)
    local before = gw:now()
    gw:get "/"
    return gw:now() - before
end

describe("retries", function()
    it("wait at random, in ranges that double up to a maximum", function()
        local gw = gateway({ attempts = 4, on = { "5xx" }, backoff = { base = "100ms", max = "1s" } }, fail,
            { timeouts = { request = "0s" } })
        local longest = 0
        for _ = 1, 40 do
            longest = math.max(longest, span(gw))
        end
        -- at most 0.1 + 0.3 + 0.7 + 1 s, and one time in very many less than a half of that forty times
        assert.is_true(longest < 2.1)
        assert.is_true(longest > 1.05)
        assert.equal(200, #gw.upstreams.api.requests)
    end)

    it("wait for as long as Retry-After says, and half of it at most on top", function()
        local gw = gateway({ attempts = 1, on = { 503 } },
            test.answers { test.reply(503, "", { ["retry-after"] = "2" }), test.reply(200, "ok") })
        local before = gw:now()
        assert.equal("ok", gw:get("/").body)
        local waited = gw:now() - before
        assert.is_true(waited >= 2 and waited <= 3.01, waited)
    end)

    it("move on after the time of one attempt", function()
        local gw = gateway({ attempts = 1, per_try_timeout = "2s", backoff = { base = "0s" } },
            test.answers { test.fail.hang, test.reply(200, "ok") })
        local before = gw:now()
        assert.equal("ok", gw:get("/").body)
        assert.near(2, gw:now() - before, 0.01)
    end)

    it("are not made for the request timeout, which is that of all attempts", function()
        local gw = gateway({ attempts = 5, per_try_timeout = "2s", backoff = { base = "0s" } }, test.fail.hang,
            { timeouts = { request = "5s" } })
        local before = gw:now()
        assert.response(gw:get "/").is.problem(504)
        assert.near(5, gw:now() - before, 0.02)
        assert.equal(3, #gw.upstreams.api.requests)
    end)

    it("are made by http.fetch too", function()
        local gw = test.gateway {
            upstreams = { api = { endpoints = { test.answers { fail(), test.reply(200, "ok") } },
                retries = { on = { "5xx" } } } },
            routes = { { handler = function()
                local res = require("perigee").http.fetch "http://api/"
                return require("perigee").reply(res.status, res.body)
            end } },
        }
        assert.equal("ok", gw:get("/").body)
    end)
end)
