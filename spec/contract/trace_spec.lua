-- SPDX-License-Identifier: MIT

local json = require "perigee.json"
local test = require "perigee.test"

local TOKEN = "a-token-of-some-length"

local function gateway(code, config)
    config = config or {}
    config.explain = { token = TOKEN }
    config.policies = config.policies or { "probe" }
    config.routes = config.routes or { { name = "r", upstream = "api" } }
    config.upstreams = config.upstreams or { api = function(req)
        return test.reply(200, req.body, { ["x-origin"] = "1" })
    end }
    local text = "local perigee = require 'perigee'\nlocal P = perigee.policy { name = 'probe', stage = 'auth' }\n"
        .. code .. "\nreturn P"
    return test.gateway(config, { files = { ["policies/probe/init.lua"] = text } })
end

local function ask(gw, options)
    options = options or {}
    options.headers = options.headers or {}
    options.headers["x-perigee-explain"] = TOKEN
    options.method, options.path = options.method or "GET", options.path or "/"
    local res = gw:request(options)
    local text = assert(res.headers["x-perigee-explain"], "the response has no trace")
    assert.is_true(#text <= 8192)
    assert.is_nil(text:find("[^\32-\126]"))
    return assert(json.decode(text)), res
end

-- The decisions without their times, which are checked.
local function decisions(trace)
    for _, decision in ipairs(trace.decisions) do
        assert.is_true(decision.us >= 0)
        decision.us = nil
    end
    return trace.decisions
end

describe("the trace of an exchange", function()
    it("tells route, reasons, attempts and status", function()
        local gw = gateway("function P:on_log() end", { routes = {
            { name = "post", match = { path = "/a", methods = { "POST" } }, upstream = "api" },
            { name = "a", match = { path = "/a" }, upstream = "api", rewrite = { path = "/b" } },
            { name = "rest", upstream = "api" },
        } })
        local trace = ask(gw, { path = "/a" })
        assert.equal("a", trace.route)
        assert.same({ { route = "post", reason = "method" }, { route = "a", reason = json.null } }, trace.candidates)
        assert.same({ from = "/a", to = "/b" }, trace.rewrite)
        assert.equal(1, #trace.attempts)
        assert.equal("api", trace.attempts[1].upstream)
        assert.equal(200, trace.attempts[1].status)
        assert.same({ 200, json.null, false }, { trace.status, trace.error, trace.cut })
    end)

    it("tells why an endpoint was chosen", function()
        local function choice(balance, code, headers)
            local endpoint = function() return "ok" end
            local endpoints = { endpoint, { endpoint, priority = 1 }, endpoint }
            local gw = gateway(code or "function P:on_log() end", {
                upstreams = { api = { endpoints = endpoints, balance = balance } },
            })
            local trace, res = ask(gw, { headers = headers })
            return trace.attempts[1].choice, res
        end
        assert.equal("round_robin among 2 of 3 endpoints of priority 0", choice("round_robin"))
        assert.equal("maglev among 2 of 3 endpoints of priority 0, no key", choice { "maglev", by = "header:x-user" })
        assert.equal("maglev by header x-user among 2 of 3 endpoints of priority 0",
            choice({ "maglev", by = "header:X-User" }, nil, { ["x-user"] = "7" }))
        assert.equal("ring_hash by client among 2 of 3 endpoints of priority 0",
            choice { "ring_hash", by = "client" })
        assert.equal("ring_hash by a key of a function among 2 of 3 endpoints of priority 0",
            choice { "ring_hash", by = function() return "k" end })
        assert.equal("the function of `balance` chose it", choice(function() return 2 end))
        assert.equal("a policy chose it", choice("ewma", [[
            function P:on_upstream(req, attempt) attempt.endpoint = "api-2.fake:80" end]]))
        local sticky = { "sticky", cookie = "e", secret = "0123456789abcdef" }
        local first, res = choice(sticky)
        assert.equal("round_robin among 2 of 3 endpoints of priority 0, no cookie", first)
        local cookie = res.headers["set-cookie"]:match "^[^;]+"
        assert.equal("the client's cookie names it", choice(sticky, nil, { cookie = cookie }))
        assert.equal("round_robin among 2 of 3 endpoints of priority 0, the cookie names nobody who can be used",
            choice(sticky, nil, { cookie = "e=somebody" }))
        assert.equal("the only endpoint", ask(gateway "function P:on_log() end").attempts[1].choice)
    end)

    it("tells what limited the choice of an endpoint, and who was left out", function()
        local function trace(upstream, status, count, labels)
            for i, settings in ipairs(upstream.endpoints) do
                settings[1] = function() return test.reply(status) end
                upstream.endpoints[i] = settings
            end
            local gw = gateway("function P:on_log() end", {
                upstreams = { api = upstream },
                routes = { { name = "r", upstream = "api", labels = labels } },
            })
            for _ = 1, count or 0 do
                gw:get "/"
            end
            return (ask(gw))
        end
        local function choice(...)
            return trace(...).attempts[1].choice
        end
        local v1, v2 = { version = "v1" }, { version = "v2" }
        assert.equal("round_robin among 2 of 3 endpoints with version=v2",
            choice({ endpoints = { { labels = v1 }, { labels = v2 }, { labels = v2 } } }, 200, 0, v2))
        local zones = {}
        for i = 1, 6 do
            zones[i] = { zone = i < 6 and "a" or "b" }
        end
        assert.equal("ewma among 5 of 6 endpoints in this zone",
            choice({ balance = "ewma", zone = "a", endpoints = zones }, 200))
        assert.equal("round_robin among 2 of 2 endpoints, the function of `balance` named nobody",
            choice({ endpoints = { {}, {} }, balance = function() end }, 200))
        local retries = { attempts = 1, on = { "5xx" }, backoff = { base = "1ms", max = "1ms" } }
        local again = trace({ endpoints = { {}, {}, {} }, retries = retries }, 500)
        assert.equal("round_robin among 3 of 3 endpoints", again.attempts[1].choice)
        assert.equal("round_robin among 2 of 3 endpoints, without the one before", again.attempts[2].choice)
        assert.equal(json.null, again.choice)
        local outlier = { consecutive_5xx = 1, max_ejection_percent = 100 }
        assert.equal("round_robin among 2 of 2 endpoints, in a panic: too few are available, so all are asked; "
            .. "api.fake:80 is ejected (5xx); api-2.fake:80 is ejected (5xx)",
            choice({ endpoints = { {}, {} }, outlier = outlier }, 500, 2))
        local six = { endpoints = { {}, {}, {}, {}, {}, {} }, outlier = outlier, panic_threshold = "0%" }
        local none = trace(six, 500, 6)
        assert.same({ 503, "UH", 0 }, { none.status, none.flags, #none.attempts })
        assert.matches("^none of 6 endpoints; api.fake:80 is ejected %(5xx%); .*; 2 more cannot be used$", none.choice)
    end)

    it("tells of every hook up to the head of the response, in order", function()
        local gw = gateway [[
            function P:on_request(req) req.headers["x-a"], req.path = "1", "/other" end
            function P:on_request_body(req, chunk) return chunk:upper() end
            function P:on_upstream(req, attempt) req.headers["x-a"] = nil end
            function P:on_response(req, res) res.status = 201 res.headers["x-origin"] = "2" end]]
        local list = decisions((ask(gw, { method = "POST", body = "a" })))
        assert.same({
            { policy = "probe", hook = "on_request", result = "continue", changes = {
                { what = "req.headers.x-a", to = "1" }, { what = "req.path", from = "/", to = "/other" } } },
            { policy = "probe", hook = "on_upstream", result = "continue", changes = {
                { what = "req.headers.x-a", from = "1" } } },
            { policy = "probe", hook = "on_request_body", result = "replace" },
            { policy = "probe", hook = "on_response", result = "continue", changes = {
                { what = "res.headers.x-origin", from = "1", to = "2" },
                { what = "res.status", from = "200", to = "201" } } },
        }, list)
    end)

    it("tells of around() before, between and behind", function()
        local gw = gateway [[
            function P:around(req, next)
                req.path = "/one"
                next(req)
                req.path = "/two"
                local res = next(req)
                res.status = 202
                return res
            end]]
        local trace = ask(gw)
        local list = decisions(trace)
        assert.same({
            { policy = "probe", hook = "around", result = "next", changes = {
                { what = "req.path", from = "/", to = "/one" } } },
            { policy = "probe", hook = "around", result = "next", changes = {
                { what = "req.path", from = "/one", to = "/two" } } },
            { policy = "probe", hook = "around", result = "return", changes = {
                { what = "res.status", from = "200", to = "202" } } },
        }, list)
        assert.equal(2, #trace.attempts)
        assert.equal(202, trace.status)
    end)

    for _, case in ipairs {
        { "an answer", "do return perigee.reply(403) end", { result = "answer", status = 403 }, 403 },
        { "a failure", "do return nil, 'no\\nway' end", { result = "fail", message = "no" }, 503 },
    } do
        for _, hook in ipairs { "on_request(req)", "on_upstream(req)", "on_response(req, res)", "around(req, next)" } do
            it("tells of " .. case[1] .. " of " .. hook, function()
                local trace, res = ask((gateway("function P:" .. hook .. " " .. case[2] .. " end")))
                local decision = trace.decisions[1]
                assert.same(case[3], { result = decision.result, status = decision.status, message = decision.message })
                assert.same({ case[4], case[4] }, { trace.status, res.status })
            end)
        end
    end

    it("tells of an error with its place, and no traceback", function()
        local trace = ask((gateway "function P:on_request(req)\n error 'no' end"))
        assert.equal("policies/probe/init.lua:4: no", trace.decisions[1].message)
        assert.same({ 503, "policy_failed" }, { trace.status, trace.error })
    end)

    it("tells whether a condition holds", function()
        local policies = {
            { "probe", when = { path = "/a" } }, { "probe", when = function() return true end },
            { "probe", when = function() error "no" end, on_failure = "open" },
        }
        local list = decisions((ask((gateway("function P:on_request() end", { policies = policies })))))
        assert.same({ "when skip", "when holds", "on_request continue", "when fail" }, {
            list[1].hook .. " " .. list[1].result, list[2].hook .. " " .. list[2].result,
            list[3].hook .. " " .. list[3].result, list[4].hook .. " " .. list[4].result,
        })
    end)

    it("tells what a dry run would have done", function()
        local code = "function P:on_request(req) req.path = '/x' return perigee.reply(401) end"
        local list = decisions((ask((gateway(code, { policies = { { "probe", dry_run = true } } })))))
        assert.same({ {
            policy = "probe", hook = "on_request", result = "continue", dry_run = true,
            would = { status = 401, changes = { { what = "req.path", from = "/", to = "/x" } } },
        } }, list)
    end)

    it("tells of handlers and target functions", function()
        local gw = gateway("function P:on_request() end", { policies = {}, routes = {
            { match = { path = "/handler" }, handler = function() return require("perigee").reply(202) end },
            { match = { path = "/broken" }, handler = function() return 7 end },
            { match = { path = "/target" }, upstream = function() return "api" end },
            { match = { path = "/nowhere" }, upstream = function() return "absent" end },
        } })
        local list = decisions((ask(gw, { path = "/handler" })))
        assert.same({ { hook = "handler", result = "answer", status = 202 } }, list)
        assert.equal("fail", ask(gw, { path = "/broken" }).decisions[1].result)
        list = decisions((ask(gw, { path = "/target" })))
        assert.same({ { hook = "target", result = "choose", upstream = "api" } }, list)
        assert.equal(500, ask(gw, { path = "/nowhere" }).status)
    end)

    it("tells of a request without a route, and of upstreams that do not answer", function()
        local gw = gateway("function P:on_request() end", {
            upstreams = {
                api = test.fail.refuse,
                slow = { endpoints = { test.fail.hang }, timeouts = { request = "1s" } },
            },
            routes = {
                { match = { path = "/a" }, upstream = "api" }, { match = { path = "/slow" }, upstream = "slow" },
            },
        })
        local trace = ask(gw, { path = "/b" })
        assert.same({ json.null, 404, "no_route" }, { trace.route, trace.status, trace.error })
        trace = ask(gw, { path = "/a" })
        assert.same({ 503, "connect_failed", "connect_failed" }, { trace.status, trace.error, trace.attempts[1].error })
        trace = ask(gw, { path = "/slow" })
        assert.same({ 504, "upstream_timeout" }, { trace.status, trace.attempts[1].error })
    end)

    it("shows no secrets", function()
        local code = "function P:on_request(req) "
        for _, name in ipairs {
            "authorization", "proxy-authorization", "cookie", "x-api-key", "x-auth-user", "x-amz-security-token",
            "my-password",
        } do
            code = code .. ("req.headers['%s'] = 'hunter2' "):format(name)
        end
        code = code .. "req.query = 'a=1&api_key=hunter2' end function P:on_response(req, res) "
            .. "res.headers['set-cookie'] = 'hunter2' end"
        local trace, res = ask((gateway(code)))
        assert.is_nil(res.headers["x-perigee-explain"]:find("hunter2", 1, true))
        assert.equal(8, #trace.decisions[1].changes)
    end)

    it("leaves out what has no room in a header", function()
        local trace = ask((gateway [[
            function P:on_request(req) for i = 1, 60 do req.headers["x-" .. i] = ("v"):rep(400) end end]]))
        assert.same({ true, json.null, 200 }, { trace.cut, trace.decisions, trace.status })
    end)

    it("goes on when there are more decisions than are kept", function()
        local trace = ask((gateway [[
            function P:on_request(req) req.headers["x-a"] = ("v"):rep(400) end
            function P:on_request_body(req, chunk) return chunk end]]), {
            method = "POST", chunks = (function()
                local chunks = {}
                for i = 1, 2000 do
                    chunks[i] = "x"
                end
                return chunks
            end)(),
        })
        assert.equal(200, trace.status)
    end)

    it("holds bytes that are no text", function()
        local trace = ask((gateway "function P:on_request(req) req.headers['x-a'] = 'caf\\233 ü' end"))
        assert.equal("req.headers.x-a", trace.decisions[1].changes[1].what)
    end)
end)

describe("the token", function()
    local gw

    before_each(function()
        gw = gateway "function P:on_request(req) req.headers['x-seen'] = req.headers['x-perigee-explain'] or 'none' end"
    end)

    local function upstream_saw()
        local seen = gw.upstreams.api.requests[#gw.upstreams.api.requests].headers
        assert.is_nil(seen["x-perigee-explain"])
        return seen["x-seen"]
    end

    it("reaches neither policies nor upstreams", function()
        ask(gw)
        assert.equal("none", upstream_saw())
    end)

    for _, value in ipairs { "wrong", "", TOKEN .. "x", TOKEN:sub(1, -2), TOKEN:upper() } do
        it("gives nothing away when it is '" .. value .. "'", function()
            local res = gw:get("/", { headers = { ["X-Perigee-Explain"] = value } })
            assert.same({ 200, nil }, { res.status, res.headers["x-perigee-explain"] })
            assert.equal("none", upstream_saw())
        end)
    end

    it("counts once only", function()
        local res = gw:get("/", { headers = { ["x-perigee-explain"] = { TOKEN, TOKEN } } })
        assert.is_nil(res.headers["x-perigee-explain"])
        assert.equal("none", upstream_saw())
    end)

    it("is not asked for without the setting: the header is one like any other", function()
        local plain = test.gateway {}
        local res = plain:get("/", { headers = { ["x-perigee-explain"] = TOKEN } })
        assert.is_nil(res.headers["x-perigee-explain"])
        assert.equal(TOKEN, plain.upstreams.api.requests[1].headers["x-perigee-explain"])
    end)

    it("replaces what the upstream says under that name", function()
        gw = gateway("function P:on_request() end", { upstreams = { api = function()
            return test.reply(200, "", { ["x-perigee-explain"] = "forged" })
        end } })
        local trace, res = ask(gw)
        assert.equal(200, trace.status)
        assert.equal(1, #res.headers:all "x-perigee-explain")
    end)

    it("must be long enough, and is shown in no error", function()
        local errors = test.errors { explain = { token = "hunter2" } }
        assert.equal("explain.token", errors[1].path)
        assert.is_nil(errors[1].message:find("hunter2", 1, true))
        assert.equal(1, #test.errors { explain = {} })
    end)

    it("changes with a reload", function()
        assert.is_true(gw:reload { explain = { token = "another-token-of-length" } })
        local res = gw:get("/", { headers = { ["x-perigee-explain"] = TOKEN } })
        assert.is_nil(res.headers["x-perigee-explain"])
    end)
end)
