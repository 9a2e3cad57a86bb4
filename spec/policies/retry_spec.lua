-- SPDX-License-Identifier: MIT

local test = require "perigee.test"

local function gateway(settings, ...)
    settings[1] = "retry"
    local answers = { ... }
    for i, status in ipairs(answers) do
        answers[i] = test.reply(status, "answer " .. i)
    end
    return test.gateway { policies = { settings }, upstreams = { api = test.answers(answers) } }
end

describe("retry", function()
    it("asks again after a 503", function()
        assert.response(gateway({}, 503, 200):get "/").has.body("answer 2")
    end)

    it("gives the last answer when none is good", function()
        local res = gateway({ attempts = 3 }, 503, 502, 504):get "/"
        assert.equal("504 answer 3", res.status .. " " .. res.body)
    end)

    it("leaves other statuses alone", function()
        assert.response(gateway({}, 500):get "/").has.status(500)
        assert.response(gateway({}, 404):get "/").has.status(404)
        assert.response(gateway({ on = { 500 } }, 500, 200):get "/").has.status(200)
        assert.response(gateway({ on = { 500 } }, 503):get "/").has.status(503)
    end)

    it("repeats no method that may not be done twice", function()
        assert.response(gateway({}, 503):post("/", { body = "x" })).has.status(503)
    end)

    it("sends the body again", function()
        local gw = gateway({}, 503, 200)
        assert.response(gw:put("/", { body = "text" })).has.status(200)
        assert.equal("text", gw.upstreams.api.requests[2].body)
    end)

    it("asks again when there was no answer", function()
        local gw = test.gateway { policies = { "retry" }, upstreams = {
            api = test.answers { test.fail.reset, "good" },
        } }
        assert.response(gw:get "/").has.body("good")
    end)

    it("pauses at random, longer each time, up to the longest", function()
        math.randomseed(9)
        local expected = 0
        for _, longest in ipairs { 0.1, 0.3, 0.5, 0.5 } do -- base × 1, 3, 7, 15, at most max
            expected = expected + math.random() * longest
        end
        math.randomseed(9)
        local gw = gateway({ attempts = 5, base = "100ms", max = "500ms" }, 503, 503, 503, 503, 200)
        local began = gw:now()
        assert.response(gw:get "/").has.status(200)
        assert.near(expected, gw:now() - began, 0.005)
    end)

    it("begins no attempt when the time is over", function()
        math.randomseed(9)
        local gw = gateway({ attempts = 10, base = "10s", max = "10s", within = "1ms" }, 503)
        assert.response(gw:get "/").has.status(503)
    end)

    it("counts the attempts after the first", function()
        local gw = gateway({ attempts = 3 }, 503, 503, 200, 200)
        local metric = 'retry_attempts_total{route="test"}'
        gw:get "/"
        assert.equal(2, gw:metrics()[metric])
        gw:get "/"
        assert.equal(2, gw:metrics()[metric])
    end)

    it("neither asks again nor pauses in a dry run, and counts", function()
        local gw = gateway({ attempts = 3, base = "10s", max = "10s", within = "1h", dry_run = true }, 503)
        local began = gw:now()
        assert.response(gw:get "/").has.body("answer 1")
        assert.equal(0, gw:now() - began)
        assert.equal(1, #gw.upstreams.api.requests)
        assert.equal(2, gw:metrics()['retry_attempts_total{route="test"}'])
    end)

    for what, settings in pairs {
        ["with one attempt"] = { attempts = 1 }, ["with 11"] = { attempts = 11 },
        ["on a good status"] = { on = { 200 } },
        ["without a pause"] = { base = "0s" },
    } do
        it("is refused " .. what, function()
            settings[1] = "retry"
            assert.equal(1, #test.errors { policies = { settings } })
        end)
    end
end)
