-- SPDX-License-Identifier: MIT
--
-- The decision trace: a second set of steps for a chain, whose hooks tell the runtime what they decided, what they changed and
-- how long it took. Exchanges without a trace never come here. One decision is an object:
--
--   policy, hook, result, us and, where there is something to say, status, message, changes, would
--
-- result: "continue", "answer", "fail"; "next", "return" and "abort" of an around(); "holds" and "skip" of a `when`; "replace"
-- of a body hook; "choose" of a target function. `us` is wall time, waits included, without what lies inside a next().

local ffi = require "ffi"
local dry_run = require "perigee._core.dry_run"
local head = require "perigee._core.head"
local json = require "perigee.json"
local outcome = require "perigee._core.outcome"
local reply = require "perigee.reply"
local shadow = require "perigee._core.shadow"
local slot = require "perigee._core.slot"

local C, error, ipairs, next, rawset, setmetatable = ffi.C, error, ipairs, next, rawset, setmetatable
local tostring, type, xpcall = tostring, type, xpcall
local floor, gsub, match = math.floor, string.gsub, string.match
local classify, trap = outcome.classify, outcome.trap

local trace = {}

local MESSAGE_MAX = 1024

-- ---------------------------------------------------------------- telling

-- A copy with a "?" for every byte that is not ASCII: what JSON can hold in any case.
local function plain(value)
    if type(value) == "string" then
        return (gsub(value, "[\128-\255]", "?"))
    elseif type(value) ~= "table" then
        return value
    end
    local copy = {}
    for name, member in next, value do
        copy[name] = plain(member)
    end
    return copy
end

local function tell(s, decision)
    local text = json.encode(decision) or json.encode(plain(decision))
    if text then
        C.peri_ffi_trace(s, text, #text)
    end
end

-- What a policy was about to do with an exchange: read at the start of a hook.
local function begin(req)
    local s = slot.enter(req)
    return { s = s, gen = s.gen, before = head.read(s), start = C.peri_ffi_clock() }
end

local function first_line(message)
    return (match(tostring(message), "^[^\n]*"):sub(1, MESSAGE_MAX))
end

local function describe(decision, ok, a, b)
    local kind, value = classify(ok, a, b)
    if kind == "reply" then
        decision.result, decision.status = "answer", value.status
    elseif kind then
        decision.result, decision.message = "fail", first_line(value)
    else
        decision.result = "continue"
    end
end

-- Finishes a decision and gives it away.
local function finish(from, decision)
    if from.s.gen ~= from.gen then
        return
    end
    local changes = head.changes(from.before, head.read(from.s))
    decision.us = floor(C.peri_ffi_clock() - from.start)
    decision.changes = #changes > 0 and changes or nil
    local would = dry_run.last
    if would then
        dry_run.last = nil
        decision.would = { status = would.status or nil, changes = #would.changes > 0 and would.changes or nil }
    end
    tell(from.s, decision)
end

-- What the chain gets of a hook that was called here: an error becomes nil and its text.
local function pass(ok, a, b)
    if ok then
        return a, b
    elseif a == outcome.ABORT then
        error(a, 0)
    end
    return nil, a
end

-- ---------------------------------------------------------------- hooks

local function finish_hook(from, decision, is_body, ok, a, b)
    shadow.abandon()
    if ok and is_body and b == nil and type(a) == "string" then
        decision.result = "replace"
    else
        describe(decision, ok, a, b)
    end
    finish(from, decision)
    return pass(ok, a, b)
end

-- The hook of `step` is looked up at each call: it may be replaced while the chain is used.
local function watch(step, hook)
    local is_body = hook == "on_request_body" or hook == "on_response_body"
    return function(instance, req, a, b, c)
        local decision = { policy = step.name, hook = hook, dry_run = step.dry_run or nil }
        return finish_hook(begin(req), decision, is_body, xpcall(step[hook], trap, instance, req, a, b, c))
    end
end

local function finish_when(from, decision, ok, value)
    shadow.abandon()
    decision.result = not ok and "fail" or value and "holds" or "skip"
    decision.message = not ok and first_line(outcome.text(value)) or nil
    finish(from, decision)
    if not ok then
        error(match(outcome.text(value), "^(.-)\nstack traceback:") or value, 0)
    end
    return value
end

local function watch_when(step)
    return function(req)
        return finish_when(begin(req), { policy = step.name, hook = "when" }, xpcall(step.when, trap, req))
    end
end

local function finish_around(from, decision, ok, a, b)
    shadow.abandon()
    if not ok and a == outcome.ABORT then
        decision.result = "abort"
    elseif ok and a ~= nil and b == nil and not reply.is(a) then
        decision.result = "return"
    elseif ok and a == nil and b == nil then
        decision.result, decision.message = "fail", "it returned nothing"
    else
        describe(decision, ok, a, b)
    end
    finish(from, decision)
    return pass(ok, a, b)
end

local function watch_around(step)
    return function(instance, req, next_layer)
        local from = begin(req)
        local function watched(r)
            finish(from, { policy = step.name, hook = "around", result = "next", dry_run = step.dry_run or nil })
            local res = next_layer(r)
            local again = begin(req)
            from.before, from.start = again.before, again.start
            return res
        end
        local decision = { policy = step.name, hook = "around", dry_run = step.dry_run or nil }
        return finish_around(from, decision, xpcall(step.around, trap, instance, req, watched))
    end
end

-- ---------------------------------------------------------------- targets

local function finish_target(from, decision, ok, a, b)
    if ok and decision.hook == "target" and type(a) == "string" then
        decision.result, decision.upstream = "choose", a
    else
        describe(decision, ok, a, b)
    end
    finish(from, decision)
    return pass(ok, a, b)
end

local function watch_target(hook, call)
    return function(req)
        return finish_target(begin(req), { hook = hook }, xpcall(call, trap, req))
    end
end

-- ---------------------------------------------------------------- public

local HOOKS = { "on_request", "on_request_body", "on_upstream", "on_response", "on_response_body", "on_log" }

local function watch_step(step)
    local watched = setmetatable({}, { __index = step })
    for i = 1, #HOOKS do
        if step[HOOKS[i]] then
            rawset(watched, HOOKS[i], watch(step, HOOKS[i]))
        end
    end
    rawset(watched, "when", step.when and watch_when(step) or nil)
    rawset(watched, "around", step.around and watch_around(step) or nil)
    return watched
end

--- A chain like `this` that tells of each of its decisions.
---@param this table
---@return table
function trace.watch(this)
    local steps = {}
    for k, step in ipairs(this.steps) do
        steps[k] = watch_step(step)
    end
    return setmetatable({
        steps = steps,
        handler = this.handler and watch_target("handler", this.handler),
        target = this.target and watch_target("target", this.target),
    }, { __index = this })
end

return trace
