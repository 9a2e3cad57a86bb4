-- SPDX-License-Identifier: MIT
--
-- Every way in which an exchange may end, at every place where a policy may wait: where the filter chains of other proxies used
-- freed memory (CVE-2026-47204, -47205, -47207, -47221). The table is made to be run under AddressSanitizer:
-- make asan T=spec/contract/lifecycle_spec.lua

local lifecycle = require "spec.support.lifecycle"
local perigee = require "perigee"
local test = require "perigee.test"

local HOOKS = {
    "on_request", "on_request_body", "on_upstream", "on_response", "on_response_body", "on_log", "around, before next",
    "around, after next", "handler", "target", "when", "a task",
}
local WAITS = { "sleep", "http.fetch for a head", "http.fetch for a body", "task", "body:read" }

local ENDINGS = {}
for name in pairs(lifecycle.endings) do
    ENDINGS[#ENDINGS + 1] = name
end
table.sort(ENDINGS)

-- Hooks and waits that go together.
local function places()
    local list = { { "around, in next", "none" } }
    for _, hook in ipairs(HOOKS) do
        for _, wait in ipairs(WAITS) do
            if hook ~= "on_log" or wait ~= "body:read" then
                list[#list + 1] = { hook, wait }
            end
        end
    end
    for i = 1, 4 do
        list[#list + 1] = { "a timer", WAITS[i] }
    end
    return list
end

for _, place in ipairs(places()) do
    local hook, wait = place[1], place[2]
    describe(hook .. " that waits for " .. wait, function()
        for _, ending in ipairs(ENDINGS) do
            for _, logs in ipairs { true, false } do
                it("outlives " .. ending .. (logs and "" or ", without on_log"), function()
                    local run = lifecycle.run { hook = hook, wait = wait, ending = ending, logs = logs }
                    assert.is_true(run.entered >= 1)
                    lifecycle.check_outcome(run)
                    lifecycle.check(run)
                end)
            end
        end
    end)
end

describe("what a hook decides after it waited", function()
    local DECIDERS = {
        "on_request", "on_request_body", "on_upstream", "on_response", "on_response_body", "around, before next",
        "around, after next", "handler",
    }
    local BEFORE = { "nothing", "the client breaks off", "the upstream breaks off", "a reload", "a drain", "a stop" }

    -- Status of the answer when the exchange is still under way: what the hook decided counts before the head is sent.
    local function status_of(hook, decision)
        if decision == "reply" then
            return 418
        end
        return hook == "handler" and 500 or 503
    end

    for _, hook in ipairs(DECIDERS) do
        for _, decision in ipairs { "reply", "error", "message" } do
            for _, wait in ipairs { "none", "sleep" } do
                for _, ending in ipairs(BEFORE) do
                    for _, logs in ipairs { true, false } do
                        local name = ("%s, %s after %s, with %s%s"):format(
                            hook, decision, wait, ending, logs and "" or ", without on_log")
                        it(name, function()
                            local run = lifecycle.run {
                                hook = hook, wait = wait, ending = ending, decision = decision, logs = logs,
                            }
                            lifecycle.check(run)
                            if run.status and not run.is_head_sent and run.is_decided and run.woke == 1 then
                                local expected = hook == "on_response_body" and 200 or status_of(hook, decision)
                                assert.equal(expected, run.status)
                            end
                        end)
                    end
                end
            end
        end
    end
end)

describe("the end comes in every turn of the loop", function()
    local TURNS = 40
    local PLACES = {
        { "on_request", "http.fetch" }, { "on_request_body", "http.fetch" }, { "on_upstream", "http.fetch" },
        { "on_response", "http.fetch" }, { "on_response_body", "http.fetch" }, { "on_log", "http.fetch" },
        { "around, before next", "http.fetch" }, { "around, in next", "none" }, { "around, after next", "http.fetch" },
        { "handler", "http.fetch" }, { "target", "http.fetch" }, { "a task", "http.fetch" },
        { "a timer", "http.fetch" },
        { "on_request", "body:read" }, { "on_response", "body:read" }, { "a task", "body:read" }, { "when", "none" },
    }
    local SUDDEN = {
        "the client breaks off", "the client ends its direction", "the client closes", "the upstream breaks off",
        "the upstream closes", "a reload", "a drain", "a stop",
    }

    for _, place in ipairs(PLACES) do
        for _, ending in ipairs(SUDDEN) do
            it(("of %s with %s: %s"):format(place[1], place[2], ending), function()
                for turns = 0, TURNS do
                    local run = lifecycle.run {
                        hook = place[1], wait = place[2], ending = ending, logs = turns % 2 == 0, turns = turns,
                    }
                    lifecycle.check(run)
                    run.gw:close()
                    if run.is_at_rest then
                        break
                    end
                end
            end)
        end
    end
end)

describe("a limit of time", function()
    it("of the upstream is lifted by a route that says 0s", function()
        local gw = test.gateway {
            upstreams = { api = {
                endpoints = { function() perigee.sleep(3) return "late" end }, timeouts = { request = "1s" },
            } },
            routes = {
                { match = { path = "/patient" }, upstream = "api", timeouts = { request = "0s" } },
                { match = { path = "/*" }, upstream = "api" },
            },
        }
        assert.equal("late", gw:get("/patient").body)
        assert.response(gw:get("/")).is.problem(504)
    end)

    it("ends a client that has ended its direction when nothing comes for it", function()
        local gw = test.gateway { upstreams = { api = test.fail.hang } }
        local client = gw:send {}
        client:finish()
        gw:advance(4.9)
        assert.is_false(client:done())
        gw:advance(0.2)
        assert.is_true(client:done())
        assert.equal(0, gw.open().exchanges)
        client:abort()
    end)

    it("does not end it while it is being answered", function()
        local function api()
            return test.stream { "a", 4, "b", 4, "c", 4, "d" }
        end
        local gw = test.gateway { upstreams = { api = api } }
        local client = gw:send {}
        client:finish()
        assert.equal("abcd", client:wait().body)
    end)
end)

-- A policy whose hooks are functions of the test.
local function gateway_with(hooks, config)
    local text = { [[
        local perigee = require "perigee"
        local Probe = perigee.policy {
            name = "probe", stage = "auth",
            schema = { hooks = { type = "map", values = "function", required = true, doc = "What they do." } },
        }]] }
    for name in pairs(hooks) do
        text[#text + 1] = ("function Probe:%s(...) return self.conf.hooks.%s(...) end"):format(name, name)
    end
    text[#text + 1] = "return Probe"
    config.policies = { { "probe", hooks = hooks } }
    return test.gateway(config, { files = { ["policies/probe/init.lua"] = table.concat(text, "\n") } })
end

describe("a body that a script reads in a task", function()
    local function read_in_a_task(is_response, wait)
        local got = {}
        local function hook(req, res)
            perigee.spawn(function() got[1], got[2] = (res or req).body:read() end)
            if wait then
                perigee.sleep(wait)
            end
        end
        local gw = gateway_with({ [is_response and "on_response" or "on_request"] = hook }, {
            upstreams = { api = function(req) return test.stream { "you ", 1, "sent ", 1, req.body } end },
        })
        local client = gw:raw "POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 10\r\n\r\nhello"
        gw:advance(1)
        client:write "world"
        gw:advance(10)
        return got, client:read()
    end

    it("is whole, and passed on whole, on its way to the upstream", function()
        local got, bytes = read_in_a_task(false, 0.5)
        assert.same({ "helloworld" }, got)
        assert.truthy(bytes:find("helloworld", 1, true), bytes)
    end)

    it("is whole, and passed on whole, on its way to the client", function()
        local got, bytes = read_in_a_task(true, 0.5)
        assert.same({ "you sent helloworld" }, got)
        assert.truthy(bytes:find("helloworld", 1, true), bytes)
    end)

    it("is whole while around() waits for it too, whatever the limit of each", function()
        local got = {}
        local function read(name, limit)
            return function(req) got[name] = { req.body:read(limit) } end
        end
        local gw = gateway_with({
            around = function(req, next)
                perigee.spawn(read("large", 100), req)
                perigee.spawn(read("small", 3), req)
                perigee.sleep(0.5)
                return next(req)
            end,
        }, { upstreams = { api = function(req) return req.body end } })
        local client = gw:raw "POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n"
        gw:advance(1)
        client:write "5\r\nworld\r\n0\r\n\r\n"
        assert.truthy(client:read():find("helloworld", 1, true))
        assert.same({ "helloworld" }, got.large)
        assert.same({ nil, "The request body is too large." }, got.small)
    end)

    it("cannot be had once it is on its way", function()
        local got, bytes = read_in_a_task(false)
        assert.same({ nil, "it is too late: it has been sent on, or it is not there yet" }, got)
        assert.truthy(bytes:find("helloworld", 1, true), bytes)
    end)
end)

describe("what comes too late", function()
    local LATE = "it is too late: it has been sent on, or it is not there yet"

    it("is a body that a hook sets while it sees the first chunk", function()
        local message
        local gw = gateway_with({
            on_request_body = function(req)
                if not message then
                    message = select(2, pcall(function() req.body:set "x" end))
                end
            end,
        }, { upstreams = { api = function(req) return req.body end } })
        for _ = 1, 2 do -- on the same connection to the upstream
            assert.equal("a long body", gw:post("/", { body = "a long body" }).body)
        end
        assert.truthy(message:find(LATE, 1, true), message)
    end)

    it("is an upstream that is chosen when the attempt has begun", function()
        local problem
        local function answer(name)
            return function() perigee.sleep(2) return name end
        end
        local gw = gateway_with({
            on_upstream = function(_, attempt)
                perigee.spawn(function()
                    perigee.sleep(1)
                    problem = select(2, pcall(function() attempt.upstream = "other" end))
                end)
            end,
        }, {
            upstreams = { api = answer "api", other = answer "other" },
            routes = { { match = { path = "/*" }, upstream = "api" } },
        })
        assert.equal("api", gw:get("/").body)
        assert.truthy(problem:find(LATE, 1, true), problem)
    end)

    it("is a body set by a task when the head of the request has left", function()
        local message
        local gw = gateway_with({
            on_request = function(req)
                perigee.spawn(function()
                    perigee.sleep(1)
                    message = select(2, pcall(function() req.body:set "x" end))
                end)
            end,
        }, { upstreams = { api = function(req) return req.body end } })
        local client = gw:raw "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n"
        gw:advance(2)
        client:write "helloworld"
        assert.truthy(client:read():find("helloworld", 1, true))
        assert.truthy(message:find(LATE, 1, true), message)
    end)
end)

describe("a task that was kept beyond its exchange", function()
    it("is cancelled, also when another task has its place", function()
        local kept, other, message
        local gw = test.gateway { routes = {
            { match = { path = "/keep" }, handler = function()
                kept = perigee.spawn(function() perigee.sleep(100) end)
                return perigee.reply(200)
            end },
            { match = { path = "/use" }, handler = function()
                other = perigee.spawn(function() perigee.sleep(2) return "the other one" end)
                message = select(2, kept:wait())
                kept:cancel()
                return perigee.reply(200, (other:wait()))
            end },
        } }
        gw:get "/keep"
        assert.equal("the other one", gw:get("/use").body)
        assert.equal("cancelled", message)
    end)
end)

describe("around", function()
    -- What the upstream got, when the hook of the body is beside an around() that asks `times` times.
    local function gateway_about(on_request_body, times)
        return gateway_with({
            around = function(req, next)
                local res
                for _ = 1, times do
                    res = next(req)
                end
                return res
            end,
            on_request_body = on_request_body,
        }, { upstreams = { api = function(req) return req.body end } })
    end

    it("leaves the request's body to the hooks, once for all attempts", function()
        for _, wait in ipairs { 0, 1 } do
            local calls = 0
            local gw = gateway_about(function(_, chunk)
                calls = calls + 1
                if wait > 0 then
                    perigee.sleep(wait)
                end
                return chunk:upper() .. "!"
            end, 3)
            assert.equal("ABC!", gw:post("/", { body = "abc" }).body)
            assert.equal(1, calls)
            assert.equal(3, #gw.upstreams.api.requests)
            assert.equal("ABC!", gw.upstreams.api.requests[3].body)
        end
    end)

    it("lets no body pass that its hook refuses", function()
        for _, wait in ipairs { 0, 1 } do
            for decision, status in pairs { error = 503, reply = 418 } do
                local gw = gateway_about(function()
                    if wait > 0 then
                        perigee.sleep(wait)
                    end
                    if decision == "error" then
                        error "no"
                    end
                    return perigee.reply(418)
                end, 2)
                assert.response(gw:post("/", { body = "abc" })).has.status(status)
                assert.same({}, gw.upstreams.api.requests)
            end
        end
    end)

    it("gives a body of many pieces to the hooks as it came", function()
        local seen = {}
        local gw = gateway_about(function(_, chunk, last) seen[#seen + 1] = #chunk .. tostring(last) end, 2)
        local body = ("0123456789"):rep(10000)
        assert.equal(body, gw:post("/", { body = body }).body)
        assert.truthy(seen[#seen]:find("true", 1, true))
    end)

    it("asks again after a response that broke off while it was read", function()
        local count = 0
        local gw = gateway_with({
            around = function(req, next)
                local res = next(req)
                if not res.body:read() then
                    res = next(req)
                end
                return res
            end,
        }, { upstreams = { api = function()
            count = count + 1
            return count == 1 and test.stream { "half", test.fail.reset } or test.stream { "who", 1, "le" }
        end } })
        assert.equal("whole", gw:get("/").body)
    end)
end)

describe("a reload", function()
    it("ends the fetches of timers, also when there is always one under way", function()
        local function fetch_for_ever()
            while true do
                perigee.http.fetch("http://slow.test/", { timeout = 10 })
            end
        end
        local gw = gateway_with({
            init = function()
                perigee.timer.after(0, fetch_for_ever)
                perigee.timer.after(1, fetch_for_ever)
            end,
            on_log = function() end,
        }, { hosts = { ["slow.test"] = function() perigee.sleep(1.5) return "slow" end } })
        gw:advance(10)
        assert.equal(2, gw.open().coroutines - 2) -- of the fetches; those of the fakes apart
        assert(gw:reload {})
        assert.equal(2, gw.open().generations)
        assert.equal(0, gw.open().exchanges)
        assert.equal(0, gw.open().tasks)
    end)
end)
