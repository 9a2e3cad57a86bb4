-- SPDX-License-Identifier: MIT
--
-- Compiles the policies of a route into one function per phase, which the runtime calls with the id of the exchange's slot.
-- The hot phases are generated as straight code, without a loop over policies, so that LuaJIT compiles a route's policies
-- as one trace; routes with the same policies share that code. What hooks return beside nothing is the matter of
-- _core/outcome.lua, and routes with around() run in _core/onion.lua.

local ffi = require "ffi"
local attempt = require "perigee.attempt"
local current = require "perigee._core.current"
local dry_run = require "perigee._core.dry_run"
local onion = require "perigee._core.onion"
local outcome = require "perigee._core.outcome"
local request = require "perigee.request"
local response = require "perigee.response"
local slot = require "perigee._core.slot"
local trace = require "perigee._core.trace"
local watch = require "perigee._core.watch"

local C, xpcall, type = ffi.C, xpcall, type
local ffi_string = ffi.string
local new_request, response_of = request.new, response.new
local chains = slot.chains
local clock = watch.clock
local trap, takes_part, classify, failed = outcome.trap, outcome.takes_part, outcome.classify, outcome.failed
local CONTINUE, REPLY = outcome.CONTINUE, outcome.REPLY

local chain = {}

local STEPS_MAX = C.PERI_FFI_STEPS_MAX

--- Numbers of the phases in runtime/script/chain.h, plus 1; behind them the entry for exchanges with a trace.
chain.PHASES = { request = 1, request_body = 2, upstream = 3, response = 4, response_body = 5, log = 6, traced = 7 }

-- The request object and the slot of the exchange that this entry is about.
local function begin(id, this)
    local s = slot.adopt(id)
    chains[id] = this
    return new_request(id, s.gen), s
end

-- ---------------------------------------------------------------- generated phases

local PRELUDE = [[
local C, current, clock, xpcall, trap, begin, response_of, holds, logs, requested, responded, finish, report = ...
return function(chain)
local steps = chain.steps
return function(id)
local req, s = begin(id, chain)
local ok, a, b, p, verdict
]]

