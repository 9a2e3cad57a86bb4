-- SPDX-License-Identifier: MIT
--
-- req:flag: what policies say in the access log, and everything that shows it.

local json = require "perigee.json"
local perigee = require "perigee"
local test = require "perigee.test"

local TOKEN = "a-token-of-some-length"
local CALL = { ["content-type"] = "application/grpc", te = "trailers" }

-- A gateway with a policy that is `code` between its head and its end.
local function gateway(code, more)
    local config = { policies = { { "probe" } }, explain = { token = TOKEN } }
    for name, value in pairs(more or {}) do
        config[name] = value
    end
    local text = "local perigee = require 'perigee'\nlocal P = perigee.policy { name = 'probe', stage = 'auth' }\n"
        .. code .. "\nreturn P"
    return test.gateway(config, { files = { ["policies/probe/init.lua"] = text } })
end

-- The flags in the access log, of the last exchange.
local function flags(gw)
    local entries = gw:access_log()
    return entries[#entries].flags
end

local function flags_of(code, more)
    local gw = gateway(code, more)
    gw:post("/", { body = "hello" })
    return flags(gw)
end

local HOOKS = {
    on_request = "function P:on_request(req) %s end",
    on_request_body = "function P:on_request_body(req, chunk, last) if last then %s end end",
    on_upstream = "function P:on_upstream(req, attempt) %s end",
    on_response = "function P:on_response(req, res) %s end",
    on_response_body = "function P:on_response_body(req, res, chunk, last) if last then %s end end",
    on_log = "function P:on_log(req, res) %s end",
    ["around, before next"] = "function P:around(req, next) %s return next(req) end",
    ["around, after next"] = "function P:around(req, next) local res = next(req) %s return res end",
}

describe("req:flag", function()
    for hook, form in pairs(HOOKS) do
        it("sets a flag of the access log in " .. hook, function()
            assert.equal("UAEX", flags_of(form:format "req:flag 'UAEX'"))
        end)

        it("sets none in " .. hook .. " in a dry run", function()
            assert.is_nil(flags_of(form:format "req:flag 'UAEX'", { policies = { { "probe", dry_run = true } } }))
        end)
    end

    for _, letters in ipairs { "DI", "FI", "RL", "RLSE", "UAEX", "UO" } do
        it("knows " .. letters, function()
            assert.equal(letters, flags_of("function P:on_request(req) req:flag '" .. letters .. "' end"))
        end)
    end

    it("adds to those that are there, in one order, each once", function()
        assert.equal("DI,FI,UO", flags_of [[
            function P:on_request(req) req:flag "UO" req:flag "FI" req:flag "DI" req:flag "UO" end]])
    end)

    it("stands behind the reason that the proxy has itself", function()
        local code = "function P:on_request(req) req:flag 'DI' end"
        assert.equal("UF,DI", flags_of(code, { upstreams = { api = test.fail.refuse } }))
        assert.equal("PF,FI", flags_of "function P:on_request(req) req:flag 'FI' error 'broken' end")
    end)

    it("says nothing twice that the status says already", function()
        local function answer(status, letters)
            return flags_of("function P:on_request(req) req:flag '" .. letters .. "' return perigee.reply(" .. status
                .. ") end")
        end
        assert.equal("RL", answer(429, "RL"))
        assert.equal("RL,UO", answer(429, "UO"))
        assert.equal("RL", answer(503, "RL"))
    end)

    it("stays through the attempts of an around", function()
        local code = [[
            function P:around(req, next)
                req:flag "DI"
                next(req)
                return next(req)
            end]]
        assert.equal("DI", flags_of(code, { upstreams = {
            api = { endpoints = { function() return "ok" end }, retries = { attempts = 1 } },
        } }))
    end)

    it("is of one exchange", function()
        local gw = gateway "function P:on_request(req) if req.path == '/a' then req:flag 'DI' end end"
        gw:get "/a"
        gw:get "/b"
        gw:get "/a"
        local seen = {}
        for i, entry in ipairs(gw:access_log()) do
            seen[i] = entry.path .. " " .. (entry.flags or "-")
        end
        assert.same({ "/a DI", "/b -", "/a DI" }, seen)
    end)

    it("is there for clients that left", function()
        local gw = gateway "function P:on_request(req) req:flag 'DI' perigee.sleep(10) end"
        local gone = gw:send { path = "/" }
        gw:advance(1)
        gone:abort()
        assert.equal("DC,DI", flags(gw))
    end)

    it("is there for gRPC calls", function()
        local gw = gateway "function P:on_request(req) req:flag 'UO' return perigee.reply(503) end"
        gw:post("/pkg.Service/Method", { headers = CALL, body = "\0\0\0\0\0" })
        local entry = gw:access_log()[1]
        assert.same({ 200, 14, "UO" }, { entry.status, entry.grpc_status, entry.flags })
    end)

    it("refuses what it does not know, and names what there is", function()
        for _, argument in ipairs { "'UF'", "'di'", "''", "'DI,FI'", "7", "nil", "{}" } do
            local gw = gateway("function P:on_request(req) local _, message = pcall(function() req:flag(" .. argument
                .. ") end) perigee.log.info(message) end")
            gw:get "/"
            assert.matches("^probe: policies/probe/init.lua:3: req:flag expects DI, FI, RL, RLSE, UAEX, UO, not ",
                gw:log()[1].message)
            assert.is_nil(flags(gw))
        end
    end)

    it("fails behind the end of the exchange", function()
        local gw = gateway [[
            function P:on_request(req)
                perigee.timer.after(1, function()
                    perigee.log.info(select(2, pcall(req.flag, req, "DI")) or "set")
                end)
            end]]
        gw:get "/"
        assert.equal(0, #gw:log())
        gw:advance(1)
        assert.matches("ended", gw:log()[1].message)
    end)

    it("cannot be assigned", function()
        local gw = gateway "function P:on_request(req) req.flag = 'DI' end"
        assert.response(gw:get "/").is.problem(503)
        assert.matches("req.flag cannot be set", gw:log()[1].message, 1, true)
    end)

    it("is what a dry run would have set", function()
        local gw = gateway([[
            function P:on_request(req)
                req:flag "DI"
                perigee.sleep(1)
                req:flag "FI"
                return perigee.reply(500)
            end]], { policies = { { "probe", dry_run = true } } })
        local res = gw:get("/", { headers = { ["x-perigee-explain"] = TOKEN } })
        assert.equal("policy 'probe' on route 'test' would have set req.flags and answered 500 in on_request (dry run)",
            gw:log()[1].message)
        local trace = json.decode(res.headers["x-perigee-explain"])
        assert.equal("", trace.flags)
        assert.same({ { what = "req.flags", to = "DI,FI" } }, trace.decisions[1].would.changes)
    end)

    it("is in the trace, as a change and in the end", function()
        local gw = gateway "function P:on_request(req) req:flag 'UO' return perigee.reply(503) end"
        local res = gw:get("/", { headers = { ["x-perigee-explain"] = TOKEN } })
        local trace = json.decode(res.headers["x-perigee-explain"])
        assert.equal("UO", trace.flags)
        assert.same({ { what = "req.flags", to = "UO" } }, trace.decisions[1].changes)
    end)
end)

describe("gw:access_log", function()
    it("has a line for each exchange, in the order in which they end", function()
        local gw = test.gateway { upstreams = { api = function(req) perigee.sleep(tonumber(req.query)) return "" end } }
        local slow = gw:send { path = "/slow?2" }
        gw:get "/quick?1"
        assert.equal(1, #gw:access_log())
        slow:wait()
        local entries = gw:access_log()
        assert.same({ "/quick?1", "/slow?2" }, { entries[1].path, entries[2].path })
        assert.same({ "GET", 200, "test", "api", 1 },
            { entries[1].method, entries[1].status, entries[1].route, entries[1].upstream, entries[1].attempts })
        assert.equal(1000, entries[1].duration_ms)
    end)

    it("has a line for a connection that is passed on", function()
        local gw = test.gateway {
            listeners = { { address = "127.0.0.1:5432", protocol = "tcp", upstream = "db" } },
            upstreams = { db = test.bytes() }, routes = {},
        }
        local connection = gw:connect()
        connection:write "hello"
        connection:close()
        assert.same({ "tcp", "db", 5 },
            { gw:access_log()[1].protocol, gw:access_log()[1].upstream, gw:access_log()[1].bytes_in })
    end)

    it("goes on behind a reload, whatever the configuration says of a log", function()
        local gw = test.gateway { access_log = "/nowhere/at/all" }
        gw:get "/"
        assert.is_true(gw:reload { access_log = "stdout" })
        gw:get "/"
        assert.equal(2, #gw:access_log())
    end)

    it("says when there was more than it keeps", function()
        local gw = test.gateway { routes = { { match = {}, reply = "" } } }
        local path = "/" .. ("a"):rep(1000)
        for _ = 1, 1000 do
            gw:get(path)
        end
        assert.is_false(pcall(gw.access_log, gw))
    end)
end)

describe("the access log names the upstream", function()
    -- What the log says of the last of `count` requests that are sent at once.
    local function last(upstream, count)
        local gw = test.gateway { upstreams = { api = upstream }, routes = { { upstream = "api" } } }
        local pending = {}
        for i = 1, count do
            pending[i] = gw:send { path = "/" }
            gw:advance(0)
        end
        local entry = gw:access_log()[#gw:access_log()]
        for i = 1, count do
            pending[i]:wait()
        end
        return { entry.status, entry.flags, entry.upstream, entry.endpoint or "none", entry.attempts or 0 }
    end

    local function slow()
        perigee.sleep(1)
        return "done"
    end

    it("none of whose endpoints can be used", function()
        local upstream = {
            endpoints = { function() return test.reply(500) end },
            outlier = { consecutive_5xx = 1, max_ejection_percent = 100 }, panic_threshold = "0%",
        }
        assert.same({ 503, "UH", "api", "none", 0 }, last(upstream, 2))
    end)

    it("whose breaker refuses", function()
        assert.same({ 503, "UO", "api", "api.fake:80", 1 },
            last({ endpoints = { slow }, breaker = { max_requests = 1 } }, 2))
    end)

    it("whose queue is full", function()
        local breaker = { max_requests = 1, queue = { max = 1, timeout = "10s" } }
        assert.same({ 503, "UO", "api", "api.fake:80", 1 }, last({ endpoints = { slow }, breaker = breaker }, 3))
    end)

    it("that nobody answers for", function()
        assert.same({ 503, "UF", "api", "api.fake:80", 1 }, last({ endpoints = { test.fail.refuse } }, 1))
    end)
end)
