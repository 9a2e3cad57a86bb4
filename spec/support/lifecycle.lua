-- SPDX-License-Identifier: MIT
--
-- One exchange that waits at one place while something ends: the cells of spec/contract/lifecycle_spec.lua. A cell says which
-- hook waits and for what, and what ends meanwhile; what ought to come of it follows from what was there at that moment.

local assert = require "luassert"
local perigee = require "perigee"
local test = require "perigee.test"
local testing = require "perigee._core.testing"
local world = require "perigee.test.world"

local lifecycle = {}

local NAP = 3 -- seconds that whatever waits waits for
local PAUSE = 4 -- seconds between the halves of what comes in halves; less than a half-closed client is waited for
local QUICK = { ["x-quick"] = "1" } -- a request that nothing holds up

---@class lifecycle.Cell
---@field hook string
---@field wait string
---@field ending? string
---@field decision? string what the hook returns afterwards: "reply", "error", "message"; nothing by default
---@field logs? boolean the policy has on_log too
---@field before? table use of a policy that comes before it
---@field turns? integer turns of the loop before the end comes; by default all until everything waits

-- ---------------------------------------------------------------- what the hooks do

local waits = {
    none = function() end,
    sleep = function() perigee.sleep(NAP) end,
    ["http.fetch for a head"] = function() perigee.http.fetch("http://silent.test/", { timeout = NAP }) end,
    ["http.fetch for a body"] = function() perigee.http.fetch("http://slow.test/", { timeout = NAP }) end,
    ["http.fetch"] = function() assert(perigee.http.fetch("http://quick.test/")) end,
    task = function() perigee.spawn(function() perigee.sleep(NAP) end):wait() end,
    ["body:read"] = function(run, req, res)
        run.read, run.problem = (res or req).body:read()
    end,
}

local decisions = {
    reply = function() return perigee.reply(418, "teapot") end,
    error = function() error "the hook fails" end,
    message = function() return nil, "the hook refuses" end,
}