local function emit_when(out, k)
    out[#out + 1] = ("ok, verdict = holds(chain, %d, s, req) if verdict then return verdict end if ok then"):format(k)
end

local function emit_call(out, k, hook, arguments)
    out[#out + 1] = ("p = steps[%d] current.policy, clock.budget = p.name, p.budget"):format(k)
    out[#out + 1] = ("ok, a, b = xpcall(p.%s, trap, p.instance, %s)"):format(hook, arguments)
    out[#out + 1] = "if ok and a == nil and b == nil then C.peri_ffi_step(p.metric, 0)"
end

local function emit_request(out, this)
    for k, step in ipairs(this.steps) do
        out[#out + 1] = step.when and "" or "do"
        if step.when then
            emit_when(out, k)
        end
        if step.on_request then
            emit_call(out, k, "on_request", "req")
            out[#out + 1] = ("s.steps[%d] = 1 else verdict = requested(chain, %d, s, req, ok, a, b)"):format(k - 1, k)
            out[#out + 1] = "if verdict then return verdict end end"
        else
            out[#out + 1] = ("s.steps[%d] = 1"):format(k - 1)
        end
        out[#out + 1] = "end"
    end
    out[#out + 1] = (this.handler or this.target or this.balancers) and "return finish(chain, s, req)" or "return 0"
end

local function emit_response(out, this)
    out[#out + 1] = "if s.is_unwound ~= 0 then return 0 end local res, last = response_of(req), 0"
    for k = #this.steps, 1, -1 do
        local step = this.steps[k]
        if step.on_response then
            if this.has_request then
                out[#out + 1] = ("if s.steps[%d] == 1 then"):format(k - 1)
            elseif step.when then
                emit_when(out, k)
            else
                out[#out + 1] = "do"
            end
            emit_call(out, k, "on_response", "req, res")
            out[#out + 1] = ("else verdict = responded(chain, %d, s, ok, a, b)"):format(k)
            out[#out + 1] = "if verdict == 3 then return 3 elseif verdict then last = verdict end end end"
        end
    end
    out[#out + 1] = "return last"
end

local function emit_log(out, this)
    out[#out + 1] = "local res = response_of(req)"
    for k, step in ipairs(this.steps) do
        if step.on_log then
            if step.when then
                out[#out + 1] = ("if logs(chain, %d, s, req) then"):format(k)
            else
                out[#out + 1] = ("if s.steps[%d] ~= 2 then"):format(k - 1)
            end
            emit_call(out, k, "on_log", "req, res")
            out[#out + 1] = 'else C.peri_ffi_step(p.metric, 1) report(chain, p, "on_log", a, b) end end'
        end
    end
    out[#out + 1] = "return 0"
end

local function report_log(this, step, hook, a, b)
    outcome.report(this, step, hook, outcome.text(b or a))
end

-- Function for a phase; `cache` holds the factories of this generation by their code.
local function generate(this, emit, cache)
    local out = { PRELUDE }
    for _, step in ipairs(this.steps) do
        out[1] = "-- " .. step.name .. "\n" .. out[1]
    end
    emit(out, this)
    out[#out + 1] = "end end"
    local code = table.concat(out, "\n")
    local factory = cache[code]
    if not factory then
        factory = assert(loadstring(code, "=chain"))(
            C, current, clock, xpcall, trap, begin, response_of, outcome.holds, outcome.logs, outcome.requested,
            outcome.responded, outcome.finish, report_log)
        cache[code] = factory
    end
    return factory(this)
end

-- ---------------------------------------------------------------- phases that loop

local function upstream_entry(this)
    return function(id)
        local req, s = begin(id, this)
        local try = attempt.new(req)
        for k = 1, #this.steps do
            local step = this.steps[k]
            if step.on_upstream and takes_part(this, k, s, req) then
                current.policy, clock.budget = step.name, step.budget
                local kind, value = classify(xpcall(step.on_upstream, trap, step.instance, req, try))
                local verdict
                if kind == "reply" then
                    verdict = outcome.answered(this, k, s, "on_upstream", value)
                else
                    C.peri_ffi_step(step.metric, kind and 1 or 0)
                    verdict = kind and failed(this, k, s, "on_upstream", value)
                end
                if verdict then
                    return verdict == true and REPLY or verdict
                end
            end
        end
        return CONTINUE
    end
end

-- Lets one step see a chunk: the chunk to pass on, or nil and a verdict.
local function filter(this, k, s, hook, chunk, ok, a, b)
    local step = this.steps[k]
    if ok and b == nil and (a == nil or type(a) == "string") then
        C.peri_ffi_step(step.metric, 0)
        return a or chunk
    end
    local kind, value = classify(ok, a, b)
    local verdict
    if kind == "reply" then
        verdict = outcome.answered(this, k, s, hook, value)
    else
        C.peri_ffi_step(step.metric, 1)
        verdict = failed(this, k, s, hook, value)
    end
    if verdict then
        return nil, verdict == true and REPLY or verdict
    end
    return chunk
end

-- Gives the chunk to the runtime; the state keeps its bytes alive.
local function pass_on(req, s, place, chunk)
    slot.state(req)[place] = chunk
    s.ptr, s.len = chunk, #chunk
    return CONTINUE
end

local function request_body_entry(this)
    return function(id, is_last)
        local req, s = begin(id, this)
        local chunk = ffi_string(s.ptr, s.len)
        for k = 1, #this.steps do
            local step = this.steps[k]
            if step.on_request_body and takes_part(this, k, s, req) then
                current.policy, clock.budget = step.name, step.budget
                local passed, verdict = filter(this, k, s, "on_request_body", chunk,
                    xpcall(step.on_request_body, trap, step.instance, req, chunk, is_last))
                if not passed then
                    return verdict
                end
                chunk = passed
            end
        end
        return pass_on(req, s, "request_chunk", chunk)
    end
end

local function response_body_entry(this)
    return function(id, is_last)
        local req, s = begin(id, this)
        local chunk = ffi_string(s.ptr, s.len)
        local res = response_of(req)
        for k = #this.steps, 1, -1 do
            local step = this.steps[k]
            if step.on_response_body and takes_part(this, k, s, req) then
                current.policy, clock.budget = step.name, step.budget
                local passed, verdict = filter(this, k, s, "on_response_body", chunk,
                    xpcall(step.on_response_body, trap, step.instance, req, res, chunk, is_last))
                if not passed then
                    return verdict
                end
                chunk = passed
            end
        end
        return pass_on(req, s, "response_chunk", chunk)
    end
end

-- ---------------------------------------------------------------- public

local HOOKS = {
    "on_request", "on_request_body", "on_upstream", "on_response", "on_response_body", "on_log", "around",
}

local function new_step(use, route)
    local step = {
        name = use.name,
        route = route,
        instance = use.instance,
        when = use.when,
        is_open = use.on_failure == "open",
        dry_run = use.dry_run,
        budget = use.budget,
        metric = C.peri_ffi_policy_id(use.name, #use.name, route, #route),
    }
    for _, hook in ipairs(HOOKS) do
        step[hook] = not use.unused[hook] and use.definition[hook] or nil
    end
    if step.dry_run then
        dry_run.apply(step)
    end
    return step
end

local function capture_places(names)
    local places = {}
    for i, name in ipairs(names or {}) do
        places[name] = i - 1
    end
    return places
end

local function has(this, hook)
    for _, step in ipairs(this.steps) do
        if step[hook] then
            return true
        end
    end
    return false
end

-- Functions by number of phase.
local function compile(this, cache)
    local is_onion = has(this, "around")
    local has_end = this.handler ~= nil or this.target ~= nil or this.balancers ~= nil
    this.has_request = is_onion or has(this, "on_request") or has_end
    local entries, phases = {}, chain.PHASES
    if is_onion then
        entries[phases.request] = onion.entry(this, begin)
    elseif this.has_request then
        entries[phases.request] = generate(this, emit_request, cache)
    end
    if has(this, "on_response") and not is_onion then
        entries[phases.response] = generate(this, emit_response, cache)
    end
    entries[phases.log] = has(this, "on_log") and generate(this, emit_log, cache) or nil
    entries[phases.upstream] = has(this, "on_upstream") and upstream_entry(this) or nil
    entries[phases.request_body] = has(this, "on_request_body") and request_body_entry(this) or nil
    entries[phases.response_body] = has(this, "on_response_body") and response_body_entry(this) or nil
    return entries
end

-- The chain of exchanges with a trace is made when the first of them comes.
local function traced_entry(this)
    local entries
    return function(id, phase, is_last)
        entries = entries or compile(trace.watch(this), {})
        return entries[phase](id, is_last)
    end
end

--- Compiles a route's chain.
---@param described { name: string, policies: perigee.Use[], handler: function|nil, target: function|nil, balancers: table|nil }
---@param captures string[]|nil names of the route's captures
---@param generation table
---@param cache table<string, function> code shared by the routes of the generation
---@return table|nil entries functions by number of phase
---@return string|nil message
function chain.compile(described, captures, generation, cache)
    if #described.policies > STEPS_MAX then
        return nil, "a route has at most " .. STEPS_MAX .. " policies, global ones included"
    end
    local this = {
        name = described.name,
        handler = described.handler,
        target = described.target,
        balancers = described.balancers,
        captures = capture_places(captures),
        generation = generation,
        steps = {},
    }
    for k, use in ipairs(described.policies) do
        this.steps[k] = new_step(use, described.name)
        generation.metrics[#generation.metrics + 1] = this.steps[k].metric
    end
    local entries = compile(this, cache)
    entries[chain.PHASES.traced] = traced_entry(this)
    return entries
end

return chain
