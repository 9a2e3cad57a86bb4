-- SPDX-License-Identifier: MIT

local test = require "perigee.test"

local HANG = { test.fail.hang }

-- An upstream that does not answer the first time, or gives these answers.
local function gateway(settings, upstream, answers)
    settings[1] = "hedge"
    upstream.endpoints = { test.answers(answers or { test.fail.hang, "late but good" }) }
    return test.gateway { policies = { settings }, upstreams = { api = upstream } }
end

local function span(gw, options)
    local before = gw:now()
    local res = gw:request(options or { path = "/" })
    return gw:now() - before, res
end

describe("hedge", function()
    it("asks again when the answer takes long", function()
        local gw = gateway({ after = "40ms" }, { hedge = {} })
        local took, res = span(gw)
        assert.equal("late but good", res.body)
        assert.near(0.04, took, 0.005)
        assert.equal(2, #gw.upstreams.api.requests)
    end)

    it("asks once when the answer is quick", function()
        local gw = gateway({ after = "40ms" }, { hedge = {} }, { "quick" })
        assert.equal("quick", gw:get("/").body)
        assert.equal(1, #gw.upstreams.api.requests)
    end)

    it("takes the place of the upstream's time", function()
        assert.near(0.2, span(gateway({ after = "200ms" }, { hedge = { after = "10ms" } })), 0.005)
    end)

    it("can say that there is none", function()
        local gw = gateway({ after = "0s" }, { hedge = { after = "10ms" } }, HANG)
        assert.response(gw:get "/").is.problem(504)
        assert.equal(1, #gw.upstreams.api.requests)
    end)

    it("needs no more than the budget of retries", function()
        local _, res = span(gateway({ after = "40ms" }, { retries = {} }))
        assert.equal("late but good", res.body)
    end)

    it("does nothing where nobody says what it may cost, and says so", function()
        local gw = gateway({ after = "40ms" }, {}, HANG)
        assert.response(gw:get "/").is.problem(504)
        assert.matches("a policy wants hedges", gw:log()[1].message)
    end)

    it("leaves what may not be done twice", function()
        local gw = gateway({ after = "40ms" }, { hedge = {} }, HANG)
        assert.response(gw:post("/", { body = "x" })).is.problem(504)
        assert.equal(1, #gw.upstreams.api.requests)
    end)

    it("changes nothing in a dry run", function()
        local gw = gateway({ after = "40ms", dry_run = true }, { hedge = {} }, HANG)
        assert.response(gw:get "/").is.problem(504)
    end)

    it("is refused without a time", function()
        assert.equal(1, #test.errors { policies = { "hedge" } })
    end)
end)
