-- SPDX-License-Identifier: MIT

local perigee = require "perigee"
local shared = require "perigee.shared"
local test = require "perigee.test"

local function gateway(settings, around)
    local config = around or {}
    config.policies = config.policies or {}
    table.insert(config.policies, settings)
    return test.gateway(config)
end

-- Statuses of `count` requests, as text.
local function statuses(gw, count, path, options)
    local list = {}
    for i = 1, count do
        list[i] = gw:get(path or "/", options).status
    end
    return table.concat(list, " ")
end

local function from(name, value)
    return { headers = { [name] = value } }
end

-- Counts for a client behind one trusted hop.
local function hop()
    return { listeners = { { address = "127.0.0.1:8080", trusted_hops = 1 } } }
end

local function client(ip)
    return from("x-forwarded-for", ip)
end

describe("rate_limit", function()
    it("lets the limit in at once and refuses the next", function()
        local gw = gateway { "rate_limit", limit = 3, window = "1m" }
        assert.equal("200 200 200 429", statuses(gw, 4))
        assert.equal(3, #gw.upstreams.api.requests)
    end)

    it("lets one in again when its share of the window has passed", function()
        local gw = gateway { "rate_limit", limit = 3, window = "1m" }
        assert.equal("200 200 200 429", statuses(gw, 4))
        gw:advance(19)
        assert.equal("429", statuses(gw, 1))
        gw:advance(1)
        assert.equal("200 429", statuses(gw, 2))
        gw:advance(600)
        assert.equal("200 200 200 429", statuses(gw, 4))
    end)

    it("has a window of one second by default", function()
        local gw = gateway { "rate_limit", limit = 2 }
        assert.equal("200 200 429", statuses(gw, 3))
        gw:advance(1)
        assert.equal("200 200 429", statuses(gw, 3))
    end)

    it("lets a burst in that is larger than the limit", function()
        local gw = gateway { "rate_limit", limit = 2, window = "1m", burst = 5 }
        assert.equal("200 200 200 200 200 429", statuses(gw, 6))
    end)

    it("lets a burst in that is smaller than the limit", function()
        local gw = gateway { "rate_limit", limit = 100, window = "10s", burst = 1 }
        assert.equal("200 429", statuses(gw, 2))
        gw:advance(0.1)
        assert.equal("200 429", statuses(gw, 2))
    end)

    it("admits over time what the limit says, whatever the window", function()
        for _, window in ipairs { "100ms", "1s", "10s", "1m", "1h" } do
            local gw = gateway { "rate_limit", limit = 10, window = window, burst = 1, by = "route" }
            local seconds = ({ ["100ms"] = 0.1, ["1s"] = 1, ["10s"] = 10, ["1m"] = 60, ["1h"] = 3600 })[window]
            local admitted = 0
            for _ = 1, 40 do -- two windows in steps of a twentieth
                admitted = admitted + (gw:get("/").status == 200 and 1 or 0)
                gw:advance(seconds / 20)
            end
            assert.is_true(admitted >= 19 and admitted <= 21, window .. ": " .. admitted)
            gw:close()
            shared "rate_limit":flush()
        end
    end)

    it("answers with a problem document and says when to come back", function()
        local gw = gateway { "rate_limit", limit = 2, window = "1m" }
        statuses(gw, 2)
        local res = gw:get "/"
        assert.response(res).is.problem(429)
        assert.equal("30", res.headers["retry-after"])
        gw:advance(29.5)
        assert.equal("1", gw:get("/").headers["retry-after"])
    end)

    it("never says to come back too early", function()
        local gw = gateway { "rate_limit", limit = 2, window = "1m" }
        statuses(gw, 2)
        gw:advance(0.5)
        assert.equal("30", gw:get("/").headers["retry-after"])
    end)

    it("never says to come back at once", function()
        local gw = gateway { "rate_limit", limit = 100, burst = 1 }
        statuses(gw, 1)
        assert.equal("1", gw:get("/").headers["retry-after"])
    end)

    describe("counts", function()
        it("each client for itself", function()
            local gw = gateway({ "rate_limit", limit = 1, window = "1m" }, hop())
            assert.equal("200 429", statuses(gw, 2, "/", client "192.0.2.1"))
            assert.equal("200 429", statuses(gw, 2, "/", client "192.0.2.2"))
            assert.equal("200 429", statuses(gw, 2, "/", client "2001:db8::1"))
        end)

        it("a client alike, whatever address it claims to forward", function()
            local gw = gateway { "rate_limit", limit = 1, window = "1m" }
            assert.equal("200 429", statuses(gw, 2, "/", client "192.0.2.1"))
            assert.equal("429", statuses(gw, 1, "/", client "192.0.2.2"))
        end)

        it("each consumer for itself, and the others by address", function()
            local config = hop()
            config.policies = { { "key_auth", keys = { a = "ada", b = "bob" }, when = function(req)
                return req.headers["x-api-key"] ~= nil
            end } }
            local gw = gateway({ "rate_limit", limit = 1, window = "1m", by = "consumer" }, config)
            assert.equal("200 429", statuses(gw, 2, "/", from("x-api-key", "a")))
            assert.equal("200 429", statuses(gw, 2, "/", from("x-api-key", "b")))
            assert.equal("200 429", statuses(gw, 2, "/", client "192.0.2.1"))
            assert.equal("200 429", statuses(gw, 2, "/", client "192.0.2.2"))
        end)

        it("a consumer whose name is an address apart from that address", function()
            local config = hop()
            config.policies = { { "key_auth", keys = { k = "192.0.2.1" }, when = function(req)
                return req.headers["x-api-key"] ~= nil
            end } }
            local gw = gateway({ "rate_limit", limit = 1, window = "1m", by = "consumer" }, config)
            assert.equal("200 429", statuses(gw, 2, "/", from("x-api-key", "k")))
            assert.equal("200 429", statuses(gw, 2, "/", client "192.0.2.1"))
        end)

        it("by a header, and requests without it by address", function()
            local config = hop()
            local gw = gateway({ "rate_limit", limit = 1, window = "1m", by = "header:X-Tenant" }, config)
            assert.equal("200 429", statuses(gw, 2, "/", from("x-tenant", "a")))
            assert.equal("200 429", statuses(gw, 2, "/", from("x-tenant", "b")))
            assert.equal("200 429", statuses(gw, 2, "/", client "192.0.2.1"))
            local empty = client "192.0.2.1"
            empty.headers["x-tenant"] = ""
            assert.equal("429", statuses(gw, 1, "/", empty))
        end)

        it("by values of any length and any bytes", function()
            local gw = gateway { "rate_limit", limit = 1, window = "1m", by = "header:x-tenant" }
            local long = ("x"):rep(5000)
            assert.equal("200 429", statuses(gw, 2, "/", from("x-tenant", long)))
            assert.equal("200 429", statuses(gw, 2, "/", from("x-tenant", long .. "y")))
            assert.equal("200 429", statuses(gw, 2, "/", from("x-tenant", "caf\195\169 \1961")))
            for length = 235, 260 do -- around the longest key of shared memory
                assert.equal("200 429", statuses(gw, 2, "/", from("x-tenant", ("z"):rep(length))))
            end
        end)

        it("by what a function returns, and without it by address", function()
            local gw = gateway { "rate_limit", limit = 1, window = "1m", by = function(req)
                return req.query:get "tenant"
            end }
            assert.equal("200 429", statuses(gw, 2, "/?tenant=a"))
            assert.equal("200 429", statuses(gw, 2, "/?tenant=b"))
            assert.equal("200 429", statuses(gw, 2, "/"))
        end)

        it("by a number that a function returns", function()
            local gw = gateway { "rate_limit", limit = 1, window = "1m", by = function(req) return #req.path end }
            assert.equal("200 429", statuses(gw, 2, "/a"))
            assert.equal("200 429", statuses(gw, 2, "/aa"))
        end)

        it("nobody when the function is wrong: it fails closed", function()
            for _, by in ipairs {
                function() return {} end, function() error "broken" end, function() return true end,
            } do
                assert.equal("503", statuses(gateway { "rate_limit", limit = 1, by = by }, 1))
            end
            for what, value in pairs { table = {}, boolean = true } do
                local gw = gateway { "rate_limit", limit = 1, by = function() return value end }
                statuses(gw, 1)
                local log = gw:log()
                assert.matches("'by' returned a " .. what .. ", not a string", log[#log].message)
            end
        end)

        local function two_routes(by, settings)
            return test.gateway {
                policies = settings and { settings } or nil,
                upstreams = { api = function() return test.reply(200, "ok") end },
                routes = {
                    { name = "a", match = { path = "/a" }, upstream = "api",
                      policies = by and { { "rate_limit", limit = 1, window = "1m", by = by } } or nil },
                    { name = "b", match = { path = "/b" }, upstream = "api",
                      policies = by and { { "rate_limit", limit = 1, window = "1m", by = by } } or nil },
                },
            }
        end

        it("each route for itself", function()
            local gw = two_routes(nil, { "rate_limit", limit = 1, window = "1m", by = "route" })
            assert.equal("200 429", statuses(gw, 2, "/a"))
            assert.equal("200 429", statuses(gw, 2, "/b"))
        end)

        it("together what one use for all routes counts", function()
            local gw = two_routes(nil, { "rate_limit", limit = 1, window = "1m" })
            assert.equal("200", statuses(gw, 1, "/a"))
            assert.equal("429", statuses(gw, 1, "/b"))
        end)

        it("apart what each route has its own policy for", function()
            for _, by in ipairs { "client", "route" } do
                local gw = two_routes(by)
                assert.equal("200 429", statuses(gw, 2, "/a"))
                assert.equal("200 429", statuses(gw, 2, "/b"))
                gw:close()
                shared "rate_limit":flush()
            end
        end)

        it("twice where it is used twice", function()
            local gw = test.gateway { policies = {
                { "rate_limit", limit = 2, window = "1s" }, { "rate_limit", limit = 3, window = "1m", name = "minute" },
            } }
            assert.equal("200 200 429", statuses(gw, 3))
            gw:advance(1)
            assert.equal("200 429", statuses(gw, 2))
        end)
    end)

    it("goes on counting through a reload", function()
        local gw = gateway { "rate_limit", limit = 2, window = "1m" }
        assert.equal("200", statuses(gw, 1))
        assert.is_true(gw:reload { policies = { "request_id", { "rate_limit", limit = 2, window = "1m" } } })
        assert.equal("200 429", statuses(gw, 2))
    end)

    it("takes a lower limit at once", function()
        local gw = gateway { "rate_limit", limit = 100, window = "1m" }
        assert.is_true(gw:reload { policies = { { "rate_limit", limit = 1, window = "1m" } } })
        assert.equal("200 429", statuses(gw, 2))
    end)

    describe("tells the client", function()
        it("in RateLimit and RateLimit-Policy by default", function()
            local gw = gateway { "rate_limit", limit = 100, window = "1m" }
            local res = gw:get "/"
            assert.equal('"default";q=100;w=60', res.headers["ratelimit-policy"])
            assert.equal('"default";r=99;t=1', res.headers["ratelimit"])
            assert.is_nil(res.headers["retry-after"])
            statuses(gw, 49)
            assert.equal('"default";r=49;t=31', gw:get("/").headers["ratelimit"])
        end)

        it("in the same headers when it refuses", function()
            local gw = gateway { "rate_limit", limit = 2, window = "1m", name = "orders" }
            statuses(gw, 2)
            local res = gw:get "/"
            assert.same({ '"orders";q=2;w=60' }, res.headers:all "ratelimit-policy")
            assert.same({ '"orders";r=0;t=60' }, res.headers:all "ratelimit")
        end)

        it("no window that is not whole seconds", function()
            local res = gateway({ "rate_limit", limit = 5, window = "500ms" }):get "/"
            assert.equal('"default";q=5', res.headers["ratelimit-policy"])
            res = gateway({ "rate_limit", limit = 5, window = "1s" }):get "/"
            assert.equal('"default";q=5;w=1', res.headers["ratelimit-policy"])
        end)

        it("of every limit, beside the upstream's own", function()
            local gw = test.gateway {
                policies = {
                    { "rate_limit", limit = 9, name = "a" }, { "rate_limit", limit = 5, window = "1m", name = "b" },
                },
                upstreams = { api = function() return test.reply(200, "", { ratelimit = '"up";r=1;t=1' }) end },
            }
            local values = gw:get("/").headers:all "ratelimit"
            table.sort(values)
            assert.same({ '"a";r=8;t=1', '"b";r=4;t=12', '"up";r=1;t=1' }, values)
        end)

        it("in X-RateLimit headers", function()
            local gw = gateway { "rate_limit", limit = 2, window = "1m", headers = "x" }
            local res = gw:get "/"
            assert.equal("2", res.headers["x-ratelimit-limit"])
            assert.equal("1", res.headers["x-ratelimit-remaining"])
            assert.equal("30", res.headers["x-ratelimit-reset"])
            assert.is_nil(res.headers["ratelimit"])
            statuses(gw, 1)
            res = gw:get "/"
            assert.equal(429, res.status)
            assert.equal("2", res.headers["x-ratelimit-limit"])
            assert.equal("0", res.headers["x-ratelimit-remaining"])
            assert.equal("60", res.headers["x-ratelimit-reset"])
            assert.equal("30", res.headers["retry-after"])
        end)

        it("nothing but when to come back", function()
            local gw = gateway { "rate_limit", limit = 1, window = "1m", headers = "off" }
            local headers = gw:get("/").headers
            assert.is_nil(headers["ratelimit"] or headers["x-ratelimit-limit"] or headers["ratelimit-policy"])
            headers = gw:get("/").headers
            assert.is_nil(headers["ratelimit"] or headers["x-ratelimit-limit"] or headers["ratelimit-policy"])
            assert.equal("60", headers["retry-after"])
        end)

        it("large numbers as digits", function()
            local res = gateway({ "rate_limit", limit = 1e9, window = "1h" }):get "/"
            assert.equal('"default";q=1000000000;w=3600', res.headers["ratelimit-policy"])
            assert.equal('"default";r=999999999;t=1', res.headers["ratelimit"])
        end)
    end)

    it("tells no one of half a token", function()
        for _, style in ipairs { "ietf", "x" } do
            local gw = gateway { "rate_limit", limit = 2, window = "1m", by = "route", headers = style }
            statuses(gw, 2)
            gw:advance(45) -- one and a half
            local headers = gw:get("/").headers
            assert.equal("0", headers["x-ratelimit-remaining"] or headers["ratelimit"]:match "r=(%d+)")
            assert.equal("45", headers["x-ratelimit-reset"] or headers["ratelimit"]:match "t=(%d+)")
            local res = gw:get "/"
            assert.equal(429, res.status)
            assert.equal("0", res.headers["x-ratelimit-remaining"] or res.headers["ratelimit"]:match "r=(%d+)")
            gw:close()
            shared "rate_limit":flush()
        end
    end)

    it("fails closed when the count cannot be had", function()
        local gw = gateway { "rate_limit", limit = 5, window = "1m" }
        assert.equal("200", statuses(gw, 1))
        local key = shared "rate_limit":keys()[1]
        assert.is_true(shared "rate_limit":set(key, "no bucket"))
        assert.equal("503", statuses(gw, 1))
        assert.matches("the limit cannot be checked: ", gw:log()[1].message)
    end)

    it("counts what it refuses, by route and limit", function()
        local gw = gateway { "rate_limit", limit = 2, window = "1m", name = "burst" }
        local metric = 'rate_limit_refused_total{route="test",limit="burst"}'
        statuses(gw, 2)
        assert.is_nil(gw:metrics()[metric])
        statuses(gw, 3)
        assert.equal(3, gw:metrics()[metric])
    end)

    it("refuses nobody in a dry run", function()
        local gw = gateway { "rate_limit", limit = 1, window = "1m", dry_run = true }
        assert.equal("200 200 200", statuses(gw, 3))
        for _, line in ipairs(gw:log()) do
            assert.not_equal("error", line.level)
        end
    end)

    it("keeps one bucket per client in shared memory, and lets it go when it is full", function()
        shared "rate_limit":flush()
        local gw = gateway({ "rate_limit", limit = 10, window = "10s" }, hop())
        for i = 1, 20 do
            gw:get("/", client("192.0.2." .. i))
        end
        assert.equal(20, #shared "rate_limit":keys())
        gw:advance(60)
        assert.equal(0, #shared "rate_limit":keys())
    end)

    describe("with Redis", function()
        local WHERE = "limits.internal:6379"

        local function remote(settings)
            settings = settings or {}
            settings[1], settings.limit, settings.window = "rate_limit", settings.limit or 3, settings.window or "1m"
            settings.by, settings.redis = "route", settings.redis or WHERE
            return gateway(settings)
        end

        local function warnings(gw)
            local list = {}
            for _, line in ipairs(gw:log()) do
                if line.message:find("Redis", 1, true) then
                    list[#list + 1] = line.level .. " " .. line.message
                end
            end
            return list
        end

        it("shares one bucket among gateways", function()
            local a, b = remote(), remote()
            b:redis(WHERE, { share = a:redis(WHERE) })
            assert.equal("200 200", statuses(a, 2))
            assert.equal("200 429", statuses(b, 2))
            assert.equal("429", statuses(a, 1))
            a:advance(20)
            assert.equal("200 429", statuses(b, 2))
            assert.equal(0, #shared "rate_limit":keys())
        end)

        it("says what is left as a local limit does", function()
            local gw = remote()
            gw:redis(WHERE)
            local res = gw:get("/")
            assert.response(res).has.headers { ratelimit = '"default";r=2;t=20' }
            statuses(gw, 2)
            gw:advance(12.5)
            res = gw:get("/")
            assert.response(res).is.problem(429)
            assert.response(res).has.headers { ratelimit = '"default";r=0;t=48', ["retry-after"] = "8" }
        end)

        it("keeps a bucket no longer than it takes to fill", function()
            local gw = remote()
            local server = gw:redis(WHERE)
            gw:get("/")
            local key = server.commands[#server.commands][4]
            assert.equal("perigee:rate_limit:", key:sub(1, 19))
            assert.near(21, server:call("PTTL", key) / 1000, 0.1)
            gw:advance(22)
            assert.equal(0, server:call("EXISTS", key))
        end)

        it("takes a smaller burst at once", function()
            local gw = remote { limit = 100 }
            gw:redis(WHERE)
            statuses(gw, 100)
            assert.is_true(gw:reload {
                policies = { { "rate_limit", limit = 100, window = "1m", burst = 1, by = "route", redis = WHERE } },
            })
            assert.equal("429", statuses(gw, 1))
            gw:advance(0.7)
            assert.equal("200 429", statuses(gw, 2))
        end)

        it("begins keys with the prefix, for who shares a server without sharing limits", function()
            local gw = remote { redis = { address = WHERE, prefix = "staging:" } }
            local server = gw:redis(WHERE)
            gw:get("/")
            assert.equal("staging:rate_limit:", server.commands[#server.commands][4]:sub(1, 19))
        end)

        it("counts here while Redis is away, and says so once", function()
            local gw = remote()
            local server = gw:redis(WHERE)
            assert.equal("200", statuses(gw, 1))
            server:stop()
            assert.equal("200 200 200 429", statuses(gw, 4))
            assert.same({
                'warn rate_limit: Redis is away: requests are counted on this machine limit="default" '
                    .. 'reason="Redis cannot be reached"',
            }, warnings(gw))
            assert.equal(4, gw:metrics()['rate_limit_local_total{limit="default"}'])
            server:start()
            gw:advance "3s"
            statuses(gw, 1) -- tries, and is counted here once more
            assert.equal("200 200 429", statuses(gw, 3))
            assert.equal(2, #warnings(gw))
            assert.equal('info rate_limit: Redis is back limit="default"', warnings(gw)[2])
        end)

        it("waits for a slow Redis no longer than the timeout, and one request only", function()
            local gw = remote { redis = { address = WHERE, timeout = "20ms" } }
            local server = gw:redis(WHERE)
            statuses(gw, 1)
            server:delay "1s"
            local before = gw:now()
            assert.equal("200 200 200 429", statuses(gw, 4))
            assert.near(0.02, gw:now() - before, 0.01)
        end)

        it("counts here when the server refuses the script or answers nonsense", function()
            local gw = remote { limit = 1 }
            gw:redis(WHERE, { password = "secret" })
            assert.equal("200 429", statuses(gw, 2))
            assert.truthy(warnings(gw)[1]:find("NOAUTH", 1, true))
            shared "rate_limit":flush()
            gw:close()
            gw = remote { limit = 1 }
            local server = gw:redis(WHERE)
            gw:get("/")
            local key = server.commands[#server.commands][4]
            server:call("DEL", key)
            server:call("HSET", key, "x", 1)
            assert.equal("200", statuses(gw, 1))
            assert.truthy(warnings(gw)[#warnings(gw)]:find("WRONGTYPE", 1, true))
        end)

        for _, algorithm in ipairs { "token_bucket", "sliding_window" } do
            it("counts here when the answer has numbers that are none: " .. algorithm, function()
                local gw = remote { algorithm = algorithm, limit = 1, window = "1h" }
                local server = gw:redis(WHERE)
                assert.equal("200", statuses(gw, 1))
                for _, text in ipairs { "nan", "-nan", "inf", "-inf", "infinity", "1e999" } do
                    for at = 2, 4 do
                        local answer = { 1, "'1'", "'0'", "'0'" }
                        answer[at] = ("'%s'"):format(text)
                        for digest in pairs(server.scripts) do
                            server.scripts[digest] = "return {" .. table.concat(answer, ",") .. "}"
                        end
                        if algorithm == "sliding_window" or at < 4 then -- a token bucket is three numbers
                            shared "rate_limit":flush()
                            assert.equal("200 429", statuses(gw, 2), text .. " at " .. at)
                        end
                    end
                end
                assert.truthy(warnings(gw)[1]:find("it answered something else", 1, true))
            end)
        end

        it("refuses an address that is none", function()
            local errors = test.errors { policies = { { "rate_limit", limit = 1, redis = "limits" } } }
            assert.equal("policies[1].redis.address", errors[1].path)
            assert.truthy(errors[1].message:find("port", 1, true))
        end)
    end)

    describe("with a sliding window", function()
        local WHERE = "limits.internal:6379"

        local function sliding(settings, around)
            settings[1], settings.algorithm = "rate_limit", "sliding_window"
            settings.window, settings.by = settings.window or "1m", settings.by or "route"
            return gateway(settings, around)
        end

        -- Goes on to the beginning of the next window, as `clock` counts them.
        local function to_window(gw, clock, window)
            gw:advance(window - clock() % window)
        end

        it("lets the limit in at once and refuses the next", function()
            local gw = sliding { limit = 3 }
            assert.equal("200 200 200 429", statuses(gw, 4))
            assert.equal(3, #gw.upstreams.api.requests)
        end)

        local places = {
            ["here"] = function(settings)
                return sliding(settings), perigee.time.monotonic
            end,
            ["in Redis"] = function(settings)
                settings.redis = WHERE
                local gw = sliding(settings)
                gw:redis(WHERE)
                return gw, perigee.time.now
            end,
        }
        for where, open in pairs(places) do
            it("weighs the window before with the part that still counts, " .. where, function()
                local gw, clock = open { limit = 10 }
                to_window(gw, clock, 60)
                assert.equal(("200 "):rep(8) .. "200", statuses(gw, 9))
                gw:advance(60.01) -- 9 weigh 8
                assert.equal("200 200 429", statuses(gw, 3))
                gw:advance(29.99) -- 9 weigh 4.5
                assert.equal("200 200 200 200 429", statuses(gw, 5))
                gw:advance(30.01) -- 6 weigh 5.99
                assert.equal("200 200 200 200 200 429", statuses(gw, 6))
                gw:advance(120)
                assert.equal(("200 "):rep(10) .. "429", statuses(gw, 11))
            end)

            it("tells what may come, when it is all again and when to come back, " .. where, function()
                local gw, clock = open { limit = 4 }
                to_window(gw, clock, 60)
                gw:advance(15)
                local res = gw:get "/"
                assert.response(res).has.headers { ["ratelimit-policy"] = '"default";q=4;w=60' }
                assert.response(res).has.headers { ratelimit = '"default";r=3;t=46' }
                statuses(gw, 3)
                res = gw:get "/"
                assert.response(res).is.problem(429)
                assert.response(res).has.headers { ratelimit = '"default";r=0;t=91', ["retry-after"] = "46" }
                gw:advance(45.5) -- 4 weigh 3
                assert.equal("200 429", statuses(gw, 2))
            end)

            it("is let in when it comes back as told, and not a second before, " .. where, function()
                for _, limit in ipairs { 1, 2, 7 } do
                    local gw = open { limit = limit, name = "n" .. limit }
                    for _ = 1, 5 do
                        repeat local res = gw:get "/" until res.status == 429
                        local seconds = tonumber(gw:get("/").headers["retry-after"])
                        gw:advance(seconds - 1.002)
                        assert.equal("429", statuses(gw, 1))
                        gw:advance(1.002)
                        assert.equal("200", statuses(gw, 1))
                    end
                    gw:close()
                    shared "rate_limit":flush()
                end
            end)
        end

        it("tells in X-RateLimit headers too", function()
            local gw = sliding { limit = 2, headers = "x" }
            to_window(gw, perigee.time.monotonic, 60)
            assert.response(gw:get "/").has.headers {
                ["x-ratelimit-limit"] = "2", ["x-ratelimit-remaining"] = "1", ["x-ratelimit-reset"] = "61",
            }
            statuses(gw, 1)
            assert.response(gw:get "/").has.headers {
                ["x-ratelimit-remaining"] = "0", ["x-ratelimit-reset"] = "91", ["retry-after"] = "61",
            }
        end)

        it("counts clients apart, by keys of any length", function()
            local gw = sliding({ limit = 1, by = "header:x-tenant" }, hop())
            for length = 235, 260 do
                assert.equal("200 429", statuses(gw, 2, "/", from("x-tenant", ("z"):rep(length))))
            end
            assert.equal("200 429", statuses(gw, 2, "/", client "192.0.2.1"))
        end)

        it("goes on counting through a reload, and takes a lower limit at once", function()
            local gw = sliding { limit = 3 }
            statuses(gw, 2)
            local function reload(limit)
                assert.is_true(gw:reload { policies = {
                    { "rate_limit", algorithm = "sliding_window", limit = limit, window = "1m", by = "route" },
                } })
            end
            reload(3)
            assert.equal("200 429", statuses(gw, 2))
            reload(1)
            local res = gw:get "/"
            assert.response(res).has.status(429)
            assert.equal("0", res.headers.ratelimit:match "r=(%d+)")
        end)

        it("keeps two counters per client, no longer than they count", function()
            shared "rate_limit":flush()
            local gw = sliding { limit = 10, window = "10s" }
            for _ = 1, 5 do
                statuses(gw, 3)
                gw:advance(10)
                assert.is_true(#shared "rate_limit":keys() <= 2)
            end
            gw:advance(20)
            assert.equal(0, #shared "rate_limit":keys())
        end)

        it("fails closed when the count cannot be had", function()
            local gw = sliding { limit = 5 }
            statuses(gw, 1)
            local key = shared "rate_limit":keys()[1]
            assert.is_true(shared "rate_limit":set(key, "no number"))
            assert.equal("503", statuses(gw, 1))
            assert.matches("the limit cannot be checked: the entry is no number", gw:log()[1].message)
        end)

        it("is shared among gateways by Redis, in one key that goes by itself", function()
            local function remote()
                return sliding { limit = 3, redis = WHERE }
            end
            local a, b = remote(), remote()
            local server = a:redis(WHERE)
            b:redis(WHERE, { share = server })
            to_window(a, perigee.time.now, 60)
            assert.equal("200 200", statuses(a, 2))
            assert.equal("200 429", statuses(b, 2))
            assert.equal(0, #shared "rate_limit":keys())
            local key = server.commands[#server.commands][4]
            assert.equal("perigee:rate_limit:60000000:", key:sub(1, 28))
            assert.near(120, server:call("PTTL", key) / 1000, 0.1)
            a:advance(120)
            assert.equal(0, server:call("EXISTS", key))
            to_window(a, perigee.time.now, 60)
            a:advance(30)
            statuses(a, 1)
            assert.near(90, server:call("PTTL", key) / 1000, 0.1) -- until the end of the next window
        end)

        it("counts here while Redis is away", function()
            local gw = sliding { limit = 3, redis = WHERE }
            local server = gw:redis(WHERE)
            statuses(gw, 3)
            server:stop()
            to_window(gw, perigee.time.monotonic, 60)
            assert.equal("200 200 200 429", statuses(gw, 4))
            assert.equal(4, gw:metrics()['rate_limit_local_total{limit="default"}'])
        end)

        it("stands still when the clock of Redis goes back a little, and begins anew when much", function()
            local gw = sliding { limit = 2, redis = WHERE }
            local server = gw:redis(WHERE)
            to_window(gw, perigee.time.now, 60)
            statuses(gw, 2)
            local key = server.commands[#server.commands][4]
            local number = tonumber(server:call("GET", key):match "^%d+")
            server:call("SET", key, (number + 1) .. " 0 2")
            assert.equal("429", statuses(gw, 1))
            server:call("SET", key, (number + 1) .. " 2 0") -- its window begins: the last one counts in full
            assert.equal("429", statuses(gw, 1))
            server:call("SET", key, (number + 100) .. " 0 2")
            assert.equal("200", statuses(gw, 1))
        end)
    end)

    for what, settings in pairs {
        ["without a limit"] = {}, ["with a limit of 0"] = { limit = 0 }, ["with half a request"] = { limit = 1.5 },
        ["with a negative limit"] = { limit = -1 }, ["with a window of 0"] = { limit = 1, window = "0s" },
        ["with a window that is a number"] = { limit = 1, window = 60 },
        ["with a burst of 0"] = { limit = 1, burst = 0 },
        ["by something unknown"] = { limit = 1, by = "ip" },
        ["by a header without a name"] = { limit = 1, by = "header:" },
        ["by a header that is no name"] = { limit = 1, by = "header:a b" }, ["by a table"] = { limit = 1, by = {} },
        ["with an unknown algorithm"] = { limit = 1, algorithm = "leaky" },
        ["with a burst of a sliding window"] = { limit = 1, algorithm = "sliding_window", burst = 2 },
        ["with unknown headers"] = { limit = 1, headers = "on" },
        ["with a name in quotes"] = { limit = 1, name = 'a"b' },
    } do
        it("is refused " .. what, function()
            settings[1] = "rate_limit"
            assert.equal(1, #test.errors { policies = { settings } })
        end)
    end
end)
