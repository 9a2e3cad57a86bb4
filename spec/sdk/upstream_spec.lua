-- SPDX-License-Identifier: MIT
--
-- perigee.upstream: endpoints that scripts set and read.

local perigee = require "perigee"
local test = require "perigee.test"

local function named(text)
    return function() return text end
end

local HOSTS = { ["10.0.0.1"] = named "one", ["10.0.0.2"] = named "two", ["10.0.0.3"] = named "three" }

-- A gateway with an upstream whose endpoints the test sets through a handler: `set(list)` gives what set_endpoints gives.
local function world(settings, options)
    local list, results
    local conf = {
        hosts = HOSTS,
        upstreams = {
            orders = settings or { dynamic = {} },
            fixed = { endpoints = { { "10.0.0.1:80", zone = "z", labels = { version = "v1" } }, "unix:/run/a" } },
        },
        policies = options and { "probe" },
        routes = {
            { match = { path = "/set" }, handler = function()
                results = { pcall(function() return perigee.upstream("orders"):set_endpoints(list) end) }
                return perigee.reply(204)
            end },
            { match = { path = "/*" }, upstream = "orders" },
        },
    }
    local gw = test.gateway(conf, options)
    local function set(endpoints)
        list = endpoints
        gw:get "/set"
        return unpack(results, 1, 3)
    end
    return gw, set, conf
end

-- What `ask` gives inside the gateway.
local function inside(gw_settings, ask)
    local results
    local gw = test.gateway {
        upstreams = gw_settings,
        routes = { { handler = function()
            results = { pcall(ask) }
            return perigee.reply(204)
        end } },
    }
    gw:get "/"
    return results[1], results[2]
end

describe("an upstream that a policy chooses", function()
    it("must be one that there is: the request fails closed", function()
        local gw = test.gateway({ policies = { "choose" } }, { files = { ["policies/choose/init.lua"] = [[
            local Choose = require("perigee").policy { name = "choose", stage = "traffic" }
            function Choose:on_upstream(req, attempt)
                attempt.upstream = req.headers["x-to"]
            end
            return Choose]] } })
        assert.response(gw:get("/", { headers = { ["x-to"] = "api" } })).has.status(200)
        assert.response(gw:get("/", { headers = { ["x-to"] = "nowhere" } })).is.problem(503)
    end)
end)

describe("endpoints that a script sets", function()
    it("are asked by the next request", function()
        local gw, set = world()
        assert.response(gw:get "/").is.problem(503)
        assert.same({ true, true }, { set { "10.0.0.1:80" } })
        assert.equal("one", gw:get("/").body)
        set { { address = "10.0.0.2:80", weight = 2, priority = 3, zone = "z", labels = { a = "b" } } }
        assert.equal("two", gw:get("/").body)
        set { { "10.0.0.3:80", weight = 9, labels = {} } }
        assert.equal("three", gw:get("/").body)
        set {}
        assert.response(gw:get "/").is.problem(503)
    end)

    it("are those of the configuration until then", function()
        local gw, set = world { dynamic = { "10.0.0.2:80" } }
        assert.equal("two", gw:get("/").body)
        set { "10.0.0.1:80" }
        assert.equal("one", gw:get("/").body)
    end)

    it("share the requests by their weights", function()
        local gw, set = world()
        set { { "10.0.0.1:80", weight = 3 }, "10.0.0.2:80" }
        local counts = { one = 0, two = 0 }
        for _ = 1, 8 do
            local body = gw:get("/").body
            counts[body] = counts[body] + 1
        end
        assert.same({ one = 6, two = 2 }, counts)
    end)

    it("stay through a reload", function()
        local gw, set, conf = world()
        set { "10.0.0.1:80" }
        gw:reload(conf)
        assert.equal("one", gw:get("/").body)
    end)

    it("can be set from init and from timers", function()
        local gw = world(nil, { files = { ["policies/probe/init.lua"] = [[
            local perigee = require "perigee"
            local Probe = perigee.policy { name = "probe", stage = "traffic", schema = {} }
            function Probe:init()
                local orders = perigee.upstream "orders"
                assert(orders:set_endpoints { "10.0.0.1:80" })
                perigee.timer.every(10, function() assert(orders:set_endpoints { "10.0.0.2:80" }) end)
            end
            return Probe ]] } })
        assert.equal("one", gw:get("/").body)
        gw:advance(10)
        assert.equal("two", gw:get("/").body)
    end)

    it("can be set by a hook of the request that then goes there", function()
        local gw = test.gateway({
            hosts = HOSTS, upstreams = { orders = { dynamic = {} } }, policies = { "probe" },
        }, { files = { ["policies/probe/init.lua"] = [[
            local perigee = require "perigee"
            local Probe = perigee.policy { name = "probe", stage = "traffic", schema = {} }
            function Probe:on_request(req)
                assert(perigee.upstream "orders":set_endpoints { req.headers["x-to"] })
            end
            function Probe:on_upstream(req)
                assert(perigee.upstream "orders":set_endpoints { "10.0.0.3:80" })
            end
            return Probe ]] } })
        assert.equal("one", gw:get("/", { headers = { ["x-to"] = "10.0.0.1:80" } }).body)
        assert.equal("two", gw:get("/", { headers = { ["x-to"] = "10.0.0.2:80" } }).body)
    end)
end)

