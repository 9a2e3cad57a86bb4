-- SPDX-License-Identifier: MIT

local test = require "perigee.test"

-- What the upstream and the client get, with the edits made by the runtime and, forced by a `when`, by the policy in Lua.
local function both(settings, sent, answered)
    local results = {}
    for i, when in ipairs { false, function() return true end } do
        local use = { "headers", request = settings.request, response = settings.response, when = when or nil }
        local gw = test.gateway {
            policies = { use },
            upstreams = { api = function() return test.reply(200, "ok", answered) end },
        }
        local res = gw:get("/", { headers = sent })
        assert.equal(200, res.status)
        results[i] = { request = gw.upstreams.api.requests[1].headers, response = res.headers }
        gw:close()
    end
    return results
end

-- Checks the fields of one side in both ways.
local function check(side, settings, before, expected)
    local sent, answered = side == "request" and before or nil, side == "response" and before or nil
    for i, result in ipairs(both({ [side] = settings }, sent, answered)) do
        for name, values in pairs(expected) do
            assert.same(values, result[side]:all(name), (i == 1 and "in C: " or "in Lua: ") .. name)
        end
    end
end

for _, side in ipairs { "request", "response" } do
    describe("headers of a " .. side, function()
        local cases = {
            { "are set where there are none", { set = { ["x-a"] = "1" } }, {}, { ["x-a"] = { "1" } } },
            { "are set in the place of all there are", { set = { ["x-a"] = "1" } }, { ["X-A"] = { "7", "8" } },
              { ["x-a"] = { "1" } } },
            { "are set whatever the case", { set = { ["X-A"] = "1" } }, { ["x-a"] = "7" }, { ["x-a"] = { "1" } } },
            { "are added beside those there are", { add = { ["x-a"] = "1" } }, { ["x-a"] = "7" },
              { ["x-a"] = { "7", "1" } } },
            { "are added several at once", { add = { ["x-a"] = { "1", "2" } } }, {}, { ["x-a"] = { "1", "2" } } },
            { "are removed, all of a name", { remove = { "X-A" } }, { ["x-a"] = { "7", "8" }, ["x-b"] = "9" },
              { ["x-a"] = {}, ["x-b"] = { "9" } } },
            { "are removed though there are none", { remove = { "x-a" } }, {}, { ["x-a"] = {} } },
            { "are removed, then set, then added",
              { add = { ["x-a"] = "3" }, set = { ["x-a"] = "2" }, remove = { "x-a" } }, { ["x-a"] = "1" },
              { ["x-a"] = { "2", "3" } } },
            { "may be empty", { set = { ["x-a"] = "" } }, {}, { ["x-a"] = { "" } } },
            { "may hold bytes that are not ASCII", { set = { ["x-a"] = "caf\195\169" } }, {},
              { ["x-a"] = { "caf\195\169" } } },
            { "stay as they are where no edit names them", { set = { ["x-a"] = "1" } }, { ["x-b"] = { "1", "2" } },
              { ["x-b"] = { "1", "2" } } },
        }
        for _, case in ipairs(cases) do
            it(case[1], function()
                check(side, case[2], case[3], case[4])
            end)
        end
    end)
end

