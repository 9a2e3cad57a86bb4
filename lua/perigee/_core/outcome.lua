-- SPDX-License-Identifier: MIT
--
-- What becomes of an exchange after a hook returned or failed. The compiled chains (_core/chain.lua) come here only when a
-- hook did something else than return nothing.

local ffi = require "ffi"
local choosing = require "perigee._core.choosing"
local current = require "perigee._core.current"
local frozen = require "perigee._core.frozen"
local quarantine = require "perigee._core.quarantine"
local reply = require "perigee.reply"
local response = require "perigee.response"
local shadow = require "perigee._core.shadow"
local watch = require "perigee._core.watch"

local C, collectgarbage, xpcall, type, tostring = ffi.C, collectgarbage, xpcall, type, tostring
local traceback = debug.traceback
local clock = watch.clock
local response_of = response.new

local outcome = {}

local CONTINUE, REPLY, FAIL = 0, 1, 3 -- PERI_FFI_CONTINUE …
local IDLE, ENTERED, SKIPPED = 0, 1, 2 -- PERI_FFI_STEP_IDLE …
local WARN = 2
local NO_MEMORY = "not enough memory"

outcome.CONTINUE, outcome.REPLY, outcome.FAIL = CONTINUE, REPLY, FAIL
outcome.IDLE, outcome.ENTERED, outcome.SKIPPED = IDLE, ENTERED, SKIPPED

--- Raised by layers of an around() chain to end the exchange; no policy's fault.
outcome.ABORT = frozen.view({}, "the end of an exchange")

--- Message handler of every protected call.
function outcome.trap(err)
    if err == outcome.ABORT then
        return err
    elseif type(err) ~= "string" then
        err = "(the error is a " .. type(err) .. ")"
    end
    return traceback(err, 1)
end

local trap = outcome.trap

