-- SPDX-License-Identifier: MIT

local test = require "perigee.test"

local function gateway(settings, more)
    local config = { policies = { settings } }
    for name, value in pairs(more or {}) do
        config[name] = value
    end
    return test.gateway(config)
end

local function sent(gw, number)
    return gw.upstreams.api.requests[number or 1].headers
end

describe("request_id", function()
    it("gives the upstream and the client the same new id", function()
        local gw = gateway { "request_id" }
        local res = gw:get "/"
        local id = res.headers["x-request-id"]
        assert.matches("^%x+$", id)
        assert.equal(32, #id)
        assert.equal(id, sent(gw)["x-request-id"])
    end)

    it("never gives an id twice", function()
        local gw, seen = gateway { "request_id" }, {}
        for _ = 1, 300 do -- more than are drawn at once
            local id = gw:get("/").headers["x-request-id"]
            assert.is_nil(seen[id])
            assert.equal(32, #id)
            seen[id] = true
        end
    end)

    it("does not believe a client unless told to", function()
        local gw = gateway { "request_id" }
        local res = gw:get("/", { headers = { ["x-request-id"] = "mine" } })
        assert.not_equal("mine", res.headers["x-request-id"])
        assert.equal(res.headers["x-request-id"], sent(gw)["x-request-id"])
    end)

    describe("with trust", function()
        local longest = ("a"):rep(128)
        for _, id in ipairs { "mine", "1", "4bf92f3577b34da6-a3ce929d0e0e4736", "a.b_c~d+e/f=g:h@i-j", longest } do
            it("keeps the valid id " .. id:sub(1, 40), function()
                local gw = gateway { "request_id", trust = true }
                local res = gw:get("/", { headers = { ["x-request-id"] = id } })
                assert.equal(id, res.headers["x-request-id"])
                assert.equal(id, sent(gw)["x-request-id"])
            end)
        end

        for what, id in pairs {
            ["that is too long"] = ("a"):rep(129), ["with a quote"] = 'a"b', ["with a space"] = "a b",
            ["with a backslash"] = "a\\b", ["with a tab"] = "a\tb", ["with a comma"] = "a,b",
            ["with bytes that are not ASCII"] = "caf\195\169", ["with markup"] = "<script>", ["that is empty"] = "",
        } do
            it("replaces an id " .. what, function()
                local gw = gateway { "request_id", trust = true }
                local res = gw:get("/", { headers = { ["x-request-id"] = id } })
                assert.matches("^%x+$", res.headers["x-request-id"])
                assert.not_equal(id, sent(gw)["x-request-id"])
            end)
        end

        it("makes one of two ids", function()
            local gw = gateway { "request_id", trust = true }
            gw:get("/", { headers = { ["x-request-id"] = { "one", "two" } } })
            assert.same({ "one" }, sent(gw):all "x-request-id")
        end)
    end)

    it("uses another header when told to, in any case", function()
        local gw = gateway { "request_id", header = "X-Correlation-ID", trust = true }
        local res = gw:get("/", { headers = { ["x-correlation-id"] = "abc" } })
        assert.equal("abc", res.headers["x-correlation-id"])
        assert.is_nil(res.headers["x-request-id"])
    end)

    it("replaces what the upstream says", function()
        local gw = gateway({ "request_id" }, { upstreams = { api = function()
            return test.reply(200, "", { ["x-request-id"] = "theirs" })
        end } })
        local res = gw:get "/"
        assert.same({ sent(gw)["x-request-id"] }, res.headers:all "x-request-id")
    end)

    it("is in the problem document of a policy that refuses", function()
        local gw = test.gateway { policies = { "request_id", { "key_auth", keys = { k = "ada" } } } }
        local res = gw:get "/"
        assert.response(res).is.problem(401)
        assert.equal(res.headers["x-request-id"], res:json().request_id)
    end)

    it("is in the problem document of the runtime", function()
        local gw = gateway({ "request_id" }, { upstreams = { api = test.fail.refuse } })
        local res = gw:get "/"
        assert.response(res).is.problem(503)
        assert.equal(res.headers["x-request-id"], res:json().request_id)
    end)

    it("is refused with a header that is no name", function()
        assert.equal(1, #test.errors { policies = { { "request_id", header = "a b" } } })
    end)
end)
