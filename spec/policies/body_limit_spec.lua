-- SPDX-License-Identifier: MIT

local perigee = require "perigee"
local test = require "perigee.test"

local function gateway(max, around)
    local config = around or {}
    config.policies = { { "body_limit", max = max } }
    return test.gateway(config)
end

local function assert_refused(gw, res)
    assert.response(res).is.problem(413)
    for _, seen in ipairs(gw.upstreams.api.requests) do -- one that had begun was broken off
        assert.is_true(#(seen.body or "") <= 10)
    end
end

describe("body_limit", function()
    for _, length in ipairs { 0, 1, 9, 10 } do
        it("lets a body of " .. length .. " bytes pass a limit of 10", function()
            local gw = gateway(10)
            local body = ("x"):rep(length)
            assert.response(gw:post("/", { body = body })).has.status(200)
            assert.equal(body, gw.upstreams.api.requests[1].body or "")
        end)
    end

    it("lets a request without a body pass", function()
        assert.response(gateway(0):get "/").has.status(200)
    end)

    for _, length in ipairs { 11, 100, 100000 } do
        it("refuses " .. length .. " announced bytes before anything is sent on", function()
            local gw = gateway(10)
            assert_refused(gw, gw:post("/", { body = ("x"):rep(length) }))
            assert.equal(0, #gw.upstreams.api.requests)
        end)
    end

    it("refuses by the announcement alone, and asks for no body", function()
        local gw = gateway(10)
        local connection = gw:raw("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000\r\n"
            .. "expect: 100-continue\r\n\r\n")
        gw:advance(0.01)
        local text = connection:read()
        assert.matches("^HTTP/1.1 413 ", text)
        assert.is_nil(text:find("100 Continue", 1, true))
    end)

    it("lets a body in chunks pass up to the limit", function()
        local gw = gateway(10)
        assert.response(gw:post("/", { chunks = { "12345", "67890" } })).has.status(200)
        assert.equal("1234567890", gw.upstreams.api.requests[1].body)
    end)

    for what, chunks in pairs {
        ["one large chunk"] = { ("x"):rep(5000) }, ["many small chunks"] = { "1234", "5678", "9", "0", "1" },
        ["a last byte too many"] = { "1234567890", "1" },
    } do
        it("refuses " .. what, function()
            local gw = gateway(10)
            assert_refused(gw, gw:post("/", { chunks = chunks }))
        end)
    end

    it("bounds what a handler reads", function()
        local gw = gateway(10, { routes = { { match = { path = "/*" }, handler = function(req)
            local body, message = req.body:read(1000)
            return perigee.reply(body and 200 or 400, body or message)
        end } } })
        assert.response(gw:post("/", { chunks = { "12345" } })).has.body "12345"
        assert.not_equal(200, gw:post("/", { chunks = { ("x"):rep(500) } }).status)
        assert.not_equal(200, gw:post("/", { body = ("x"):rep(500) }).status)
    end)

    it("takes the smaller of two limits, in either order", function()
        for _, sizes in ipairs { { 10, 1000 }, { 1000, 10 } } do
            local gw = test.gateway {
                policies = { { "body_limit", max = sizes[1] }, { "body_limit", max = sizes[2] } },
            }
            assert.equal(413, gw:post("/", { body = ("x"):rep(11) }).status)
            assert.equal(200, gw:post("/", { body = ("x"):rep(10) }).status)
            gw:close()
        end
    end)

    it("understands sizes with units", function()
        local gw = gateway "1k"
        assert.equal(200, gw:post("/", { body = ("x"):rep(1024) }).status)
        assert.equal(413, gw:post("/", { body = ("x"):rep(1025) }).status)
    end)

    it("bounds nothing but requests", function()
        local gw = gateway(10, { upstreams = { api = function()
            return test.reply(200, ("x"):rep(5000))
        end } })
        assert.equal(5000, #gw:get("/").body)
    end)

    for what, settings in pairs {
        ["without a size"] = {}, ["with a negative size"] = { max = -1 },
        ["with a size that is none"] = { max = "much" },
        ["with half a byte"] = { max = 0.5 },
    } do
        it("is refused " .. what, function()
            settings[1] = "body_limit"
            assert.equal(1, #test.errors { policies = { settings } })
        end)
    end
end)