-- Keeps what a policy should not keep.
local function keep(run, req, more)
    if not req then
        return
    end
    run.kept[#run.kept + 1] = function() return req.path end
    local headers, body = req.headers, req.body
    run.kept[#run.kept + 1] = function() return headers:get("x-quick") end
    run.kept[#run.kept + 1] = function() return body:read() end
    run.kept[#run.kept + 1] = function() req.path = "/stolen" end
    run.kept[#run.kept + 1] = function() return req.ctx end
    if type(more) == "table" then
        run.kept[#run.kept + 1] = function() return more.status or more.endpoint or more.upstream end
    end
end

-- The hook of the cell has come to its place.
local function stay(run, req, res, more)
    run.entered = run.entered + 1
    keep(run, req, more or res)
    waits[run.cell.wait](run, req, res)
    run.woke = run.woke + 1
    local decide = decisions[run.cell.decision]
    if decide then
        run.is_decided = true
        return decide()
    end
end

local function is_quick(req)
    return req.headers["x-quick"] ~= nil
end

-- What the hook `where` of the policy does.
local places = {}

function places.on_request(run, req)
    if run.cell.hook == "a task" then
        perigee.spawn(function() return stay(run, req) end)
    elseif run.cell.hook == "on_request" then
        return stay(run, req)
    end
end

function places.on_request_body(run, req)
    if run.entered == 0 then
        return stay(run, req)
    end
end

function places.on_upstream(run, req, attempt)
    return stay(run, req, nil, attempt)
end

function places.on_response(run, req, res)
    return stay(run, req, res)
end

function places.on_response_body(run, req, res)
    if run.entered == 0 then
        return stay(run, req, res)
    end
end

function places.on_log(run, req)
    run.logged = run.logged + 1
    if run.cell.hook == "on_log" then
        return stay(run, req)
    end
end

function places.around(run, req, next_layer)
    if run.cell.hook == "around, before next" then
        local answer, message = stay(run, req)
        if answer or message then
            return answer, message
        end
        return next_layer(req)
    end
    if run.cell.hook == "around, in next" then
        run.entered = run.entered + 1
    end
    local res = next_layer(req)
    if run.cell.hook == "around, after next" then
        local answer, message = stay(run, req, res)
        if answer or message then
            return answer, message
        end
    end
    return res
end

-- ---------------------------------------------------------------- the gateway

local HOOK = {
    ["around, before next"] = "around", ["around, in next"] = "around", ["around, after next"] = "around",
    ["a task"] = "on_request", when = "on_request", ["a timer"] = "init", handler = false, target = false,
}
local ARGUMENTS = {
    on_request = "req", on_request_body = "req, chunk, last", on_upstream = "req, attempt", on_response = "req, res",
    on_response_body = "req, res, chunk, last", on_log = "req, res", around = "req, next",
}

local function policy_text(cell)
    local hook = HOOK[cell.hook]
    hook = hook == nil and cell.hook or hook
    local out = { [[
        local perigee = require "perigee"
        local Probe = perigee.policy {
            name = "probe", stage = "auth",
            schema = { at = { type = "function", required = true, doc = "What a hook does." } },
        }
        function Probe:save() return { saved = true } end
        function Probe:restore(state) assert(state.saved) end]] }
    for _, name in ipairs { hook or "on_log", cell.logs and "on_log" or nil } do
        local arguments = ARGUMENTS[name]
        if arguments then
            out[#out + 1] = ("function Probe:%s(%s) return self.conf.at('%s', %s) end"):format(
                name, arguments, name, arguments)
        else
            out[#out + 1] = "function Probe:init() return self.conf.at('init') end function Probe:on_log() end"
        end
    end
    out[#out + 1] = "return Probe"
    return table.concat(out, "\n")
end

-- The setting `at` of the policy: hooks of quick requests do nothing.
local function dispatcher(run)
    return function(where, req, a, b)
        if where == "init" then
            perigee.timer.after(0, function() return stay(run) end)
        elseif not is_quick(req) then
            return places[where](run, req, a, b)
        elseif where == "around" then
            return a(req)
        end
    end
end

local function route_of(run)
    local cell, probe = run.cell, { "probe", at = dispatcher(run) }
    local route = {
        name = "cell", match = { path = "/cell" }, policies = cell.before and { cell.before, probe } or { probe },
        upstream = "api",
        timeouts = cell.ending == "the upstream's head is late" and { request = "1s" } or nil,
    }
    if cell.hook == "handler" then
        route.upstream = nil
        route.handler = function(req)
            if not is_quick(req) then
                local answer, message = stay(run, req)
                if answer or message then
                    return answer, message
                end
            end
            return perigee.reply(200, "handled")
        end
    elseif cell.hook == "target" then
        route.upstream = function(req)
            if not is_quick(req) then
                stay(run, req)
            end
            return "api"
        end
    elseif cell.hook == "when" then
        probe.when = function(req)
            if not is_quick(req) and run.entered == 0 then
                stay(run, req)
            end
            return true
        end
    end
    return route
end

-- The upstream sends half of its response at once and the rest later.
local function api_of(cell)
    return function(req)
        if req.headers["x-quick"] or req.path == "/plain" then
            return "plain"
        elseif cell.ending == "the upstream's head is late" then
            return test.fail.hang
        end
        return test.stream { "one", PAUSE, "two" }
    end
end

local function config_of(run)
    local ending = run.cell.ending
    return {
        listeners = { { address = "127.0.0.1:8080", timeouts = {
            stream_idle = ending == "nothing moves for too long" and "2s" or nil,
            request = ending == "the request is late" and "2s" or nil,
        } } },
        upstreams = { api = {
            endpoints = { api_of(run.cell) },
            timeouts = { idle = ending == "the upstream falls silent" and "2s" or nil },
        } },
        hosts = {
            ["silent.test"] = test.fail.hang,
            ["slow.test"] = function() return test.stream { "half", 1000, "half" } end,
            ["quick.test"] = function() return "quick" end,
        },
        routes = { route_of(run), { name = "plain", match = { path = "/plain" }, upstream = "api" } },
    }
end

-- ---------------------------------------------------------------- the run

local LATE = { on_response = true, on_response_body = true, ["around, after next"] = true, on_log = true }

-- Does the client send only half of its request's body at first?
local function has_open_body(cell)
    return cell.hook == "on_request_body" or (cell.wait == "body:read" and not LATE[cell.hook])
end

local function api_connections(gw)
    local list = {}
    for _, connection in ipairs(gw.connections) do
        if connection.fake.name == "api" then
            list[#list + 1] = connection
        end
    end
    return list
end

local function break_upstreams(how)
    return function(run)
        for _, connection in ipairs(api_connections(run.gw)) do
            connection.raw[how](connection.raw)
        end
    end
end

lifecycle.endings = {
    ["nothing"] = function() end,
    ["the client breaks off"] = function(run) run.client.raw:reset() run.is_client_gone = true end,
    ["the client ends its direction"] = function(run) run.client.raw:shutdown() end,
    ["the client closes"] = function(run) run.client.raw:close() run.is_client_gone = true end,
    ["the upstream breaks off"] = break_upstreams "reset",
    ["the upstream closes"] = break_upstreams "close",
    ["the upstream's head is late"] = function() end, -- the configuration has a timeout for it; time passes anyway
    ["the upstream falls silent"] = function() end,
    ["nothing moves for too long"] = function() end,
    ["the request is late"] = function(run) run.is_rest_late = true end,
    ["a reload"] = function(run) assert(run.gw:reload(config_of(run), run.options)) end,
    ["a drain"] = function(run) run.gw:drain(40) end,
    ["a drain that takes too long"] = function(run) run.gw:drain(1) end,
    ["a stop"] = function(run) run.gw:stop() end,
}

local function start(cell)
    local run = { cell = cell, entered = 0, woke = 0, logged = 0, kept = {} }
    run.options = { files = { ["policies/probe/init.lua"] = policy_text(cell) } }
    run.gw = test.gateway(config_of(run), run.options)
    run.client = run.gw:raw()
    run.client.raw:write(has_open_body(cell)
        and "POST /cell HTTP/1.1\r\nhost: test\r\ncontent-length: 10\r\n\r\nhello"
        or "GET /cell HTTP/1.1\r\nhost: test\r\n\r\n")
    return run
end

-- The state of things when the end comes: what ought to follow depends on it.
local function look(run)
    run.client:_serve()
    run.is_head_sent = run.client.arrived ~= ""
    run.is_whole = run.client.arrived:find("\r\n0\r\n\r\n", 1, true) ~= nil
    run.has_upstream = false
    for _, connection in ipairs(api_connections(run.gw)) do
        run.has_upstream = run.has_upstream or connection.is_busy or not connection.raw:is_ended()
    end
end

local function lead(run)
    local turns, n = run.cell.turns, 0
    if not turns then
        world.settle()
        if run.cell.hook == "on_log" then
            run.gw:advance(PAUSE) -- until the response is whole
        end
        return
    end
    if turns > 0 then
        world.settle(function()
            n = n + 1
            return n >= turns
        end)
    end
    run.is_at_rest = n < turns
end

local function parse(run)
    local bytes = run.client:read()
    local head, body = bytes:match("^(.-\r\n)\r\n(.*)$")
    run.bytes, run.status = bytes, tonumber(bytes:match("^HTTP/1.1 (%d+)"))
    local length = head and tonumber(head:match("content%-length: (%d+)"))
    if not head then
        run.end_of_response = "none"
    elseif length then
        run.end_of_response = #body == length and "whole" or "cut"
    else
        run.end_of_response = body:find("\r\n0\r\n\r\n$") and "whole" or "cut"
    end
end

--- Runs a cell to its end.
---@param cell lifecycle.Cell
---@return table run
function lifecycle.run(cell)
    local run = start(cell)
    lead(run)
    look(run)
    lifecycle.endings[cell.ending or "nothing"](run)
    if cell.ending ~= "a stop" then
        run.gw:advance(PAUSE)
        if has_open_body(cell) and not run.is_client_gone then
            run.client.raw:write("world")
        end
        run.gw:advance(60)
    end
    world.settle()
    if run.is_client_gone then
        run.client:read() -- what had come before it left
        run.end_of_response, run.bytes = "none", ""
    else
        parse(run)
    end
    return run
end

-- ---------------------------------------------------------------- what ought to be

local HANDLES = { ["used after its exchange ended"] = true }

--- Nothing is left of the exchange.
function lifecycle.check_released(run)
    local open, left = run.gw.open(), {}
    for _, kind in ipairs { "exchanges", "slots", "coroutines", "tasks" } do
        if open[kind] ~= 0 then
            left[#left + 1] = open[kind] .. " " .. kind
        end
    end
    local generations = run.cell.ending == "a stop" and 1 or 2 -- one is the kit's own
    if open.generations ~= generations then
        left[#left + 1] = open.generations .. " generations instead of " .. generations
    end
    assert.equal("", table.concat(left, ", "))
end

--- The end was logged and counted, once.
function lifecycle.check_logged(run)
    local cell = run.cell
    if (cell.logs or cell.hook == "on_log") and not cell.turns then
        assert.equal(1, run.logged, "calls of on_log")
    end
    assert.is_true(run.logged <= 1, "on_log was called " .. run.logged .. " times")
    if not cell.turns then
        local count = 0
        for name, value in pairs(run.gw:metrics()) do
            if name:find("^perigee_requests_total{") and name:find('route="cell"', 1, true) then
                count = count + value
            end
        end
        assert.equal(1, count, "requests counted")
    end
end

-- Raises what is wrong when something that a policy kept still works.
local function check_kept(run)
    for i, use in ipairs(run.kept) do
        local ok, message = pcall(use)
        if ok or not message:find(next(HANDLES), 1, true) then
            error("handle " .. i .. " outlived its exchange: " .. tostring(message), 0)
        end
    end
end

--- What the policy kept is of no use, also while another exchange is in the same place; later requests are served.
function lifecycle.check_later(run)
    check_kept(run)
    if run.cell.ending == "a stop" or run.cell.ending == "a drain that takes too long" then
        run.gw = test.gateway {}
        assert.equal("ok", run.gw:get("/").body)
        return
    end
    for _, path in ipairs { "/plain", "/cell" } do
        assert.response(run.gw:get(path, { headers = QUICK })).has.status(200)
    end
    local is_checked
    assert(run.gw:reload({
        routes = { { handler = function()
            check_kept(run)
            is_checked = true
            return perigee.reply(200)
        end } },
    }))
    assert.response(run.gw:get("/")).has.status(200)
    assert.is_true(is_checked)
end

-- Is the head of the response sent while the hook waits?
local function is_head_first(cell)
    return cell.hook == "on_response_body" or cell.hook == "around, in next" or cell.hook == "a timer"
        or cell.hook == "on_log" or (cell.hook == "a task" and cell.wait ~= "body:read")
end

local function upstream_outcome(run)
    if run.is_whole or not run.has_upstream then
        return 200, "whole"
    elseif run.is_head_sent then
        return 200, "cut"
    end
    return 502, "whole"
end

local outcomes = {}

outcomes["the client breaks off"] = function() return nil, "none" end
outcomes["the client closes"] = outcomes["the client breaks off"]
outcomes["the client ends its direction"] = function(run)
    if has_open_body(run.cell) then
        return nil, "none"
    end
    return 200, "whole"
end
outcomes["the upstream breaks off"] = upstream_outcome
outcomes["the upstream closes"] = upstream_outcome
outcomes["the upstream's head is late"] = function(run)
    return run.cell.hook == "handler" and 200 or 504, "whole"
end
outcomes["the upstream falls silent"] = function(run)
    if run.cell.hook == "handler" then
        return 200, "whole"
    elseif run.cell.wait == "body:read" and LATE[run.cell.hook] and run.cell.hook ~= "on_response_body" then
        return 504, "whole"
    end
    return 200, "cut"
end
outcomes["nothing moves for too long"] = function(run)
    if is_head_first(run.cell) then
        return 200, "cut"
    end
    return 408, "whole"
end
outcomes["the request is late"] = function(run)
    return has_open_body(run.cell) and 408 or 200, "whole"
end
outcomes["a stop"] = function(run)
    if run.is_whole then
        return 200, "whole"
    elseif run.is_head_sent then
        return 200, "cut"
    end
    return nil, "none"
end
outcomes["a drain that takes too long"] = outcomes["a stop"]

--- Whoever is still there got what is right.
function lifecycle.check_outcome(run)
    local expect = outcomes[run.cell.ending]
    local status, how = 200, "whole"
    if expect then
        status, how = expect(run)
    end
    local got = { status = run.status, response = run.end_of_response }
    assert.same({ status = status, response = how }, got, run.bytes)
end

--- All that holds for every cell.
function lifecycle.check(run)
    lifecycle.check_released(run)
    lifecycle.check_logged(run)
    lifecycle.check_later(run)
end

--- Counts of the runtime: for tests that look for something else than a cell.
lifecycle.counts = testing.counts

return lifecycle
