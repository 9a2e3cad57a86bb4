-- SPDX-License-Identifier: MIT
--
-- How a policy and the gateway that uses it are tested: `perigee test examples/hello`. No port is opened; docs/testing.md has
-- the whole kit.

local perigee = require "perigee"
local test = require "perigee.test"

local here = debug.getinfo(1, "S").source:match "^@(.*)/" or "."

describe("the policy greeting", function()
    -- What the policy leaves behind for a handler, shown by a handler of our own.
    local function gateway_with(policy)
        return test.gateway {
            policies = { policy },
            routes = { { handler = function(req) return perigee.reply(200, req.ctx.greeting) end } },
        }
    end

    it("says Hello unless told otherwise", function()
        assert.response(gateway_with("greeting"):get("/")).has.body("Hello")
    end)

    it("says what it is told to", function()
        assert.response(gateway_with({ "greeting", text = "Moin" }):get("/")).has.body("Moin")
    end)

    it("wants a text", function()
        local errors = test.errors { policies = { { "greeting", text = 7 } } }
        assert.equal("policies[1].text", errors[1].path)
    end)

    it("names the setting that was probably meant", function()
        local errors = test.errors { policies = { { "greeting", txt = "Ahoy" } } }
        assert.matches("text", errors[1].message, 1, true)
    end)
end)

describe("the gateway", function()
    local gw

    before_each(function()
        gw = test.load(here .. "/gateway.lua")
    end)

    it("greets by name", function()
        local res = gw:get("/hello/ada")
        assert.response(res).has.status(200)
        assert.response(res).has.body("Ahoy, ada!\n")
    end)

    it("says where to go from the root", function()
        assert.response(gw:get("/")).has.body("Try /hello/you\n")
    end)

    it("answers 404 for what has no route", function()
        assert.response(gw:get("/hello")).is.problem(404)
        assert.response(gw:get("/hello/ada/lovelace")).is.problem(404)
    end)
end)
