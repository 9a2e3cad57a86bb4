-- SPDX-License-Identifier: MIT
--
-- Functions of the configuration that say where a request goes: balancers, keys, and labels from a target function.

local test = require "perigee.test"

local function name(text)
    return function() return text end
end

-- A gateway whose upstream has the endpoints a, b and c.
local function gateway(settings, route, options)
    settings.endpoints = {
        name "a", { name "b", weight = 2, zone = "z", priority = 1, labels = { version = "v2" } }, name "c",
    }
    return test.gateway({
        upstreams = { api = settings, other = name "other" },
        routes = { route or { upstream = "api" } },
        policies = options and { "probe" },
    }, options)
end

-- Bodies of the answers to some requests, one after the other.
local function ask(gw, count, options)
    local bodies = {}
    for i = 1, count do
        bodies[i] = gw:get("/", options).body
    end
    return table.concat(bodies)
end

local function assert_fails(gw, message)
    assert.response(gw:get "/").is.problem(500)
    local text = ""
    for _, line in ipairs(gw:log()) do
        text = text .. line.message .. "\n"
    end
    assert.truthy(text:find(message, 1, true), text)
end

describe("a balancer in Lua", function()
    it("chooses by the number of an endpoint, from what it knows of all", function()
        local seen
        local gw = gateway { balance = function(req, endpoints)
            seen = endpoints
            return tonumber(req.headers["x-endpoint"])
        end }
        assert.equal("ccc", ask(gw, 3, { headers = { ["x-endpoint"] = "3" } }))
        assert.equal("b", ask(gw, 1, { headers = { ["x-endpoint"] = "2" } }))
        assert.equal(3, #seen)
        assert.equal("api-2.fake:80", seen[2].address)
        assert.same({ 2, "z", 1, "v2", 0, true }, {
            seen[2].weight, seen[2].zone, seen[2].priority, seen[2].labels.version, seen[2].active,
            seen[2].is_available,
        })
        assert.same({ 1, 0 }, { seen[1].weight, seen[1].priority })
        assert.is_nil(seen[1].zone)
        assert.is_nil(seen[1].labels.version)
    end)

    it("leaves the choice to the turns with nil", function()
        assert.equal("acac", ask(gateway { balance = function() return nil end }, 4)) -- b has a lower priority
    end)

    it("sees how many requests an endpoint has", function()
        local active = {}
        local gw = gateway { balance = function(_, endpoints)
            active[#active + 1] = endpoints[1].active
            return 1
        end }
        gw:get "/"
        gw:get "/"
        assert.same({ 0, 0 }, active)
    end)

    it("fails the request when it fails, or returns no endpoint", function()
        assert_fails(gateway { balance = function() error "no luck" end }, "no luck")
        assert_fails(gateway { balance = function() return 4 end },
            "it returned 4; it returns the number of an endpoint, 1 to 3")
        assert_fails(gateway { balance = function() return 1.5 end }, "it returned 1.5")
        assert_fails(gateway { balance = function() return "a" end }, "it returned a string")
    end)

    it("is asked again for every attempt of an around()", function()
        local calls = 0
        local gw = gateway({ balance = function()
            calls = calls + 1
            return calls
        end }, nil, { files = { ["policies/probe/init.lua"] = [[
            local Probe = require("perigee").policy { name = "probe", stage = "traffic", schema = {} }
            function Probe:around(req, next)
                next(req)
                next(req)
                return next(req)
            end
            return Probe
        ]] } })
        assert.equal("c", ask(gw, 1))
        assert.equal(3, calls)
    end)

    it("cannot change the labels that it is shown", function()
        assert_fails(gateway { balance = function(_, endpoints)
            endpoints[2].labels.version = "v3"
            return 2
        end }, "is read-only")
    end)

    it("is asked for the upstream that a split or a target function chose", function()
        local balance = function() return 3 end
        local split = { upstream = { { "api" }, { "other", weight = 0 } } }
        assert.equal("cc", ask(gateway({ balance = balance }, split), 2))
        assert.equal("cc", ask(gateway({ balance = balance }, { upstream = function() return "api" end }), 2))
        assert.equal("other", ask(gateway({ balance = balance }, { upstream = function() return "other" end }), 1))
    end)
end)

describe("a key by a function", function()
    it("places requests with the same text at the same endpoint", function()
        local gw = gateway { balance = { "maglev", by = function(req) return req.headers["x-a"] .. req.method end } }
        local homes = {}
        for i = 1, 20 do
            local options = { headers = { ["x-a"] = "k" .. i } }
            local home = ask(gw, 1, options)
            homes[home] = true
            assert.equal(home:rep(3), ask(gw, 3, options))
        end
        assert.is_true(homes.a and homes.c)
    end)

    it("may be nil, but nothing else", function()
        local gw = gateway { balance = { "ring_hash", by = function() return nil end } }
        assert.truthy(ask(gw, 40):find "a.*c")
        assert_fails(gateway { balance = { "ring_hash", by = function() return 7 end } }, "it returned a number")
    end)
end)

describe("labels of a target function", function()
    it("limit the choice", function()
        local gw = gateway({}, { upstream = function(req) return "api", { version = req.headers["x-version"] } end })
        assert.equal("bb", ask(gw, 2, { headers = { ["x-version"] = "v2" } }))
        assert.equal("acac", ask(gw, 4))
        assert.response(gw:get("/", { headers = { ["x-version"] = "v9" } })).is.problem(503)
    end)

    it("are a table of strings", function()
        assert_fails(gateway({}, { upstream = function() return "api", "v2" end }),
            "the labels are a string, not a table")
        assert_fails(gateway({}, { upstream = function() return "api", { version = 2 } end }),
            "names and values of labels are strings")
    end)
end)
