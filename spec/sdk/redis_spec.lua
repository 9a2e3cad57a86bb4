-- SPDX-License-Identifier: MIT
--
-- perigee.redis through a gateway, against the kit's fake; spec/e2e/test_redis.py has the real one.

local perigee = require "perigee"
local test = require "perigee.test"

local ADDRESS = "cache.internal:6379"

describe("perigee.redis", function()
    local gw, server, answers

    -- A gateway whose handler calls `job(redis)` and keeps what it returned.
    local function gateway(job, settings)
        settings = settings or {}
        settings.address = settings.address or ADDRESS
        local redis = perigee.redis(settings)
        gw = test.gateway { routes = { { handler = function(req)
            answers = { job(redis, req) }
            return perigee.reply(200)
        end } } }
        return gw
    end

    local function ask(job, settings)
        gateway(job, settings)
        server = gw:redis(ADDRESS)
        gw:get("/")
        return answers[1], answers[2], answers[3]
    end

    it("gives strings, numbers, lists and nil", function()
        local reply = ask(function(redis)
            return {
                redis:call("SET", "k", "a\0b"), redis:call("GET", "k"),
                redis:call("INCRBY", "n", 41), redis:call("INCR", "n"),
                redis:call("HSET", "h", "x", 1, "y", 2), redis:call("HGETALL", "h"), (redis:call("GET", "none")),
            }
        end)
        assert.same({ "OK", "a\0b", 41, 42, 2, { "x", "1", "y", "2" } }, reply)
    end)

    it("says nothing but nil when Redis says nil", function()
        local value, message, code = ask(function(redis) return redis:call("GET", "none") end)
        assert.same({}, { value, message, code })
    end)

    it("gives an error of the server with its code", function()
        local value, message, code = ask(function(redis)
            redis:call("HSET", "h", "x", 1)
            return redis:call("GET", "h")
        end)
        assert.is_nil(value)
        assert.equal("WRONGTYPE", code)
        assert.equal("WRONGTYPE Operation against a key holding the wrong kind of value", message)
    end)

    it("keeps holes and errors inside lists apart from their ends", function()
        assert.same({ 1, false, { error = "BAD thing" }, { "deep" }, "end" }, (ask(function(redis)
            return redis:eval "return { 1, false, redis.error_reply('BAD thing'), { 'deep' }, 'end' }"
        end)))
    end)

    it("sends a script once, and its digest from then on", function()
        local script = "return KEYS[1] .. ARGV[1]"
        assert.equal("k7", (ask(function(redis)
            redis:eval(script, { "k" }, { 7 })
            return redis:eval(script, { "k" }, { 7 })
        end)))
        local names = {}
        for i, command in ipairs(server.commands) do
            names[i] = command[1]
        end
        assert.same({ "PING", "EVALSHA", "EVAL", "EVALSHA" }, names)
        server:call("SCRIPT", "FLUSH")
        gw:get("/")
        assert.equal("k7", answers[1])
    end)

    it("pipelines what is asked at once over one connection", function()
        gateway(function(redis)
            local tasks, sum = {}, 0
            for i = 1, 100 do
                tasks[i] = perigee.spawn(function()
                    redis:call("SET", "k" .. i, i)
                    local value = redis:call("GET", "k" .. i)
                    sum = sum + value
                end)
            end
            for i = 1, 100 do
                perigee.wait(tasks[i])
            end
            return sum
        end, { timeout = "1s" })
        server = gw:redis(ADDRESS)
        server:delay "10ms"
        local before = gw:now()
        gw:get("/")
        assert.equal(5050, answers[1])
        assert.near(0.03, gw:now() - before, 0.02) -- the greeting, all SETs, all GETs
        assert.equal(201, #server.commands)
    end)

    it("logs in and selects a database before anything else", function()
        gateway(function(redis) return redis:call("SET", "k", 1) end, { password = "secret", database = 3 })
        server = gw:redis(ADDRESS, { password = "secret" })
        gw:get("/")
        assert.equal("OK", answers[1])
        assert.same({ { "AUTH", "secret" }, { "SELECT", "3" }, { "SET", "k", "1" } }, server.commands)
        assert.is_false(server:call("GET", "k"))
    end)

    it("says why the server refuses the connection", function()
        gateway(function(redis) return redis:call("GET", "k") end, { password = "wrong" })
        gw:redis(ADDRESS, { password = "secret" })
        gw:get("/")
        assert.equal("Redis refuses the connection: WRONGPASS invalid username-password pair or user is disabled.",
            answers[2])
        assert.equal("refused", answers[3])
        gw:get("/")
        assert.equal("refused", answers[3])
    end)

    it("waits no longer than its timeout, and then not at all", function()
        gateway(function(redis) return redis:call("GET", "k") end, { timeout = "50ms" })
        server = gw:redis(ADDRESS)
        gw:get("/")
        server:hang()
        local before = gw:now()
        gw:get("/")
        assert.equal("timeout", answers[3])
        assert.near(0.05, gw:now() - before, 0.01)
        before = gw:now()
        gw:get("/")
        assert.equal("timeout", answers[3])
        assert.equal(before, gw:now())
    end)

    it("finds a server that is back, at the cost of one call", function()
        gateway(function(redis) return redis:call("GET", "k") end)
        server = gw:redis(ADDRESS)
        server:call("SET", "k", "v")
        server:stop()
        gw:get("/")
        assert.same({ nil, "Redis cannot be reached", "unavailable" }, answers)
        server:start()
        gw:get("/")
        assert.equal("unavailable", answers[3]) -- too early
        gw:advance "200ms"
        gw:get("/") -- tries
        gw:get("/")
        assert.equal("v", answers[1])
    end)

    it("tries a server that is away less and less often, up to every 2 s", function()
        local settings = { address = "silent.internal:6379", timeout = "10ms" }
        gateway(function(redis) return redis:call("GET", "k") end, settings)
        server = gw:redis "silent.internal"
        server:hang()
        gw:get("/")
        for _ = 1, 600 do
            gw:advance(0.05)
            gw:get("/")
        end
        local opened = 0
        for _ in pairs(server.connections) do
            opened = opened + 1
        end
        assert.is_true(opened <= 30000 / 2000 + 8)
    end)

    it("makes a new connection when the server has closed an idle one", function()
        gateway(function(redis) return redis:call("GET", "k") end)
        server = gw:redis(ADDRESS)
        gw:get("/")
        server:stop()
        server:start()
        gw:get("/")
        assert.same({}, answers)
    end)

    it("closes a connection that nobody has used for a minute", function()
        gateway(function(redis) return redis:call("GET", "k") end)
        server = gw:redis(ADDRESS)
        gw:get("/")
        assert.equal(2, gw.open().streams)
        gw:advance "61s"
        assert.equal(0, gw.open().streams)
    end)

    it("drops the call of a client that goes away, and keeps the order of the others", function()
        gateway(function(redis, req) return redis:call("GET", req.query:get("k")) end, { timeout = "1s" })
        server = gw:redis(ADDRESS)
        server:call("SET", "a", "A")
        server:call("SET", "b", "B")
        gw:get("/?k=a")
        server:delay "20ms"
        local first, second = gw:send { path = "/?k=a" }, gw:send { path = "/?k=b" }
        first:abort()
        second:wait()
        assert.equal("B", answers[1])
    end)

    it("works in timers", function()
        local seen
        local redis = perigee.redis { address = ADDRESS }
        gw = test.gateway { routes = { { handler = function()
            perigee.timer.after(1, function() seen = redis:call("INCR", "n") end)
            return perigee.reply(200)
        end } } }
        gw:redis(ADDRESS)
        gw:get("/")
        gw:advance(2)
        assert.equal(1, seen)
    end)

    it("refuses commands that would change or block the connection", function()
        for _, name in ipairs { "SELECT", "subscribe", "MULTI", "BLPOP", "Auth" } do
            gateway(function(redis) return pcall(redis.call, redis, name, "x") end)
            gw:get("/")
            assert.is_false(answers[1])
            assert.truthy(answers[2]:find("would change or block a connection", 1, true), answers[2])
        end
    end)

    it("refuses what is no command", function()
        for _, args in ipairs { {}, { 7 }, { "GET", {} }, { "GET", true } } do
            gateway(function(redis) return pcall(redis.call, redis, unpack(args)) end)
            gw:get("/")
            assert.is_false(answers[1])
        end
        gateway(function(redis) return redis:call("SET", "k", ("x"):rep(1024 * 1024)) end)
        gw:get("/")
        assert.equal("too_large", answers[3])
        local counter = perigee.metrics.counter("redis_spec_total", "For this spec.")
        gateway(function(redis) return pcall(redis.call, counter, "GET", "k") end)
        gw:get("/")
        assert.is_false(answers[1])
    end)

    for what, settings in pairs {
        ["no address"] = {}, ["an address without a port"] = { address = "cache" },
        ["a URL"] = { address = "redis://a:1" }, ["an unknown setting"] = { address = ADDRESS, db = 1 },
        ["half a database"] = { address = ADDRESS, database = 1.5 },
        ["a timeout of 0"] = { address = ADDRESS, timeout = 0 },
        ["an empty password"] = { address = ADDRESS, password = "" },
        ["a timeout without a unit"] = { address = ADDRESS, timeout = "100" },
    } do
        it("is not made of " .. what, function()
            local ok, message = pcall(perigee.redis, settings)
            assert.is_false(ok)
            assert.truthy(message:find("perigee.redis: ", 1, true), message)
        end)
    end
end)
