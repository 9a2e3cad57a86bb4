-- SPDX-License-Identifier: MIT

local lifecycle = require "spec.support.lifecycle"
local perigee = require "perigee"
local shared = require "perigee.shared"
local test = require "perigee.test"

local function slow()
    perigee.sleep(3)
    return "done"
end

local function gateway(settings, others, api)
    settings[1] = "concurrency_limit"
    local policies = others or {}
    table.insert(policies, settings)
    return test.gateway { policies = policies, upstreams = { api = api or slow } }
end

-- Statuses of requests that are sent at once, as text.
local function statuses(gw, list)
    local pending, got = {}, {}
    for i, options in ipairs(list) do
        pending[i] = gw:send(options)
        gw:advance(0)
    end
    for i, request in ipairs(pending) do
        got[i] = request:wait().status
    end
    return table.concat(got, " ")
end

local function times(count, options)
    local list = {}
    for i = 1, count do
        list[i] = options or { path = "/" }
    end
    return list
end

local function with(name, value)
    return { path = "/", headers = { [name] = value } }
end

local function keys()
    return #shared "concurrency_limit":keys()
end

describe("concurrency_limit", function()
    it("lets so many in at a time and refuses the next", function()
        local gw = gateway { limit = 2 }
        assert.equal("200 200 503", statuses(gw, times(3)))
        assert.equal("200 200 503 503", statuses(gw, times(4)))
        assert.equal(4, #gw.upstreams.api.requests)
        assert.equal(0, keys())
    end)

    it("lets any number in one after the other", function()
        local gw = gateway({ limit = 1 }, nil, function() return "ok" end)
        for _ = 1, 20 do
            assert.response(gw:get "/").has.status(200)
        end
    end)

    it("says when to come back, and counts", function()
        local gw = gateway { limit = 1 }
        local first = gw:send { path = "/" }
        gw:advance(1)
        local res = gw:get "/"
        assert.response(res).is.problem(503)
        assert.equal("1", res.headers["retry-after"])
        assert.equal(1, gw:metrics()['concurrency_limit_refused_total{route="test"}'])
        assert.equal("UO", gw:access_log()[1].flags)
        first:wait()
        assert.is_nil(gw:access_log()[2].flags)
    end)

    it("counts until the whole response has been sent", function()
        local gw = gateway({ limit = 1 }, nil, function() return test.stream { "a", 5, "b" } end)
        local first = gw:send { path = "/" }
        gw:advance(4)
        assert.response(gw:get "/").has.status(503)
        assert.equal("ab", first:wait().body)
        assert.response(gw:get "/").has.status(200)
    end)

    it("counts clients, headers and consumers apart, and who has none by address", function()
        local function from(ip)
            return { path = "/", client = ip }
        end
        assert.equal("200 503 200", statuses(gateway { limit = 1, by = "client" }, {
            from "192.0.2.1", from "192.0.2.1", from "192.0.2.2",
        }))
        local long = ("x"):rep(1000)
        assert.equal("200 503 200 200 503 200 503", statuses(gateway { limit = 1, by = "header:X-Tenant" }, {
            with("x-tenant", "a"), with("x-tenant", "a"), with("x-tenant", "b"), with("x-tenant", long),
            with("x-tenant", long), from "127.0.0.1", with("x-tenant", ""),
        }))
        local auth = { { "key_auth", keys = { a = "ada", b = "bob" } } }
        assert.equal("200 503 200", statuses(gateway({ limit = 1, by = "consumer" }, auth), {
            with("x-api-key", "a"), with("x-api-key", "a"), with("x-api-key", "b"),
        }))
        assert.equal(0, keys())
    end)

    it("counts each route for itself, and each use", function()
        local use = { "concurrency_limit", limit = 1 }
        local gw = test.gateway {
            policies = { use }, upstreams = { api = slow },
            routes = {
                { name = "a", match = { path = "/a" }, upstream = "api" },
                { name = "b", match = { path = "/b" }, upstream = "api" },
            },
        }
        assert.equal("200 200 503", statuses(gw, { { path = "/a" }, { path = "/b" }, { path = "/a" } }))
        gw = gateway({ limit = 1, by = "client" }, { { "concurrency_limit", limit = 2 } })
        assert.equal("200 503 200", statuses(gw, {
            { path = "/" }, { path = "/" }, { path = "/", client = "192.0.2.9" },
        }))
        assert.equal(0, keys())
    end)

    describe("with a queue", function()
        it("lets the next one in as soon as there is room", function()
            local gw = gateway { limit = 1, queue = 1, wait = "10s" }
            local began = gw:now()
            assert.equal("200 200 503", statuses(gw, times(3)))
            assert.near(6, gw:now() - began, 0.1)
            assert.equal(0, keys())
        end)

        it("refuses when it took too long", function()
            local gw = gateway { limit = 1, queue = 5, wait = "500ms" }
            local first = gw:send { path = "/" }
            gw:advance(0)
            local began = gw:now()
            assert.response(gw:get "/").is.problem(503)
            assert.near(0.5, gw:now() - began, 0.02)
            first:wait()
            assert.equal(0, keys())
        end)

        it("has as many places after requests that waited, whether they got in or not", function()
            local gw = gateway { limit = 1, queue = 1, wait = "500ms" }
            for _ = 1, 3 do
                local first = gw:send { path = "/" }
                gw:advance(0)
                assert.response(gw:get "/").has.status(503) -- waits in vain
                gw:advance(2.2)
                local second, third = gw:send { path = "/" }, gw:send { path = "/" }
                gw:advance(0)
                assert.is_false(second:done()) -- waits and gets in
                assert.is_true(third:done()) -- has no place to wait
                assert.equal("200 503", second:wait().status .. " " .. third:wait().status)
                assert.equal(200, first:wait().status)
                assert.equal(0, keys())
            end
        end)

        it("waits no longer than it may, however short that is", function()
            local gw = gateway { limit = 1, queue = 1, wait = "4ms" }
            local first = gw:send { path = "/" }
            gw:advance(0)
            local began = gw:now()
            assert.response(gw:get "/").has.status(503)
            assert.near(0.004, gw:now() - began, 0.003)
            first:wait()
        end)

        it("has the places back of clients that left, and no more", function()
            local gw = gateway { limit = 1, queue = 1, wait = "1m" }
            local first = gw:send { path = "/" }
            gw:advance(0)
            local gone = gw:send { path = "/" }
            gw:advance(0.1)
            gone:abort()
            gw:advance(0)
            assert.equal("200 503", statuses(gw, times(2)))
            first:wait()
        end)

        it("forgets clients that left while they waited", function()
            local gw = gateway { limit = 1, queue = 1, wait = "1m" }
            local first = gw:send { path = "/" }
            gw:advance(0)
            for _ = 1, 3 do
                local gone = gw:send { path = "/" }
                gw:advance(0.1)
                gone:abort()
                gw:advance(0)
            end
            assert.equal("200", statuses(gw, times(1)))
            assert.equal(200, first:wait().status)
            assert.equal(0, keys())
        end)
    end)

    it("fails closed when the count cannot be had, and says why", function()
        local gw = gateway { limit = 5 }
        local first = gw:send { path = "/" }
        gw:advance(0)
        local key = shared "concurrency_limit":keys()[1]
        assert.is_true(shared "concurrency_limit":set(key, "no number"))
        assert.response(gw:get "/").has.status(503)
        assert.matches("the limit cannot be checked", gw:log()[1].message)
        first:wait()
        shared "concurrency_limit":flush()
    end)

    it("is one count for all workers", function()
        local one, other = gateway { limit = 2 }, gateway { limit = 2 }
        local a, b = one:send { path = "/" }, other:send { path = "/" }
        one:advance(0)
        assert.response(one:get "/").has.status(503)
        assert.response(other:get "/").has.status(503)
        a:wait()
        b:wait()
        assert.response(one:get "/").has.status(200)
    end)

    it("counts on through a reload, and takes a new limit at once", function()
        local gw = gateway { limit = 2 }
        local list = { gw:send { path = "/" }, gw:send { path = "/" } }
        gw:advance(0)
        assert.is_true(gw:reload { policies = { { "concurrency_limit", limit = 3 } }, upstreams = { api = slow } })
        assert.equal("200 503", statuses(gw, times(2)))
        list[1]:wait()
        list[2]:wait()
        assert.equal(0, keys())
    end)

    it("forgets what a worker that was killed could not give back", function()
        local gw = gateway { limit = 1, lease = "10s" }
        local first = gw:send { path = "/" }
        gw:advance(0)
        local dict = shared "concurrency_limit"
        dict:incr(dict:keys()[1], 1) -- another worker's, which will never end
        first:wait()
        assert.response(gw:get "/").has.status(503)
        gw:advance(20)
        assert.response(gw:get "/").has.status(200)
        assert.equal(0, keys())
    end)

    it("counts requests that go on into the next slice of time, and gives nothing back twice", function()
        local gw = gateway({ limit = 1, lease = "10s" }, nil, function() return test.stream { "a", 45, "b" } end)
        local first = gw:send { path = "/" }
        gw:advance(9)
        assert.response(gw:get "/").has.status(503)
        gw:advance(15) -- it counts no more
        local second = gw:send { path = "/" }
        gw:advance(0)
        assert.response(gw:get "/").has.status(503)
        assert.equal("ab", first:wait().body)
        assert.equal("ab", second:wait().body)
        assert.equal(0, keys())
    end)

    it("fails closed when the count cannot be had", function()
        local gw = gateway({ limit = 5 }, nil, function() return test.stream { "a", 1, "b" } end)
        local first = gw:send { path = "/" }
        gw:advance(0)
        local dict = shared "concurrency_limit"
        dict:set(dict:keys()[1], "no number")
        assert.response(gw:get "/").is.problem(503)
        first:wait()
    end)

    it("refuses nobody in a dry run", function()
        assert.equal("200 200", statuses(gateway { limit = 1, dry_run = true }, times(2)))
        assert.equal(0, keys())
    end)

    it("makes nobody wait in a dry run: whoever finds no room counts as refused", function()
        local gw = gateway { limit = 1, queue = 5, wait = "10s", dry_run = true }
        local began = gw:now()
        assert.equal("200 200 200", statuses(gw, times(3)))
        assert.near(3, gw:now() - began, 0.01)
        assert.equal(2, gw:metrics()['concurrency_limit_refused_total{route="test"}'])
        assert.equal(0, keys())
    end)

    describe("gives its place back", function()
        local HOOKS = {
            "on_request", "on_request_body", "on_upstream", "on_response", "on_response_body", "on_log",
            "around, before next", "around, in next", "around, after next", "handler", "target", "when", "a task",
        }

        for ending in pairs(lifecycle.endings) do
            for _, hook in ipairs(HOOKS) do
                it("after " .. ending .. ", while " .. hook .. " waits", function()
                    local run = lifecycle.run {
                        hook = hook, wait = hook == "around, in next" and "none" or "sleep", ending = ending,
                        before = { "concurrency_limit", limit = 1, lease = "1h" },
                    }
                    assert.is_true(run.entered >= 1)
                    assert.equal(0, keys())
                    lifecycle.check(run)
                end)
            end
        end

        it("when a policy behind it answers or fails", function()
            for _, policy in ipairs { { "fault", abort = { status = 500 } }, { "key_auth", keys = { k = "ada" } } } do
                local gw = test.gateway { policies = { { "concurrency_limit", limit = 1 }, policy } }
                gw:get "/"
                assert.equal(0, keys())
            end
        end)
    end)

    for what, settings in pairs {
        ["without a limit"] = {}, ["with a limit of 0"] = { limit = 0 },
        ["by something unknown"] = { limit = 1, by = "ip" },
        ["by a header without a name"] = { limit = 1, by = "header:" },
        ["with a short lease"] = { limit = 1, lease = "1s" }, ["with a long wait"] = { limit = 1, wait = "1h" },
    } do
        it("is refused " .. what, function()
            settings[1] = "concurrency_limit"
            assert.equal(1, #test.errors { policies = { settings } })
        end)
    end
end)
