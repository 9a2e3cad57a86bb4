-- SPDX-License-Identifier: MIT
local config = require "perigee._core.config"

local function compile(upstream, options)
    options = options or {}
    upstream.endpoints = upstream.endpoints or { "a:1", "b:1" }
    local value = {
        zone = options.zone, upstreams = { u = upstream },
        routes = { { upstream = options.target or "u", labels = options.labels, reply = options.reply } },
    }
    if options.reply then
        value.routes[1].upstream = nil
    end
    return config.compile(value, { file = "gateway.lua", load_policy = function() return nil end })
end

local function accept(upstream, options)
    local result, errors = compile(upstream, options)
    assert.are.same({}, errors)
    return result.normalized.upstreams[1], result
end

local function assert_refused(upstream, expected, options)
    local result, errors = compile(upstream, options)
    assert.is_nil(result)
    assert.are.equal(1, #errors, "number of errors")
    local message = errors[1].path .. ": " .. errors[1].message
    assert.truthy(message:find(expected, 1, true), message)
end

describe("the balance of an upstream", function()
    it("is written as a name or with its settings", function()
        for written, expected in pairs {
            [{ "round_robin" }] = { type = "round_robin" },
            [{ "ewma", decay = "5s", default_rtt = "50ms" }] = { type = "ewma", decay_ms = 5000, default_rtt_ms = 50 },
            [{ "ring_hash", by = "header:X-User", load_bound = 125, min_ring_size = 10, max_ring_size = 20 }] = {
                type = "ring_hash", by = { kind = "header", name = "x-user" }, load_bound = 125, ring_min = 10,
                ring_max = 20,
            },
            [{ "maglev", by = "cookie:Id", table_size = 251 }] = {
                type = "maglev", by = { kind = "cookie", name = "Id" }, table_size = 251,
            },
            [{ "maglev", by = "client" }] = { type = "maglev", by = { kind = "client" } },
            [{ "sticky", cookie = "e", ttl = "90m", fallback = "ewma" }] = {
                type = "ewma", cookie = "e", ttl_s = 5400,
            },
        } do
            local upstream = accept { balance = written }
            assert.are.equal(written[1], upstream.balance)
            assert.are.same(expected, upstream.balancer)
        end
        assert.are.same({ type = "maglev", by = { kind = "path" } }, accept({
            balance = { type = "maglev", by = "path" } }).balancer)
    end)

    it("may be a function, or have one for its key: Lua keeps them", function()
        local function choose() return 1 end
        local upstream, result = accept { balance = choose }
        assert.are.same({ "lua", { type = "round_robin" } }, { upstream.balance, upstream.balancer })
        assert.are.equal(choose, result.chains[1].balancers.u.choose)
        assert.are.equal(1, result.normalized.routes[1].hooks)
        upstream, result = accept { balance = { "maglev", by = choose } }
        assert.are.same({ type = "maglev" }, upstream.balancer)
        assert.are.equal(choose, result.chains[1].balancers.u.by)
        assert.is_nil(select(2, accept { balance = "ewma" }).chains[1].balancers)
    end)

    it("tells of a secret only what clients see anyway", function()
        local secret = "0123456789abcdef"
        local endpoints = accept({ balance = { "sticky", cookie = "e", secret = secret } }).endpoints
        assert.are.equal(32, #endpoints[1].token)
        assert.are_not.equal(endpoints[1].token, endpoints[2].token)
        assert.are.same(endpoints, accept({ balance = { "sticky", cookie = "e", secret = secret } }).endpoints)
        assert.is_nil(require("perigee.json").encode(accept({
            balance = { "sticky", cookie = "e", secret = secret } })):find(secret, 1, true))
        assert_refused({ balance = { "sticky", cookie = "e", secret = "short" } }, "upstreams.u.balance.secret")
    end)

    it("is refused where settings do not fit together", function()
        assert_refused({ balance = "fair" }, "upstreams.u.balance.type: expected \"round_robin\"")
        assert_refused({ balance = 7 }, "upstreams.u.balance")
        assert_refused({ balance = { "ewma", cookie = "x" } },
            "upstreams.u.balance.cookie: is a setting of sticky, not of ewma")
        assert_refused({ balance = "maglev" }, "maglev needs the part of a request that decides")
        assert_refused({ balance = { "ring_hash", by = "query:x" } }, "upstreams.u.balance.by")
        assert_refused({ balance = { "ring_hash", by = "path", min_ring_size = 9, max_ring_size = 8 } },
            "min_ring_size: is more than 'max_ring_size'")
        assert_refused({ balance = { "ring_hash", by = "path", load_bound = 99 } }, "must be at least 100")
        assert_refused({ balance = { "maglev", by = "path", table_size = 9 } }, "3 divides it")
        assert_refused({ balance = { "maglev", by = "path" }, slow_start = "1s" }, "has no effect with maglev")
    end)
end)

describe("endpoints", function()
    it("have zone, priority and labels", function()
        local upstream = accept({
            endpoints = { { "a:1", zone = "z", priority = 15, labels = { v = "1" } }, "b:1" },
            slow_start = "30s", panic_threshold = "12.5%",
        }, { zone = "here" })
        assert.are.same({ address = "a:1", weight = 1, zone = "z", priority = 15, labels = { v = "1" } },
            upstream.endpoints[1])
        assert.are.same({ address = "b:1", weight = 1 }, upstream.endpoints[2])
        assert.are.same({ 30000, 12.5, "here" }, { upstream.slow_start_ms, upstream.panic_threshold, upstream.zone })
        assert.are.equal("own", accept({ zone = "own" }, { zone = "here" }).zone)
    end)

    it("are within their bounds", function()
        assert_refused({ endpoints = { { "a:1", priority = 16 } } }, "upstreams.u.endpoints[1].priority")
        assert_refused({ endpoints = { { "a:1", labels = { v = 2 } } } }, "upstreams.u.endpoints[1].labels.v")
        local endpoints = {}
        for i = 1, 33 do
            endpoints[i] = { "a:" .. i, zone = "z" .. i }
        end
        assert_refused({ endpoints = endpoints }, "upstreams.u.endpoints: has endpoints in 33 zones; at most 32")
    end)
end)

describe("labels of a route", function()
    local endpoints = { { "a:1", labels = { v = "1", x = "y" } }, "b:1" }

    it("are those of an endpoint", function()
        local _, result = accept({ endpoints = endpoints }, { labels = { v = "1" } })
        assert.are.same({ v = "1" }, result.normalized.routes[1].labels)
        assert_refused({ endpoints = endpoints }, "no endpoint of the upstream 'u' has these labels", {
            labels = { v = "1", x = "z" } })
        assert_refused({ endpoints = endpoints }, "no endpoint of the upstream 'u' has these labels", {
            labels = { v = "2" }, target = { { "u" } } })
    end)

    it("need an upstream", function()
        assert_refused({}, "but the route has no 'upstream'", { labels = { v = "1" }, reply = "ok" })
    end)
end)
