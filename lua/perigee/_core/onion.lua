-- SPDX-License-Identifier: MIT
--
-- Routes whose policies have around(): the whole exchange runs in one coroutine, each policy as a layer about the next.
--
--   layer k:  when? -> on_request -> around(req, next) -> on_response
--                                      next: layer k + 1, … , the target
--
-- The target of a route to an upstream gives the exchange to the runtime (FORWARD) and goes on with the response; it can be
-- asked again. A layer that fails and is not open ends the exchange, whatever the layers about it do.

local ffi = require "ffi"
local async = require "perigee._core.async"
local current = require "perigee._core.current"
local outcome = require "perigee._core.outcome"
local response = require "perigee.response"
local slot = require "perigee._core.slot"
local watch = require "perigee._core.watch"

local C, xpcall, error, tostring = ffi.C, xpcall, error, tostring
local trap, classify, failed, answered = outcome.trap, outcome.classify, outcome.failed, outcome.answered
local response_of = response.new
local clock = watch.clock
local CONTINUE, REPLY, FAIL, ABORT = outcome.CONTINUE, outcome.REPLY, outcome.FAIL, outcome.ABORT
local IDLE, ENTERED = outcome.IDLE, outcome.ENTERED

local onion = {}

-- State of one run: { chain, s, req, res, depth = { has layer k called next? }, is_chosen, is_reply, is_failed, is_over }

local function abort(run)
    run.is_failed = true
    error(ABORT, 0)
end

-- The innermost: handler, or the upstream.
local function target(run)
    local chain = run.chain
    if chain.handler then
        run.is_reply = true
        if outcome.handle(chain, run.s, run.req) == FAIL then
            abort(run)
        end
        return run.res
    end
    if (chain.target or chain.balancers) and outcome.aim(chain, run.s, run.req, run.is_chosen) == FAIL then
        abort(run)
    end
    run.is_chosen = true
    async.wait(C.peri_ffi_forward(run.s), "next(req)")
    run.is_reply = false
    return run.res
end

-- A hook of step `k` answered: true when that took effect.
local function answer(run, k, hook, value)
    local verdict = answered(run.chain, k, run.s, hook, value)
    if verdict == FAIL then
        abort(run)
    end
    run.is_reply = run.is_reply or verdict == true
    return verdict == true
end

local function fail(run, k, hook, message)
    C.peri_ffi_step(run.chain.steps[k].metric, 1)
    if failed(run.chain, k, run.s, hook, message) == FAIL then
        abort(run)
    end
end

-- The request hook of step `k`: true when it answered.
local function ask(run, k, step)
    current.policy, clock.budget = step.name, step.budget
    local kind, value = classify(xpcall(step.on_request, trap, step.instance, run.req))
    if run.is_failed then
        abort(run)
    elseif kind == "reply" then
        return answer(run, k, "on_request", value)
    elseif kind then
        fail(run, k, "on_request", value)
    else
        C.peri_ffi_step(step.metric, 0)
    end
end

local layer

local function next_of(run, k)
    return function(req)
        if run.is_over then
            error("next() was called after around() had returned", 2)
        elseif req ~= run.req then
            error("next() expects the request", 2)
        end
        slot.enter(run.req) -- the exchange may have ended while around() waited
        run.depth[k] = true
        run.res = layer(run, k + 1)
        local step = run.chain.steps[k]
        current.policy, clock.budget = step.name, step.budget
        return run.res
    end
end

-- Goes on without the around() of step `k`.
local function skip(run, k)
    if not run.depth[k] then
        layer(run, k + 1)
    end
end

local function surround(run, k, step)
    current.policy, clock.budget = step.name, step.budget
    local ok, a, b = xpcall(step.around, trap, step.instance, run.req, next_of(run, k))
    if run.is_failed then
        abort(run)
    elseif ok and a == run.res and b == nil then
        C.peri_ffi_step(step.metric, 0)
        if not run.depth[k] then
            fail(run, k, "around", "it returned the response without calling next()")
            skip(run, k)
        end
        return
    end
    local kind, value = classify(ok, a, b)
    if kind == "reply" then
        if not answer(run, k, "around", value) then
            skip(run, k)
        end
        return
    end
    fail(run, k, "around", kind and value or "it returned nothing; around() returns the response or perigee.reply(…)")
    skip(run, k)
end

local function respond(run, k)
    local verdict = outcome.respond(run.chain, k, run.s, run.req, run.res)
    if verdict == FAIL then
        abort(run)
    end
    run.is_reply = run.is_reply or verdict == REPLY
end

-- Does step `k` run? Its `when` is asked once, also when a layer about it calls next() again.
local function enters(run, k, step)
    if not step.when or run.s.steps[k - 1] ~= IDLE then
        return run.s.steps[k - 1] ~= outcome.SKIPPED
    end
    local holds, verdict = outcome.holds(run.chain, k, run.s, run.req)
    if verdict then
        abort(run)
    end
    return holds
end

function layer(run, k)
    local step = run.chain.steps[k]
    if not step then
        return target(run)
    elseif not enters(run, k, step) then
        return layer(run, k + 1)
    elseif step.on_request and ask(run, k, step) then
        return run.res
    end
    if run.s.steps[k - 1] ~= outcome.SKIPPED then
        run.s.steps[k - 1] = ENTERED
    end
    run.depth[k] = false
    if step.around and run.s.steps[k - 1] == ENTERED then
        surround(run, k, step)
    else
        layer(run, k + 1)
    end
    if step.on_response and run.s.steps[k - 1] == ENTERED then
        respond(run, k)
    end
    return run.res
end

--- Entry of the request phase.
---@param chain table
---@param begin fun(id: integer, chain: table): table, ffi.cdata*
---@return fun(id: integer): integer
function onion.entry(chain, begin)
    return function(id)
        local req, s = begin(id, chain)
        local run = { chain = chain, s = s, req = req, res = response_of(req), is_reply = false, depth = {} }
        local ok, err = xpcall(layer, trap, run, 1)
        run.is_over = true
        if not ok then
            if err ~= ABORT then
                local text = "route '" .. chain.name .. "': " .. tostring(err)
                C.peri_ffi_log(3, text, #text)
                C.peri_ffi_fail(s, 0)
            end
            return FAIL
        end
        return run.is_reply and REPLY or CONTINUE
    end
end

return onion
