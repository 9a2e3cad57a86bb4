-- SPDX-License-Identifier: MIT

local test = require "perigee.test"

-- The message that a call fails with, and the line that the call is on.
local function failure(call)
    local ok, message = pcall(call)
    assert.is_false(ok, "an error was expected")
    message = type(message) == "table" and tostring(message.message or message) or message
    return message, debug.getinfo(call, "S").linedefined
end

-- The call stands on the line on which its function begins.
local function assert_misuse(expected, call)
    local message, line = failure(call)
    assert.truthy(message:find(expected, 1, true), message)
    local place = "spec/contract/test_kit_misuse_spec.lua:" .. line .. ": "
    assert.equal(place, message:sub(1, #place))
end

describe("what is used wrongly is told with the line of the spec", function()
    local gw

    before_each(function()
        gw = test.gateway { upstreams = { api = function() return test.reply(200, "text") end } }
    end)

    it("when a gateway is made of something else", function()
        assert_misuse("the table that a configuration file returns, not a string", function() test.gateway "x" end)
        assert_misuse("the options are a table, not a number", function() test.gateway({}, 7) end)
        assert_misuse("'file' is no option here; there are dir", function() test.gateway({}, { file = {} }) end)
        assert_misuse("option 'files' is a table, not a string", function() test.gateway({}, { files = "x" }) end)
        assert_misuse("expects the path of a configuration file", function() test.load() end)
        assert_misuse("the configuration is refused", function() test.gateway { colour = "red" } end)
    end)

    it("when a request is none", function()
        assert_misuse("gw:get expects a path, not a table", function() gw:get { path = "/" } end)
        assert_misuse("gw:get expects a table of options behind the path, not a", function() gw:get("/", "x") end)
        assert_misuse("expect a table such as", function() gw:send "/" end)
        assert_misuse("'header' is no option; there are body, chunks", function() gw:get("/", { header = {} }) end)
        assert_misuse("'headers' is a table, not a string", function() gw:request { headers = "x" } end)
        assert_misuse("the body is a string or a table, not a number", function() gw:post("/", { body = 7 }) end)
        assert_misuse("the body cannot be written as JSON", function() gw:post("/", { body = { print } }) end)
        assert_misuse("chunk 2 is a table", function() gw:post("/", { chunks = { "a", {} } }) end)
    end)

    it("when a colon is forgotten", function()
        assert_misuse("call gw:get(…) with a colon", function() gw.get "/" end)
        assert_misuse("call gw:advance(…) with a colon", function() gw.advance(1) end)
        assert_misuse("call gw:close() with a colon", function() gw.close() end)
        assert_misuse("call expect(…) with a colon", function() gw.upstreams.api.expect { path = "/" } end)
    end)

    it("when the gateway is closed", function()
        gw:close()
        gw:close()
        assert_misuse("gw:get: the gateway is closed", function() gw:get "/" end)
        assert_misuse("gw:log: the gateway is closed", function() gw:log() end)
        assert_misuse("gw:reload: the gateway is closed", function() gw:reload {} end)
    end)

    it("when a request on its way is taken for a response", function()
        local pending = gw:send { path = "/" }
        assert_misuse("which has no status: call :wait() for the response", function() return pending.status end)
        assert_misuse("which has no json: call :wait()", function() return pending:json() end)
        assert_misuse("not a request on its way: call :wait() first", function() assert.response(pending) end)
        assert.equal(200, pending:wait().status)
    end)

    it("when time is no time", function()
        assert_misuse("gw:advance expects a number of seconds, 0 or more", function() gw:advance(-1) end)
        assert_misuse('not "soon"', function() gw:advance "soon" end)
        assert_misuse("not a nil", function() test.advance() end)
        assert_misuse("set_time expects seconds since 1970", function() gw:set_time "tomorrow" end)
        assert_misuse("set_time expects seconds since 1970", function() gw:set_time(-1) end)
    end)

    it("when an answer is none", function()
        assert_misuse("a status from 200 to 999", function() test.reply "200" end)
        assert_misuse("part 1 is a table", function() test.stream { {} } end)
        assert_misuse("expects a list of answers, not a string", function() test.answers "x" end)
        local refuse = test.fail.refuse
        assert_misuse("answer 2: who has no connection is asked nothing", function() test.answers { "a", refuse } end)
    end)

    it("when nothing of the kind can be expected", function()
        local api = gw.upstreams.api
        assert_misuse("expect is given a table", function() api:expect "/" end)
        assert_misuse("'verb' is nothing that can be expected", function() api:expect { verb = "GET" } end)
        assert_misuse("'body' is a string or a table, not a number", function() api:expect { body = 7 } end)
    end)

    it("when a body is no JSON", function()
        local res = gw:get "/"
        assert_misuse("the body is no JSON", function() local _ = res:json() end)
    end)

    it("when an assertion is given something else", function()
        local res = gw:get "/"
        assert_misuse("has.status expects a number, not a string", function() assert.response(res).has.status "200" end)
        assert_misuse("has.header expects the name", function() assert.response(res).has.header(7) end)
        assert_misuse("has.headers expects a table", function() assert.response(res).has.headers "x" end)
        assert_misuse("has.body expects a text", function() assert.response(res).has.body {} end)
        assert_misuse("is.problem expects a status", function() assert.response(res).is.problem() end)
        assert_misuse("expects a response, not a number", function() assert.response(7) end)
    end)

    it("when the gateway asks for what nobody answers", function()
        gw = test.gateway { upstreams = { api = { endpoints = { "192.0.2.1:80" } } } }
        assert_misuse('put one in hosts (hosts = { ["192.0.2.1:80"] = … })', function() gw:get "/" end)
    end)

    it("when no response comes", function()
        gw = test.gateway { upstreams = { api = { endpoints = { test.fail.hang }, timeouts = { request = "1h" } } } }
        assert_misuse("no response within 60 virtual seconds", function() gw:get "/" end)
    end)

    it("when a fake answers what is no answer", function()
        gw = test.gateway { upstreams = { api = function() return 7 end } }
        assert_misuse("fake upstream 'api' returned a number", function() gw:get "/" end)
        gw = test.gateway { upstreams = { api = function() return test.fail.refuse end } }
        assert_misuse("test.fail.refuse stands in the place of the fake", function() gw:get "/" end)
    end)
end)