local function log(level, text)
    C.peri_ffi_log(level, text, #text)
end

--- Logs what went wrong in a hook, and ends the shadow of a dry run that it may have left; the text of it.
function outcome.report(chain, step, hook, message)
    shadow.abandon()
    local place = (chain.kind or "route") .. " '" .. chain.name .. "'"
    local text = "policy '" .. step.name .. "' on " .. place .. " failed in " .. hook .. ": " .. message
    log(WARN, text)
    if clock.is_spent ~= 0 then
        clock.is_spent = 0
        quarantine.note(chain, step, hook)
    end
    return text
end

local report = outcome.report

--- A message that a hook returned, as text; its __tostring is not called, since nothing protects the caller here.
function outcome.text(message)
    local kind = type(message)
    if kind == "string" or kind == "number" or kind == "boolean" then
        return tostring(message)
    end
    return "(the message is a " .. kind .. ")"
end

local text_of = outcome.text

--- Reads what a hook returned: "reply" and the answer, "failure" and a message, or nothing.
local function classify(ok, a, b)
    if not ok then
        if a == NO_MEMORY then
            collectgarbage() -- what the hook held is garbage now; without it there is no room even for a message
        end
        return "failure", text_of(a)
    elseif a == nil then
        if b ~= nil then
            return "failure", text_of(b)
        end
        return nil
    elseif reply.is(a) then
        return "reply", a
    end
    return "failure", "it returned a " .. type(a) .. "; a hook returns nothing, perigee.reply(…), or nil and a message"
end

outcome.classify = classify

--- Makes `answer` the response for a step. Nothing when it cannot be: then `message`.
local function apply(step, s, answer)
    local message = reply.apply(s, answer)
    C.peri_ffi_step(step.metric, message and 1 or 0)
    return message
end

--- A step failed: FAIL, or nil when the exchange goes on without it.
function outcome.failed(chain, k, s, hook, message)
    local step = chain.steps[k]
    local text = report(chain, step, hook, message)
    if step.is_open then
        if step.dry_run then
            C.peri_ffi_policy_would(step.metric, C.PERI_FFI_WOULD_FAIL)
        end
        s.steps[k - 1] = SKIPPED
        return nil
    end
    C.peri_ffi_failure(s, text, #text)
    C.peri_ffi_fail(s, 0)
    return FAIL
end

local failed = outcome.failed

--- A step answered: applies that. FAIL, or nil when the step is open, when it cannot be applied; true when it took effect.
function outcome.answered(chain, k, s, hook, answer)
    local step = chain.steps[k]
    local message = apply(step, s, answer)
    if message then
        return failed(chain, k, s, hook, message)
    end
    return true
end

local answered = outcome.answered

--- Should step `k` run? Evaluates its `when` once per exchange. The second result is FAIL when that failed.
function outcome.holds(chain, k, s, req)
    local step = chain.steps[k]
    if s.steps[k - 1] ~= IDLE then
        return s.steps[k - 1] == ENTERED
    end
    current.policy, clock.budget = step.name, step.budget
    local ok, value = xpcall(step.when, trap, req)
    if not ok then
        C.peri_ffi_step(step.metric, 1)
        return false, failed(chain, k, s, "when", tostring(value))
    end
    if not value then
        s.steps[k - 1] = SKIPPED
    end
    return value
end

--- Should step `k` see the log phase? As `holds`, but a failure is only reported.
function outcome.logs(chain, k, s, req)
    local step = chain.steps[k]
    if s.steps[k - 1] ~= IDLE then
        return s.steps[k - 1] == ENTERED
    end
    current.policy, clock.budget = step.name, step.budget
    local ok, value = xpcall(step.when, trap, req)
    if not ok then
        C.peri_ffi_step(step.metric, 1)
        report(chain, step, "when", tostring(value))
    end
    return ok and value
end

-- Does step `k` take part in the phases behind the request?
local function takes_part(chain, k, s, req)
    if chain.has_request then
        return s.steps[k - 1] == ENTERED
    elseif chain.steps[k].when then
        return outcome.holds(chain, k, s, req)
    end
    return s.steps[k - 1] ~= SKIPPED
end

outcome.takes_part = takes_part

--- Runs the response hook of step `k`: nil, REPLY or FAIL.
function outcome.respond(chain, k, s, req, res)
    local step = chain.steps[k]
    current.policy, clock.budget = step.name, step.budget
    local ok, a, b = xpcall(step.on_response, trap, step.instance, req, res)
    if ok and a == nil and b == nil then
        C.peri_ffi_step(step.metric, 0)
        return nil
    end
    return outcome.responded(chain, k, s, ok, a, b)
end

--- What the response hook of step `k` returned means: nil, REPLY or FAIL.
function outcome.responded(chain, k, s, ok, a, b)
    local kind, value = classify(ok, a, b)
    if kind == "reply" then
        local verdict = answered(chain, k, s, "on_response", value)
        return verdict == true and REPLY or verdict
    end
    C.peri_ffi_step(chain.steps[k].metric, 1)
    return failed(chain, k, s, "on_response", value)
end

--- Runs the response hooks of the steps up to `k` that take part, last first, on an answer of the proxy itself.
local function unwind(chain, k, s, req)
    local res = response_of(req)
    s.is_unwound = 1
    for i = k, 1, -1 do
        if chain.steps[i].on_response and s.steps[i - 1] == ENTERED then
            if outcome.respond(chain, i, s, req, res) == FAIL then
                return FAIL
            end
        end
    end
    return REPLY
end

--- What the request hook of step `k` returned means: nil to go on, REPLY or FAIL.
function outcome.requested(chain, k, s, req, ok, a, b)
    local kind, value = classify(ok, a, b)
    if kind == "reply" then
        local verdict = answered(chain, k, s, "on_request", value)
        if verdict == nil then
            s.steps[k - 1] = SKIPPED
        elseif verdict == true then
            return unwind(chain, k - 1, s, req)
        end
        return verdict
    end
    C.peri_ffi_step(chain.steps[k].metric, 1)
    return failed(chain, k, s, "on_request", value)
end

local function handler_failed(chain, s, what, message)
    clock.is_spent = 0
    local text = what .. " of route '" .. chain.name .. "' failed: " .. message
    log(WARN, text)
    C.peri_ffi_failure(s, text, #text)
    C.peri_ffi_fail(s, 1)
    return FAIL
end

--- Lets the handler answer: REPLY or FAIL, before any response hook.
function outcome.handle(chain, s, req)
    current.policy, clock.budget = false, watch.DEFAULT
    local ok, a, b = xpcall(chain.handler, trap, req)
    C.peri_ffi_budget_end()
    local kind, value = classify(ok, a, b)
    if kind == "reply" then
        value = reply.apply(s, value)
        if not value then
            return REPLY
        end
    elseif not kind then
        value = "it returned nothing; a handler returns perigee.reply(…)"
    elseif ok and a ~= nil then
        value = "it returned a " .. type(a) .. "; a handler returns perigee.reply(…)"
    end
    return handler_failed(chain, s, "handler", value)
end

--- Lets the target function choose the upstream: CONTINUE or FAIL.
function outcome.choose(chain, s, req)
    current.policy, clock.budget = false, watch.DEFAULT
    local ok, name, message = xpcall(chain.target, trap, req) -- behind a name: labels
    C.peri_ffi_budget_end()
    if ok and type(name) == "string" then
        local code = C.peri_ffi_choose(s, name, #name, "", 0)
        local problem = code == 0 and message ~= nil and choosing.limit(s, message)
        if code == 0 and not problem then
            return CONTINUE
        end
        message = problem or "upstream '" .. name .. "': " .. ffi.string(C.peri_ffi_error_text(code))
    elseif not ok then
        message = text_of(name)
    end
    return handler_failed(chain, s, "target function",
        message and text_of(message) or "it returned a " .. type(name) .. ", not the name of an upstream")
end

--- Chooses the upstream, and lets its functions have a say about the endpoint: CONTINUE or FAIL.
function outcome.aim(chain, s, req, is_chosen)
    local verdict = chain.target and not is_chosen and outcome.choose(chain, s, req) or CONTINUE
    if verdict ~= CONTINUE or not chain.balancers then
        return verdict
    end
    local message = choosing.ask(chain.balancers, s, req, trap)
    return message and handler_failed(chain, s, "balance function", message) or CONTINUE
end

--- The end of a request phase without around(): the handler, or functions that choose where the request goes.
function outcome.finish(chain, s, req)
    if chain.handler then
        local verdict = outcome.handle(chain, s, req)
        return verdict == REPLY and unwind(chain, #chain.steps, s, req) or verdict
    end
    return outcome.aim(chain, s, req)
end

return outcome
