-- SPDX-License-Identifier: MIT

local shared = require "perigee.shared"
local test = require "perigee.test"

local WHERE = "counts.internal:6379"

-- A gateway with a quota by the header x-tenant; the settings may say otherwise.
local function gateway(settings)
    settings[1], settings.by = "quota", settings.by or "header:x-tenant"
    settings.limit, settings.period = settings.limit or 3, settings.period or "day"
    return test.gateway { policies = { settings } }
end

local function ask(gw, tenant, path)
    return gw:get(path or "/", { headers = { ["x-tenant"] = tenant or "acme" } })
end

-- Statuses of `count` requests, as text.
local function statuses(gw, count, tenant, path)
    local list = {}
    for i = 1, count do
        list[i] = ask(gw, tenant, path).status
    end
    return table.concat(list, " ")
end

local function about_redis(gw)
    local list = {}
    for _, line in ipairs(gw:log()) do
        if line.message:find("Redis", 1, true) then
            list[#list + 1] = line.message
        end
    end
    return list
end

describe("quota", function()
    it("lets through what may be used in a period, and refuses the rest", function()
        local gw = gateway { limit = 3 }
        assert.equal("200 200 200 429 429", statuses(gw, 5))
        assert.equal(3, #gw.upstreams.api.requests)
    end)

    it("begins again with the next day of UTC", function()
        local gw = gateway { limit = 2 }
        gw:set_time "2026-11-23T23:59:50Z"
        assert.equal("200 200 429", statuses(gw, 3))
        gw:advance(9.9)
        assert.equal("429", statuses(gw, 1))
        gw:advance(0.1)
        assert.equal("200 200 429", statuses(gw, 3))
    end)

    it("begins again with the next month, however long this one is", function()
        local gw = gateway { limit = 1, period = "month" }
        for _, last in ipairs { "2026-02-28", "2028-02-29", "2026-04-30", "2026-12-31" } do
            gw:set_time(last .. "T00:00:00Z")
            assert.equal("200 429", statuses(gw, 2))
            gw:advance(86399.9)
            assert.equal("429", statuses(gw, 1))
            gw:advance(0.1)
            assert.equal("200 429", statuses(gw, 2))
        end
    end)

    it("has periods of any length", function()
        local gw = gateway { limit = 1, period = "1h" }
        gw:set_time "2026-11-23T07:59:59Z"
        assert.equal("200 429", statuses(gw, 2))
        gw:advance(1)
        assert.equal("200 429", statuses(gw, 2))
        gw:advance(3599)
        assert.equal("429", statuses(gw, 1))
    end)

    it("goes back to the period that a clock is set back to", function()
        local gw = gateway { limit = 2 }
        gw:set_time "2026-11-23T12:00:00Z"
        assert.equal("200", statuses(gw, 1))
        gw:set_time "2026-11-24T12:00:00Z"
        assert.equal("200 200 429", statuses(gw, 3))
        gw:set_time "2026-11-23T13:00:00Z"
        assert.equal("200 429", statuses(gw, 2))
    end)

    it("counts each consumer for itself, and the others by address", function()
        local gw = test.gateway { policies = {
            { "key_auth", keys = { a = "ada", b = "bob" }, when = function(req)
                return req.headers["x-api-key"] ~= nil
            end },
            { "quota", limit = 1, period = "day" },
        } }
        local function get(key, from)
            return gw:request { path = "/", headers = { ["x-api-key"] = key }, client = from }.status
        end
        assert.same({ 200, 429, 200, 429 }, { get "a", get "a", get "b", get "b" })
        assert.same({ 200, 429, 200 }, { get(nil, "192.0.2.1"), get(nil, "192.0.2.1"), get(nil, "192.0.2.2") })
    end)

    it("counts keys of any length apart", function()
        local gw = gateway { limit = 1 }
        for length = 190, 205 do
            assert.equal("200 429", statuses(gw, 2, ("z"):rep(length)))
        end
        assert.equal("200 429", statuses(gw, 2, ("z"):rep(5000)))
    end)

    it("counts each use for itself", function()
        local gw = test.gateway { policies = {
            { "quota", limit = 2, period = "day", by = "route", name = "a" },
            { "quota", limit = 3, period = "month", by = "route", name = "b" },
        } }
        gw:set_time "2026-11-23T12:00:00Z"
        assert.equal("200 200 429", statuses(gw, 3))
        gw:advance(86400)
        assert.equal("200 429", statuses(gw, 2))
    end)

    describe("with a cost", function()
        it("uses so much with each request, and nothing with a refused one", function()
            local gw = gateway { limit = 10, cost = 4 }
            assert.equal("200 200 429 429", statuses(gw, 4))
            assert.equal('"quota";r=2', ask(gw).headers.ratelimit:match "^[^;]+;r=%d+")
        end)

        it("asks a function", function()
            local gw = gateway { limit = 10, cost = function(req) return tonumber(req.query:get "n") end }
            assert.equal("200", statuses(gw, 1, "a", "/?n=7"))
            assert.equal("429", statuses(gw, 1, "a", "/?n=4"))
            assert.equal("200 200", statuses(gw, 2, "a", "/?n=0"))
            assert.equal("200", statuses(gw, 1, "a", "/?n=3"))
            assert.equal("429", statuses(gw, 1, "a", "/?n=1"))
            assert.equal("200", statuses(gw, 1, "a", "/?n=0"))
        end)

        it("fails closed when the function is wrong", function()
            for _, cost in ipairs {
                function() return "much" end, function() return -1 end, function() return 0.5 end,
                function() return 0 / 0 end, function() return math.huge end, function() return nil end,
                function() return 1e9 + 1 end,
            } do
                local gw = gateway { cost = cost, limit = 1e12 }
                assert.equal("503", statuses(gw, 1))
                local log = gw:log()
                assert.matches("'cost' returned ", log[#log].message)
            end
            assert.equal("200", statuses(gateway { cost = function() return 1e9 end, limit = 1e12 }, 1))
        end)
    end)

    describe("tells the client", function()
        it("what is left and when the period is over", function()
            local gw = gateway { limit = 2, period = "month" }
            gw:set_time "2026-11-30T23:00:00.5Z"
            assert.response(ask(gw)).has.headers {
                ["ratelimit-policy"] = '"quota";q=2;w=2592000', ratelimit = '"quota";r=1;t=3600',
            }
            assert.response(ask(gw)).has.header("ratelimit", '"quota";r=0;t=3600')
            local res = ask(gw)
            assert.response(res).is.problem(429)
            assert.response(res).has.headers {
                ["ratelimit-policy"] = '"quota";q=2;w=2592000', ratelimit = '"quota";r=0;t=3600',
                ["retry-after"] = "3600",
            }
            assert.equal("The quota is used up until 2026-12-01T00:00:00Z.", res:json().detail)
            gw:advance(tonumber(res.headers["retry-after"]))
            assert.response(ask(gw)).has.headers {
                ["ratelimit-policy"] = '"quota";q=2;w=2678400', ratelimit = '"quota";r=1;t=2678400',
            }
        end)

        it("large numbers as digits", function()
            local gw = gateway { limit = 1e12, period = "month" }
            assert.equal('"quota";r=999999999999', ask(gw).headers.ratelimit:match "^[^;]+;r=%d+")
        end)

        it("in X-RateLimit headers", function()
            local gw = gateway { limit = 2, headers = "x" }
            gw:set_time "2026-11-23T23:59:00Z"
            assert.response(ask(gw)).has.headers {
                ["x-ratelimit-limit"] = "2", ["x-ratelimit-remaining"] = "1", ["x-ratelimit-reset"] = "60",
            }
        end)

        it("nothing but when to come back", function()
            local gw = gateway { limit = 1, headers = "off" }
            gw:set_time "2026-11-23T23:59:00Z"
            assert.is_nil(ask(gw).headers.ratelimit)
            local headers = ask(gw).headers
            assert.is_nil(headers.ratelimit)
            assert.equal("60", headers["retry-after"])
        end)
    end)

    it("goes on counting through a reload, and takes another limit at once", function()
        local gw = gateway { limit = 3 }
        assert.equal("200 200", statuses(gw, 2))
        local function reload(limit, period)
            local use = { "quota", limit = limit, period = period or "day", by = "header:x-tenant" }
            assert.is_true(gw:reload { policies = { use } })
        end
        reload(3)
        assert.equal("200 429", statuses(gw, 2))
        reload(5)
        assert.equal("200 200 429", statuses(gw, 3))
        reload(1)
        assert.equal('"quota";r=0', ask(gw).headers.ratelimit:match "^[^;]+;r=%d+")
        reload(1, "month")
        assert.equal("200 429", statuses(gw, 2))
    end)

    it("is one count for all workers", function()
        local a, b = gateway { limit = 3 }, gateway { limit = 3 }
        assert.equal("200 200", statuses(a, 2))
        assert.equal("200 429", statuses(b, 2))
    end)

    it("keeps one number per key, which goes with its period", function()
        local gw = gateway {}
        gw:set_time "2026-11-23T23:59:00Z"
        for i = 1, 5 do
            statuses(gw, 2, "t" .. i)
        end
        assert.equal(5, #shared "quota":keys())
        gw:advance(60)
        assert.equal(0, #shared "quota":keys())
    end)

    it("fails closed when the count cannot be had", function()
        local gw = gateway {}
        statuses(gw, 1)
        assert.is_true(shared "quota":set(shared "quota":keys()[1], "no number"))
        assert.equal("503", statuses(gw, 1))
    end)

    describe("with Redis", function()
        local function remote(settings)
            settings = settings or {}
            settings.redis = settings.redis or WHERE
            return gateway(settings)
        end

        it("is one count for all gateways", function()
            local a, b = remote(), remote()
            b:redis(WHERE, { share = a:redis(WHERE) })
            assert.equal("200 200", statuses(a, 2))
            assert.equal("200 429", statuses(b, 2))
            assert.equal("429", statuses(a, 1))
            assert.equal("200", statuses(a, 1, "globex"))
        end)

        it("keeps a number under a key that names the period, until a minute after it", function()
            local gw = remote { period = "month", cost = 2, limit = 4 }
            local server = gw:redis(WHERE)
            gw:set_time "2026-11-30T23:59:00Z"
            statuses(gw, 3)
            local key = server.commands[#server.commands][4]
            assert.equal("perigee:quota:2026-11:", key:sub(1, 22))
            assert.equal("4", server:call("GET", key))
            assert.equal(120000, server:call("PTTL", key))
            gw:advance(60)
            assert.equal("200 200 429", statuses(gw, 3))
            assert.equal("perigee:quota:2026-12:", server.commands[#server.commands][4]:sub(1, 22))
        end)

        it("goes on from what Redis said last while it is away, and says so once", function()
            local gw = remote { limit = 3 }
            local server = gw:redis(WHERE)
            statuses(gw, 3, "used up")
            statuses(gw, 1)
            server:stop()
            assert.equal("429", statuses(gw, 1, "used up"))
            assert.equal("200 200 429", statuses(gw, 3))
            assert.equal(4, gw:metrics()['quota_without_redis_total{limit="quota"}'])
            server:start()
            gw:advance "3s"
            assert.equal("429", statuses(gw, 1)) -- tries, and is counted here once more
            assert.equal("200 200 429", statuses(gw, 3))
            assert.same({ "quota: Redis is away: requests are counted on this machine limit=\"quota\" "
                .. 'reason="Redis cannot be reached"', 'quota: Redis is back limit="quota"' }, about_redis(gw))
        end)

        it("lets all through while it is away, when that is wanted", function()
            local gw = remote { limit = 1, on_unavailable = "allow" }
            local server = gw:redis(WHERE)
            assert.equal("200 429", statuses(gw, 2))
            server:stop()
            local res = ask(gw)
            assert.response(res).has.status(200)
            assert.is_nil(res.headers.ratelimit)
            assert.equal("200 200", statuses(gw, 2))
            assert.truthy(about_redis(gw)[1]:find("requests are not counted", 1, true))
        end)

        it("refuses all while it is away, when that is wanted", function()
            local gw = remote { on_unavailable = "deny" }
            local server = gw:redis(WHERE)
            assert.equal("200", statuses(gw, 1))
            server:stop()
            local res = ask(gw)
            assert.response(res).is.problem(503)
            assert.response(res).has.header("retry-after", "1")
            assert.same({ nil, "RLSE" }, { gw:access_log()[1].flags, gw:access_log()[2].flags })
            assert.truthy(about_redis(gw)[1]:find("requests are refused", 1, true))
            server:start()
            gw:advance "3s"
            ask(gw)
            assert.equal("200", statuses(gw, 1))
        end)

        it("does without it when it answers nonsense", function()
            local gw = remote { limit = 2 }
            local server = gw:redis(WHERE)
            statuses(gw, 1)
            server:call("SET", server.commands[#server.commands][4], "many")
            assert.equal("200 429", statuses(gw, 2))
            assert.equal(1, #about_redis(gw))
        end)

        for _, text in ipairs { "nan", "-nan" } do
            it("does without it when its count is " .. text, function()
                local gw = remote { limit = 2 }
                local server = gw:redis(WHERE)
                statuses(gw, 1)
                server:call("SET", server.commands[#server.commands][4], text)
                assert.equal("200 429", statuses(gw, 2))
                assert.truthy(about_redis(gw)[1]:find("the count is not a number", 1, true))
            end)
        end

        it("does without it when it answers with a number that is none", function()
            local gw = remote { limit = 2 }
            local server = gw:redis(WHERE)
            statuses(gw, 1)
            for _, text in ipairs { "nan", "inf", "-inf" } do
                for digest in pairs(server.scripts) do
                    server.scripts[digest] = ("return {1, '%s'}"):format(text)
                end
                shared "quota":flush()
                assert.equal("200 200 429", statuses(gw, 3), text)
            end
        end)
    end)

    it("counts what it refuses, by route and quota", function()
        local gw = gateway { limit = 2, name = "monthly" }
        local metric = 'quota_refused_total{route="test",limit="monthly"}'
        statuses(gw, 2)
        assert.is_nil(gw:metrics()[metric])
        statuses(gw, 3)
        assert.equal(3, gw:metrics()[metric])
    end)

    it("refuses nobody in a dry run", function()
        assert.equal("200 200", statuses(gateway { limit = 1, dry_run = true }, 2))
    end)

    it("says which periods there are", function()
        local errors = test.errors { policies = { { "quota", limit = 1, period = "year" } } }
        assert.equal("policies[1].period", errors[1].path)
        assert.truthy(errors[1].message:find('expected "day", "month" or a duration', 1, true))
    end)

    for what, settings in pairs {
        ["without a limit"] = { period = "day" }, ["without a period"] = { limit = 1 },
        ["with a limit of 0"] = { limit = 0, period = "day" },
        ["with an unknown period"] = { limit = 1, period = "year" },
        ["with a period of a moment"] = { limit = 1, period = "10ms" },
        ["by something unknown"] = { limit = 1, period = "day", by = "ip" },
        ["with a negative cost"] = { limit = 1, period = "day", cost = -1 },
        ["with half a cost"] = { limit = 1, period = "day", cost = 0.5 },
        ["with an unknown answer to trouble"] = { limit = 1, period = "day", on_unavailable = "panic" },
        ["with an address that is none"] = { limit = 1, period = "day", redis = "counts" },
    } do
        it("is refused " .. what, function()
            settings[1] = "quota"
            assert.equal(1, #test.errors { policies = { settings } })
        end)
    end
end)