describe("headers", function()
    it("does not touch the other side", function()
        local settings = { request = { set = { ["x-a"] = "1" } }, response = { set = { ["x-b"] = "2" } } }
        for _, result in ipairs(both(settings)) do
            assert.is_nil(result.response["x-a"])
            assert.is_nil(result.request["x-b"])
            assert.equal("1", result.request["x-a"])
            assert.equal("2", result.response["x-b"])
        end
    end)

    it("edits answers of the runtime too", function()
        for _, when in ipairs { false, function() return true end } do
            local gw = test.gateway {
                policies = { { "headers", response = { set = { ["x-frame-options"] = "DENY" } }, when = when or nil } },
                upstreams = { api = test.fail.refuse },
            }
            local res = gw:get "/"
            assert.equal(503, res.status)
            assert.equal("DENY", res.headers["x-frame-options"])
            gw:close()
        end
    end)

    it("edits in the order of the policies, responses the other way round", function()
        local function use(value)
            return { "headers", request = { add = { ["x-a"] = value } }, response = { add = { ["x-a"] = value } } }
        end
        for _, more in ipairs { false, "request_id" } do -- the second needs Lua
            local policies = { use "1", use "2" }
            policies[3] = more or nil
            local gw = test.gateway { policies = policies }
            local res = gw:get "/"
            assert.same({ "1", "2" }, gw.upstreams.api.requests[1].headers:all "x-a")
            assert.same({ "2", "1" }, res.headers:all "x-a")
            gw:close()
        end
    end)

    it("edits names in alphabetical order", function()
        local gw = test.gateway { policies = { { "headers", response = {
            set = { ["x-s3"] = "", ["x-s1"] = "", ["x-s2"] = "" },
            add = { ["x-a2"] = "", ["x-a3"] = "", ["x-a1"] = "" },
        } } } }
        local order = {}
        for name in gw:get("/").headers:iterate() do
            order[#order + 1] = name:match "^x%-(..)$"
        end
        assert.equal("s1 s2 s3 a1 a2 a3", table.concat(order, " "))
    end)

    for what, value in pairs { ["a tab"] = "a\tb", ["a space"] = "a b", ["UTF-8"] = "zoë", ["quotes"] = '"\\' } do
        it("may set a value with " .. what, function()
            check("request", { set = { ["x-a"] = value } }, {}, { ["x-a"] = { value } })
        end)
    end

    for _, code in ipairs { 0, 1, 8, 10, 13, 31, 127 } do
        it("is refused for a value with the control character " .. code, function()
            local errors = test.errors { policies = { { "headers", response = { set = { a = string.char(code) } } } } }
            assert.matches("no control characters", errors[1].message)
        end)
    end

    it("is refused for a value that is not UTF-8", function()
        local errors = test.errors { policies = { { "headers", response = { set = { a = "caf\233" } } } } }
        assert.matches("UTF%-8", errors[1].message)
    end)

    it("runs only when it should", function()
        local gw = test.gateway {
            policies = { { "headers", request = { set = { ["x-a"] = "1" } }, when = { path = "/in/*" } } },
        }
        gw:get "/in/x"
        gw:get "/out"
        assert.equal("1", gw.upstreams.api.requests[1].headers["x-a"])
        assert.is_nil(gw.upstreams.api.requests[2].headers["x-a"])
    end)

    for _, name in ipairs {
        "Connection", "content-length", "transfer-encoding", "Host", "upgrade", "te", "trailer", "keep-alive",
        "proxy-connection",
    } do
        it("is refused for " .. name .. ", which is the runtime's", function()
            for _, edits in ipairs { { set = { [name] = "x" } }, { add = { [name] = "x" } }, { remove = { name } } } do
                local errors = test.errors { policies = { { "headers", request = edits } } }
                assert.equal(1, #errors)
                assert.matches("runtime's own", errors[1].message)
            end
        end)
    end

    for what, settings in pairs {
        ["without a side"] = {}, ["with a name that is none"] = { request = { set = { ["a b"] = "1" } } },
        ["with an empty name"] = { request = { remove = { "" } } },
        ["with a line feed in a value"] = { response = { set = { ["x-a"] = "1\r\nx-b: 2" } } },
        ["with a NUL in a value"] = { response = { add = { ["x-a"] = { "1", "a\0" } } } },
        ["with a value that is no string"] = { request = { set = { ["x-a"] = true } } },
        ["with names to remove as a map"] = { request = { remove = { ["x-a"] = "1" } } },
        ["with an unknown edit"] = { request = { replace = { ["x-a"] = "1" } } },
    } do
        it("is refused " .. what, function()
            settings[1] = "headers"
            assert.equal(1, #test.errors { policies = { settings } })
        end)
    end
end)
