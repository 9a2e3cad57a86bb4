-- SPDX-License-Identifier: MIT

local test = require "perigee.test"

describe("a failed assertion", function()
    local gw

    local function fails(expected, check)
        local ok, message = pcall(check)
        assert.is_false(ok, "the assertion holds")
        message = type(message) == "table" and tostring(message.message) or message
        assert.truthy(message:find(expected, 1, true), message)
    end

    local function answer(body, headers)
        gw = test.gateway { upstreams = { api = function() return test.reply(200, body, headers) end } }
        return gw:get "/"
    end

    it("says path by path where JSON differs", function()
        local res = answer { user = { name = "ada", tags = { "a", "b" } }, ["odd key"] = true, extra = 1 }
        fails('\n  extra: not expected, and it is 1\n  missing: expected "x", and it is not there\n'
            .. '  ["odd key"]: expected false, got true\n  user.name: expected "eve", got "ada"\n'
            .. '  user.tags[2]: expected "c", got "b"\nThe response:', function()
            assert.response(res).has.json {
                user = { name = "eve", tags = { "a", "c" } }, ["odd key"] = false, missing = "x",
            }
        end)
    end)

    it("compares JSON of different kinds", function()
        fails('the value: expected {"a":1}, got [1,2]', function()
            assert.response(answer '[1,2]').has.json { a = 1 }
        end)
        fails("a JSON body, but", function() assert.response(answer "no JSON").has.json {} end)
    end)

    it("stops after a dozen differences", function()
        local expected, list = {}, {}
        for i = 1, 100 do
            expected[i], list[i] = i, -i
        end
        fails("[12]: expected 12, got -12\n  and 88 more\n", function()
            assert.response(answer(list)).has.json(expected)
        end)
    end)

    it("says from which byte and line texts differ", function()
        local text = ("line of text\n"):rep(20)
        local other = text:sub(1, 100) .. "X" .. text:sub(102)
        fails('from byte 101 (line 8) on:\n    expected "line of tXxt"\n    got      "line of text"', function()
            assert.response(answer(text)).has.body(other)
        end)
        fails("they differ from byte 261 (line 21) on:\n    expected \"more\"\n    got      \"\"", function()
            assert.response(answer(text)).has.body(text .. "more")
        end)
    end)

    it("cuts what is long", function()
        fails("… (5000 bytes), got", function() assert.response(answer "short").has.body(("x"):rep(5000)) end)
    end)

    it("lists the headers that differ", function()
        local res = answer("", { ["x-a"] = "1", ["x-b"] = { "1", "2" } })
        assert.response(res).has.headers { ["X-A"] = 1, ["x-b"] = "1, 2", ["x-c"] = false }
        assert.response(res).has_no.headers { ["x-a"] = "2" }
        fails('headers, and they differ:\n  x-a: not expected, and it is "1"\n  x-b: expected "3", got "1, 2"\n'
            .. '  x-d: expected "4", and it is not there\n', function()
            assert.response(res).has.headers { ["x-a"] = false, ["x-b"] = "3", ["x-d"] = "4" }
        end)
    end)

    it("tells what the proxy says of the problem", function()
        gw = test.gateway { upstreams = { api = test.fail.reset } }
        local res = gw:post "/"
        fails("Expected status 200, got 502 (Bad Gateway: ", function() assert.response(res).has.status(200) end)
        fails('Expected a problem with status 503, got 502 as "application/problem+json" (Bad Gateway: ', function()
            assert.response(res).is.problem(503)
        end)
        fails("Expected status 404, got 200\n", function() assert.response(answer "x").has.status(404) end)
    end)
end)