describe("a list that cannot be used", function()
    it("changes nothing and says which endpoint is wrong", function()
        local gw, set = world()
        set { "10.0.0.1:80" }
        local labels, many = { a = ("x"):rep(129) }, {}
        for i = 1, 1001 do
            many[i] = "10.0.0.1:" .. i
        end
        for message, list in pairs {
            ['endpoint 1: expected "host:port"'] = { "10.0.0.1" },
            ['endpoint 2: expected "host:port"'] = { "10.0.0.1:80", 7 },
            ["endpoint 2, weight: expected a whole number, 1 to 65535"] = {
                "10.0.0.2:80", { "10.0.0.1:80", weight = 0 },
            },
            ["endpoint 1, priority: expected a whole number, 0 to 15"] = { { "10.0.0.1:80", priority = 16 } },
            ["endpoint 1, labels: names and values"] = { { "10.0.0.1:80", labels = labels } },
            ["endpoint 1: has a member that is none of"] = { { "10.0.0.1:80", wieght = 1 } },
            ["10.0.0.1:80 is there twice"] = { "10.0.0.1:80", { address = "10.0.0.1:80" } },
            ["expected a list of at most 1000 endpoints"] = many,
            ["expected a list of endpoints, without names and gaps"] = { address = "10.0.0.1:80" },
            ["without names and gaps"] = { "10.0.0.1:80", [3] = "10.0.0.2:80" },
        } do
            local ok, result, problem = set(list)
            assert.same({ true, nil }, { ok, result })
            assert.truthy(problem:find(message, 1, true), problem)
        end
        assert.equal("one", gw:get("/").body)
    end)

    it("is one that other workers would not find room for", function()
        local _, set = world()
        local list = {}
        for i = 1, 700 do
            list[i] = { "10.0.0.1:" .. i, labels = { note = ("x"):rep(100) } }
        end
        local _, result, problem = set(list)
        assert.is_nil(result)
        assert.truthy(problem:find("at most 65536 are possible", 1, true), problem)
    end)

    it("is a mistake of the script when it is no table", function()
        local _, set = world()
        for message, list in pairs {
            ["expects a list of endpoints, not a string"] = "10.0.0.1:80",
            ["expects a list of endpoints, not a boolean"] = true,
        } do
            local ok, problem = set(list)
            assert.is_false(ok)
            assert.truthy(problem:find(message, 1, true), problem)
        end
        local ok, problem = set(nil)
        assert.is_false(ok)
        assert.truthy(problem:find("not a nil", 1, true), problem)
    end)
end)

describe("upstreams", function()
    local UPSTREAMS = {
        fixed = {
            endpoints = { { "10.0.0.1:80", zone = "z", weight = 2, labels = { version = "v1" } }, "10.0.0.2:80" },
        },
        orders = { dynamic = {} },
    }

    it("tell their endpoints", function()
        local ok, list = inside(UPSTREAMS, function() return perigee.upstream("fixed"):endpoints() end)
        assert.is_true(ok, list)
        assert.same({
            { address = "10.0.0.1:80", zone = "z", weight = 2, labels = { version = "v1" } },
            { address = "10.0.0.2:80", weight = 1 },
        }, list)
        ok, list = inside(UPSTREAMS, function()
            local orders = perigee.upstream "orders"
            local before = orders:endpoints()
            assert(orders:set_endpoints { "b.internal:2", { "a.internal:1", priority = 1 } })
            return { before, orders:endpoints() }
        end)
        assert.is_true(ok, list)
        assert.same({ {}, {
            { address = "a.internal:1", weight = 1, priority = 1 }, { address = "b.internal:2", weight = 1 },
        } }, list)
    end)

    it("that are not dynamic, or not there, are a mistake of the script", function()
        for message, ask in pairs {
            ["the endpoints of the upstream 'fixed' are not a script's to set"] = function()
                return perigee.upstream("fixed"):set_endpoints {}
            end,
            ["there is no upstream 'nobody'"] = function() return perigee.upstream("nobody"):endpoints() end,
            ["there is no upstream 'none'"] = function() return perigee.upstream("none"):set_endpoints {} end,
            ["the name of an upstream is a string, not a number (7)"] = function() return perigee.upstream(7) end,
        } do
            local ok, problem = inside(UPSTREAMS, ask)
            assert.is_false(ok)
            assert.truthy(tostring(problem):find(message, 1, true), problem)
        end
    end)

    it("are there once the generation is, not while modules are loaded", function()
        local errors = test.errors({ policies = { "probe" } }, { files = { ["policies/probe/init.lua"] = [[
            local perigee = require "perigee"
            perigee.upstream "api":endpoints() ]] } })
        assert.truthy(errors[1].message:find("works in hooks, timers and init()", 1, true), errors[1].message)
    end)
end)

it("keeps the dictionary of the sets from scripts", function()
    assert.has_error(function() perigee.shared "perigee:endpoints" end,
        "shared dictionaries whose names begin with 'perigee:' are the runtime's own")
end)
