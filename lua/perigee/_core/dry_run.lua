-- SPDX-License-Identifier: MIT
--
-- Policies in a dry run: every hook runs in a shadow of the exchange (_core/shadow.lua), so that nothing comes of what it does.
-- What would have come of it is logged and counted. To the chain such a policy is one whose hooks return nothing.

local ffi = require "ffi"
local head = require "perigee._core.head"
local outcome = require "perigee._core.outcome"
local shadow = require "perigee._core.shadow"

local C, concat, error, type = ffi.C, table.concat, error, type
local classify = outcome.classify

local dry_run = {}

local INFO = 1
local ANSWER, CHANGE = C.PERI_FFI_WOULD_ANSWER, C.PERI_FFI_WOULD_CHANGE
local BODIES = { on_request_body = "req.body", on_response_body = "res.body" }

--- What the last hook would have done, for the trace; nil for nothing.
---@type { status: integer|nil, changes: perigee.Change[] }|nil
dry_run.last = nil

-- Logs and counts what a hook would have done.
local function tell(step, hook, status, changes)
    local phrases = head.phrases(changes)
    if status then
        phrases[#phrases + 1] = "answered " .. status
    end
    dry_run.last = #phrases > 0 and { status = status, changes = changes } or nil
    if #phrases == 0 then
        return
    end
    local text = "policy '" .. step.name .. "' on route '" .. step.route .. "' would have " .. concat(phrases, " and ")
        .. " in " .. hook .. " (dry run)"
    C.peri_ffi_log(INFO, text, #text)
    C.peri_ffi_policy_would(step.metric, status and ANSWER or CHANGE)
end

local function add_all(list, more)
    for i = 1, #more do
        list[#list + 1] = more[i]
    end
end

-- Ends the shadow of a hook that has returned: nothing, or nil and what went wrong with it. When a hook raises an error the chain
-- ends its shadow (outcome.report).
local function finish(step, hook, this, a, b)
    local changes = shadow.leave(this)
    local body = BODIES[hook]
    if hook == "on_log" then
        return a, b
    elseif body and b == nil and type(a) == "string" then
        changes[#changes + 1] = { what = body, to = #a .. " bytes" }
        return tell(step, hook, nil, changes)
    end
    local kind, value = classify(true, a, b)
    if kind == "failure" then
        return nil, value
    end
    return tell(step, hook, kind and value.status or this.status, changes)
end

local function enter(req, instance)
    dry_run.last = nil
    return shadow.enter(req, instance) or error("not enough memory for a dry run", 0)
end

local function wrap(step, hook, call)
    return function(instance, req, a, b, c)
        local this = enter(req, instance)
        return finish(step, hook, this, call(instance, req, a, b, c))
    end
end

local function wrap_when(step, call)
    return function(req)
        local this = enter(req, step.instance)
        local value = call(req)
        shadow.leave(this)
        return value
    end
end

-- ---------------------------------------------------------------- around

-- The next() of a dry run: the policy leaves its shadow for what lies inside; that happens once, whatever it does.
local function next_once(run, instance, next)
    return function(req)
        if req ~= run.req then
            error("next() expects the request", 2)
        elseif not run.is_called then
            run.is_called = true
            run.status = run.shadow.status
            add_all(run.changes, shadow.leave(run.shadow))
            run.res = next(req)
            run.shadow = enter(req, instance)
        end
        return run.res
    end
end

local function finish_around(step, run, next, a, b)
    local kind, value
    run.status = run.status or run.shadow.status
    add_all(run.changes, shadow.leave(run.shadow))
    if a == nil and b == nil then
        return nil
    elseif b ~= nil or a ~= run.res then
        kind, value = classify(true, a, b)
    end
    if kind == "failure" then
        return nil, value
    end
    tell(step, "around", kind and value.status or run.status, run.changes)
    return run.is_called and run.res or next(run.req)
end

local function wrap_around(step, call)
    return function(instance, req, next)
        local run = { req = req, changes = {}, shadow = enter(req, instance) }
        return finish_around(step, run, next, call(instance, req, next_once(run, instance, next)))
    end
end

-- ---------------------------------------------------------------- public

local HOOKS = { "on_request", "on_request_body", "on_upstream", "on_response", "on_response_body", "on_log" }

--- Makes the hooks of a step those of a dry run.
---@param step table
function dry_run.apply(step)
    step.is_open = true
    for i = 1, #HOOKS do
        local hook = HOOKS[i]
        step[hook] = step[hook] and wrap(step, hook, step[hook])
    end
    step.around = step.around and wrap_around(step, step.around)
    step.when = step.when and wrap_when(step, step.when)
end

return dry_run
