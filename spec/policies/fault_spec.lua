-- SPDX-License-Identifier: MIT

local perigee = require "perigee"
local test = require "perigee.test"

local function gateway(settings)
    settings[1] = "fault"
    return test.gateway { policies = { settings } }
end

-- Seconds that a request takes, and its response.
local function ask(gw, headers)
    local began = gw:now()
    local res = gw:get("/", { headers = headers })
    return gw:now() - began, res
end

-- Statuses of `count` requests, as text.
local function statuses(gw, count)
    local list = {}
    for i = 1, count do
        list[i] = gw:get("/").status
    end
    return table.concat(list, " ")
end

describe("fault", function()
    it("answers in the place of the upstream", function()
        local gw = gateway { abort = { status = 503 } }
        local res = gw:get "/"
        assert.response(res).is.problem(503)
        assert.equal("urn:perigee:fault", res:json().type)
        assert.equal(0, #gw.upstreams.api.requests)
    end)

    it("delays and then asks the upstream", function()
        local gw = gateway { delay = { time = "2s" } }
        local seconds, res = ask(gw)
        assert.near(2, seconds, 0.01)
        assert.response(res).has.status(200)
    end)

    it("delays and then answers", function()
        local seconds, res = ask(gateway { delay = { time = "500ms" }, abort = { status = 500 } })
        assert.near(0.5, seconds, 0.01)
        assert.response(res).is.problem(500)
    end)

    it("delays nobody else meanwhile", function()
        local gw = gateway { delay = { time = "5s" }, header = "x-slow" }
        local slow = gw:send { path = "/", headers = { ["x-slow"] = "1" } }
        assert.near(0, (ask(gw)), 0.01)
        assert.is_false(slow:done())
        assert.equal(200, slow:wait().status)
    end)

    it("touches only requests with the header, when there is one", function()
        local gw = gateway { abort = { status = 500 }, header = "X-Chaos" }
        assert.response(gw:get "/").has.status(200)
        assert.response(gw:get("/", { headers = { ["x-chaos"] = "" } })).has.status(500)
    end)

    it("touches nothing where its condition does not hold", function()
        local gw = gateway { abort = { status = 500 }, when = { path = "/pay/*" } }
        assert.response(gw:get "/").has.status(200)
        assert.response(gw:get "/pay/1").has.status(500)
    end)

    it("never happens at 0 percent", function()
        local gw = gateway { abort = { status = 500, percent = 0 }, delay = { time = "1s", percent = 0 } }
        local began = gw:now()
        for _ = 1, 100 do
            assert.equal(200, gw:get("/").status)
        end
        assert.near(0, gw:now() - began, 0.01)
    end)

    it("draws for each request, and for delay and abort apart", function()
        local gw = gateway { delay = { time = "1s", percent = 50 }, abort = { status = 500, percent = 30 } }
        local expected, got = {}, {}
        math.randomseed(11)
        for i = 1, 100 do
            local is_late = math.random() * 100 < 50
            expected[i] = (is_late and 1 or 0) .. " " .. (math.random() * 100 < 30 and 500 or 200)
        end
        math.randomseed(11)
        for i = 1, 100 do
            local seconds, res = ask(gw)
            got[i] = math.floor(seconds + 0.5) .. " " .. res.status
        end
        assert.same(expected, got)
    end)

    it("takes fractions of a percent", function()
        local gw, count = gateway { abort = { status = 500, percent = 1.5 } }, 0
        math.randomseed(3)
        for _ = 1, 1000 do
            count = count + (gw:get("/").status == 500 and 1 or 0)
        end
        assert.is_true(count >= 5 and count <= 30, count .. " of 1000")
    end)

    it("does only what it is told to", function()
        math.randomseed(4)
        local late, failing = gateway { delay = { time = "1ms" } }, gateway { abort = { status = 500 } }
        local began = failing:now()
        for _ = 1, 500 do
            assert.equal(200, late:get("/").status)
            assert.equal(500, failing:get("/").status)
        end
        assert.near(0.5, failing:now() - began, 0.01)
    end)

    it("holds back one at a time, whether those before it waited to the end or left", function()
        local gw = gateway { delay = { time = "10s" }, max_active = 1 }
        for i = 1, 3 do
            local slow = gw:send { path = "/" }
            gw:advance(1)
            assert.near(0, (ask(gw)), 0.01)
            if i == 2 then
                slow:abort()
                gw:advance(0)
            else
                slow:wait()
            end
        end
    end)

    it("holds back no more requests than it may", function()
        local gw = gateway { delay = { time = "10s" }, max_active = 1 }
        local slow = gw:send { path = "/" }
        gw:advance(1)
        assert.near(0, (ask(gw)), 0.01)
        slow:wait()
        assert.near(10, (ask(gw)), 0.01)
    end)

    it("forgets clients that left while they were held back", function()
        local gw = gateway { delay = { time = "10s" }, max_active = 1 }
        for _ = 1, 3 do
            local gone = gw:send { path = "/" }
            gw:advance(1)
            gone:abort()
            gw:advance(0)
        end
        assert.near(10, (ask(gw)), 0.01)
    end)

    it("counts what it did", function()
        local gw = gateway { delay = { time = "1s" }, abort = { status = 500 } }
        gw:get "/"
        local metrics = gw:metrics()
        assert.equal(1, metrics['faults_injected_total{route="test",kind="delay"}'])
        assert.equal(1, metrics['faults_injected_total{route="test",kind="abort"}'])
    end)

    it("says in the access log what it did, and nothing of what it let pass", function()
        local function flags(settings, headers)
            local gw = gateway(settings)
            gw:get("/", { headers = headers })
            return gw:access_log()[1].flags
        end
        local delay, abort = { time = "1s" }, { status = 500 }
        assert.equal("DI", flags { delay = delay })
        assert.equal("FI", flags { abort = abort })
        assert.equal("DI,FI", flags { delay = delay, abort = abort })
        assert.is_nil(flags { delay = delay, abort = abort, header = "x-fault" })
        assert.is_nil(flags { delay = delay, abort = abort, dry_run = true })
    end)

    it("holds nobody back in a dry run, and counts and logs what it would have done", function()
        local gw = gateway { delay = { time = "3s" }, abort = { status = 500 }, max_active = 1, dry_run = true }
        for _ = 1, 2 do
            local seconds, res = ask(gw)
            assert.equal(0, seconds)
            assert.response(res).has.status(200)
        end
        local metrics = gw:metrics()
        assert.equal(2, metrics['faults_injected_total{route="test",kind="delay"}'])
        assert.equal(2, metrics['faults_injected_total{route="test",kind="abort"}'])
        assert.equal("policy 'fault' on route 'test' would have set req.flags and answered 500 in on_request (dry run)",
            gw:log()[1].message)
    end)

    it("says so of a client that left meanwhile", function()
        local gw = gateway { delay = { time = "10s" } }
        local gone = gw:send { path = "/" }
        gw:advance(1)
        gone:abort()
        assert.equal("DC,DI", gw:access_log()[1].flags)
    end)

    it("can be switched on and off by a reload, and by shared memory", function()
        local switch = perigee.shared "chaos"
        local gw = gateway { abort = { status = 500 }, when = function() return switch:get "on" == true end }
        assert.equal("200", statuses(gw, 1))
        switch:set("on", true)
        assert.equal("500", statuses(gw, 1))
        switch:delete "on"
        assert.equal("200", statuses(gw, 1))
        assert.is_true(gw:reload { policies = { { "fault", abort = { status = 502 } } } })
        assert.equal("502", statuses(gw, 1))
    end)

    for what, settings in pairs {
        ["without a fault"] = {}, ["with a status that is no error"] = { abort = { status = 200 } },
        ["without a status"] = { abort = { percent = 1 } }, ["without a time"] = { delay = { percent = 1 } },
        ["with more than all"] = { abort = { status = 500, percent = 101 } },
        ["with less than none"] = { abort = { status = 500, percent = -1 } },
        ["with a header that is no name"] = { abort = { status = 500 }, header = "a b" },
        ["with a delay of an hour"] = { delay = { time = "1h" } },
    } do
        it("is refused " .. what, function()
            settings[1] = "fault"
            assert.equal(1, #test.errors { policies = { settings } })
        end)
    end
end)
