-- SPDX-License-Identifier: MIT
--
-- Runs the policies of a tcp listener on a connection: on_connect(conn) of each, in order, before the first byte is passed on.
-- A reply refuses the connection; a failure does what on_failure says.

local ffi = require "ffi"
local connection = require "perigee.connection"
local current = require "perigee._core.current"
local outcome = require "perigee._core.outcome"
local watch = require "perigee._core.watch"

local C, xpcall = ffi.C, xpcall
local clock, trap, classify = watch.clock, outcome.trap, outcome.classify
local CONTINUE, REPLY, FAIL = outcome.CONTINUE, outcome.REPLY, outcome.FAIL

local connect = {}

-- A step failed: FAIL, or nil when the connection goes on without it.
local function failed(this, step, hook, message)
    C.peri_ffi_step(step.metric, 1)
    outcome.report(this, step, hook, message)
    return not step.is_open and FAIL or nil
end

-- Should the step run? The second result is FAIL when that failed.
local function holds(this, step, conn)
    if not step.when then
        return true
    end
    local ok, value = xpcall(step.when, trap, conn)
    if not ok then
        return false, failed(this, step, "when", outcome.text(value))
    end
    return value
end

-- Runs one step: nil to go on, REPLY or FAIL.
local function enter(this, step, conn)
    current.policy, clock.budget = step.name, step.budget
    local is_wanted, verdict = holds(this, step, conn)
    if not is_wanted then
        return verdict
    end
    local kind, value = classify(xpcall(step.on_connect, trap, step.instance, conn))
    if kind == "failure" then
        return failed(this, step, "on_connect", value)
    end
    C.peri_ffi_step(step.metric, 0)
    return kind and REPLY
end

local function new_step(use, listener)
    return {
        name = use.name,
        instance = use.instance,
        when = use.when,
        on_connect = use.definition.on_connect,
        is_open = use.on_failure == "open",
        budget = use.budget,
        metric = C.peri_ffi_policy_id(use.name, #use.name, listener, #listener),
    }
end

-- The protocols of a list in which each has its length before it (RFC 7301 3.1); nil for an empty one.
local function read_alpn(text)
    if text == "" then
        return nil
    end
    local names, at = {}, 1
    while at <= #text do
        local last = at + text:byte(at)
        names[#names + 1] = text:sub(at + 1, last)
        at = last + 1
    end
    return names
end

--- Compiles a listener's policies.
---@param described { name: string, policies: perigee.Use[], upstreams: table<string, true> }
---@param generation table
---@return fun(ip: string, port: integer, server_name: string, alpn: string): integer, string|nil verdict and chosen upstream
function connect.compile(described, generation)
    local this = { kind = "listener", name = described.name, generation = generation, steps = {} }
    for k, use in ipairs(described.policies) do
        this.steps[k] = new_step(use, described.name)
        generation.metrics[#generation.metrics + 1] = this.steps[k].metric
    end
    return function(ip, port, server_name, alpn)
        local facts = {
            ip = ip ~= "unix" and ip or nil, port = port, listener = described.name,
            server_name = server_name ~= "" and server_name or nil, alpn = read_alpn(alpn),
            upstreams = described.upstreams,
        }
        local conn = connection.new(facts)
        for k = 1, #this.steps do
            local verdict = enter(this, this.steps[k], conn)
            if verdict then
                return verdict
            end
        end
        return CONTINUE, facts.upstream
    end
end

return connect
