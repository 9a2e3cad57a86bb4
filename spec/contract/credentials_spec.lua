-- SPDX-License-Identifier: MIT
--
-- Policies say where they look for credentials, so that recordings mask them (docs/operations/record-replay.md).

local json = require "perigee.json"
local test = require "perigee.test"

-- The places that the only use of a policy declares.
local function places(use)
    local gw = test.gateway { policies = { use } }
    return json.decode(gw.server:config()).routes[1].chain[1].credentials
end

local SHOUT = [[
local perigee = require "perigee"
local Shout = perigee.policy { name = "shout", stage = "auth" }
function Shout:on_request() end
function Shout:credentials(conf) %s end
return Shout
]]

local function problems(body)
    return test.errors({ policies = { "shout" } }, { files = { ["policies/shout/init.lua"] = SHOUT:format(body) } })
end

describe("credentials", function()
    it("are declared by every shipped policy that reads them", function()
        local keys = { ["a-key"] = "alice" }
        assert.same({ "header:x-api-key" }, places { "key_auth", keys = keys })
        assert.same({ "header:x-own", "query:k" }, places { "key_auth", keys = keys, header = "X-Own", query = "k" })
        local hash = "$pbkdf2-sha256$i=1000$c2FsdHNhbHRzYWx0c2FsdA$" .. ("A"):rep(43)
        assert.same({ "header:authorization" }, places { "basic_auth", users = { alice = hash } })
        local secret = ("s"):rep(32)
        assert.same({ "header:authorization", "cookie:t" }, places { "jwt", secret = secret, cookie = "t" })
    end)

    it("are left out by policies without them", function()
        assert.is_nil(places "request_id")
        assert.same({}, problems "return {}")
    end)

    it("must be places", function()
        for _, body in ipairs { 'return "header:a"', 'return { "a" }', 'return { "body:a" }', 'return { "header:a b" }',
            'return { "query:" }', "return { 1 }", "error 'no'" } do
            local errors = problems(body)
            assert.equal("policies[1]", errors[1] and errors[1].path)
            assert.truthy(errors[1].message:find("credentials() of policy 'shout'", 1, true))
        end
    end)
end)
