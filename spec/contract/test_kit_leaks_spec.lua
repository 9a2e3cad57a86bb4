-- SPDX-License-Identifier: MIT

local perigee = require "perigee"
local test = require "perigee.test"
local world = require "perigee.test.world"

-- Ends the test as it were over, and gives what it left behind; nil for nothing.
local function left()
    world.status = "success"
    local ok, message = pcall(world.finish)
    return not ok and message or nil
end

local function assert_left(expected)
    local message = left() or "nothing is left"
    assert.truthy(message:find(expected, 1, true), message)
end

-- "file:line" of the line `before` lines above the call.
local function above(before)
    return "spec/contract/test_kit_leaks_spec.lua:" .. debug.getinfo(2, "l").currentline - before
end

local function handled(handler)
    return test.gateway { routes = { { handler = handler } } }
end

local function done()
    return perigee.reply(204)
end

describe("a test fails at its end", function()
    it("with the place of a request that nobody waited for", function()
        test.gateway({ upstreams = { api = test.fail.hang } }):send { path = "/a" }
        assert_left("GET /a was sent and neither waited for nor aborted (" .. above(1) .. ")")
    end)

    it("also when it has closed the gateway itself", function()
        local gw = test.gateway { upstreams = { api = test.fail.hang } }
        gw:send { path = "/a" }
        gw:close()
        assert_left "GET /a was sent"
    end)

    it("for a timer that a request started and nothing cancelled", function()
        local gw = handled(function()
            perigee.timer.every(10, function() end)
            return done()
        end)
        gw:get "/"
        assert_left("a timer of a handler (" .. above(4) .. ") still runs")
    end)

    it("for a task that has not ended, with the policy that started it", function()
        local gw = test.gateway({ policies = { "probe" } }, { files = { ["policies/probe/init.lua"] = [[
            local perigee = require "perigee"
            local Probe = perigee.policy { name = "probe", stage = "observe" }
            function Probe:on_log()
                perigee.timer.after(5, function() end)
            end
            return Probe
        ]] } })
        gw:get "/"
        assert_left "a task of policy 'probe' (policies/probe/init.lua:4) has not ended"
    end)

    it("not for timers that init() started, that were cancelled, that ran out, or that the test drops", function()
        local gw = test.gateway({ policies = { "probe" } }, { files = { ["policies/probe/init.lua"] = [[
            local perigee = require "perigee"
            local Probe = perigee.policy { name = "probe", stage = "observe" }
            function Probe:init() perigee.timer.every(1, function() end) end
            function Probe:on_log() perigee.timer.every(1, function() end):cancel() end
            function Probe:on_request() perigee.timer.after(1, function() end) end
            return Probe
        ]] } })
        gw:get "/"
        gw:advance(1)
        assert.is_nil(left())
        gw = handled(function()
            perigee.timer.after(5, function() end)
            return done()
        end)
        gw:get "/"
        gw:drop_tasks()
        assert.is_nil(left())
    end)

    it("for timers of an init() after a reload neither", function()
        local files = { ["policies/probe/init.lua"] = [[
            local perigee = require "perigee"
            local Probe = perigee.policy { name = "probe", stage = "observe" }
            function Probe:init() perigee.timer.every(1, function() end) end
            return Probe
        ]] }
        local gw = test.gateway({ policies = { "probe" } }, { files = files })
        gw:get "/"
        assert.is_true(gw:reload({ policies = { "probe" } }, { files = files }))
        gw:get "/"
        assert.is_nil(left())
    end)

    it("for a fetch in the background that a fake has not answered", function()
        local gw = test.gateway {
            hosts = { ["slow.internal"] = test.fail.hang },
            routes = { { handler = function()
                perigee.timer.after(0, function() perigee.http.fetch "http://slow.internal/late" end)
                return done()
            end } },
        }
        gw:get "/"
        assert_left "fake upstream 'slow.internal' has not answered GET /late, and no client waits for it"
    end)

    it("for bytes that a test did not read from its own connection", function()
        local gw = test.gateway {}
        gw:raw "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
        assert_left("bytes on a raw connection (" .. above(1) .. ") were not read: \"HTTP/1.1 200 OK")
    end)

    it("for answers that nobody asked for", function()
        local gw = test.gateway { upstreams = { api = test.answers { "one", "two" } } }
        gw:get "/"
        assert_left "fake upstream 'api' has 2 answers, and was asked 1 times"
    end)

    it("for calls that were expected and not made", function()
        local gw = test.gateway {}
        gw.upstreams.api:expect { method = "POST", path = "/pay", headers = { ["x-a"] = "1" }, body = { n = 1 } }
        gw:get "/pay?now"
        local message, place = left(), above(2)
        local asked = "was asked POST /pay, x-a: 1, body {\"n\":1} 0 times, not at least once"
        assert.truthy(message:find(asked, 1, true), message)
        assert.truthy(message:find("(" .. place .. "); it was asked\n    GET /pay?now", 1, true), message)
    end)

    it("for calls that were made too often, however the test forgets them", function()
        local gw = test.gateway {}
        gw.upstreams.api:expect { path = "/", times = 1 }
        gw.upstreams.api:expect { path = "/never", times = 0 }
        gw:get "/"
        gw.upstreams.api:reset()
        gw:get "/"
        assert_left "was asked any method / 2 times, not once"
    end)

    it("not when all that was expected came", function()
        local gw = test.gateway {}
        gw.upstreams.api:expect { method = "POST", path = "/pay", query = "a=b", body = { n = { 1, 2 } }, times = 1 }
        gw.upstreams.api:expect { body = "", headers = { ["X-One"] = "1" } }
        gw:post("/pay?a=b", { body = { n = { 1, 2 } } })
        gw:get("/", { headers = { ["x-one"] = "1" } })
        assert.is_nil(left())
    end)

    it("with what was logged, where that may say why", function()
        local gw = handled(function(req)
            perigee.log.info "quiet"
            perigee.timer.after(1, function() return req.path end)
            return done()
        end)
        gw:get "/"
        gw:send { path = "/" }
        gw:advance(2)
        local message = left()
        assert.truthy(message:find("\nThe log:\nwarn task failed: ", 1, true), message)
        assert.is_nil(message:find("quiet", 1, true))
    end)

    it("with the name and the place of the test", function()
        test.gateway({ upstreams = { api = test.fail.hang } }):send {}
        local message = left()
        local name = "a test fails at its end with the name and the place of the test"
        assert.equal(above(4) .. ": left behind by '" .. name .. "':\n", message:match "^[^\n]*\n")
    end)
end)
