-- SPDX-License-Identifier: MIT
--
-- Runs a recording through a configuration, and through another one to compare with, and says for each exchange what differs or
-- why it could not be replayed.

local compare = require "perigee.test.replay.compare"
local recording = require "perigee.test.replay.recording"
local world = require "perigee.test.replay.world"

local run = {}

-- ---------------------------------------------------------------- what cannot be replayed

-- Errors that come from the state of a machine or a client, not from a configuration.
local CIRCUMSTANCES = {
    client_gone = true, draining = true, limit_reached = true, out_of_memory = true, request_timeout = true,
    response_too_large = true, stream_idle_timeout = true, system_error = true, upstream_overflow = true,
}

local function reason_of(exchange)
    local request, response = exchange.request, exchange.response
    if CIRCUMSTANCES[exchange.error] then
        return "it failed by circumstance (" .. exchange.error .. ")"
    elseif not response then
        return "it has no response"
    elseif response.status == 101 or request.method == "CONNECT" then
        return "it is a tunnel"
    elseif request.scheme == "https" then
        return "it came over TLS"
    elseif request.body_is_cut then
        return "its request body was cut"
    end
end

-- The value of a cookie or a query parameter; nil when it is not there.
local function find_pair(text, separator, wanted)
    for pair in text:gmatch("[^" .. separator .. "]+") do
        local name, value = pair:match("^%s*([^=]*)=(.*)$")
        if name == wanted then
            return value
        end
    end
end

-- What the request has in a place that a policy named: "header:NAME", "query:NAME", "cookie:NAME".
local function find_value(request, place)
    local kind, name = place:match("^(%l+):(.*)$")
    if kind == "query" then
        return find_pair(request.target:match("%?(.*)$") or "", "&", name)
    end
    local header = kind == "cookie" and "cookie" or name:lower()
    for _, pair in ipairs(request.headers) do
        local value = pair[1] == header and (kind == "header" and pair[2] or find_pair(pair[2], ";", name))
        if value then
            return value
        end
    end
end

-- The policy of the route that needs a credential of which only the mask is left.
local function blind_policy(gateway, route, request)
    for _, use in ipairs(route and gateway.credentials[route] or {}) do
        for _, place in ipairs(use.places) do
            local value = find_value(request, place)
            if value and compare.is_masked(value) then
                return use.policy
            end
        end
    end
end

-- Has the request something masked outside its cookies? A policy that does not say where it looks for credentials may need it.
local function has_mask(request)
    if compare.is_masked(request.target) then
        return true
    end
    for _, pair in ipairs(request.headers) do
        if pair[1] ~= "cookie" and compare.is_masked(pair[2]) then
            return true
        end
    end
    return false
end

-- ---------------------------------------------------------------- one pass

-- Of an outcome only what is compared, so that a long recording fits.
local function condense(outcome)
    local attempts = outcome.attempts
    local last = attempts and attempts[#attempts]
    return {
        route = outcome.route, error = outcome.error, consumer = outcome.consumer, response = outcome.response,
        attempts = last and { { upstream = last.upstream, request = last.request } }, is_assumed = outcome.is_assumed,
    }
end

-- Replays one exchange: the outcome, or nil and why there is none.
local function replay(gateway, exchange)
    local reason = reason_of(exchange)
    if reason then
        return nil, reason
    end
    local outcome = gateway:run(exchange)
    if not outcome then
        return nil, "the gateway does not read it"
    end
    local policy = blind_policy(gateway, outcome.route, exchange.request)
    if policy then
        return nil, "policy " .. policy .. " needs a credential that was masked"
    end
    return condense(outcome)
end

-- Calls each(index, exchange, outcome, reason) for every entry.
local function pass(path, entries, each)
    local gateway, errors = world.open(path, entries[1].seconds)
    if not gateway then
        return nil, errors
    end
    for i, entry in ipairs(entries) do
        local exchange = recording.decode(entry.text)
        each(i, exchange, replay(gateway, exchange))
    end
    gateway:close()
    return true
end

-- ---------------------------------------------------------------- both

---@class perigee.test.replay.Result of one exchange
---@field line integer
---@field request string method and target
---@field route string|nil that it took before
---@field differences perigee.test.replay.Difference[]|nil
---@field skipped string|nil why it could not be replayed
---@field is_assumed boolean|nil the upstream's answer was not recorded, 200 stood for it
---@field has_mask boolean|nil the request holds masked values

local function result_of(entry, exchange, old)
    return {
        line = entry.line, request = exchange.request.method .. " " .. exchange.request.target,
        route = (old or exchange).route,
    }
end

-- With the configuration that was recorded the status is another: if something is masked, that is why.
local function misled(exchange, outcome)
    if outcome.response and outcome.response.status ~= exchange.response.status and has_mask(exchange.request) then
        return "a policy decides otherwise because of what was masked"
    end
end

--- Runs the entries of a recording (at least one).
---@param entries table[]
---@param config string file
---@param against string|nil file; nil: compare with what was recorded
---@param ignore string[] names of headers
---@return perigee.test.replay.Result[]|nil
---@return { path: string, errors: table[] }|nil refused
function run.all(entries, config, against, ignore)
    local before, results, ignored = {}, {}, compare.ignored(not against, ignore)
    if against then
        local ok, errors = pass(against, entries, function(i, exchange, outcome, reason)
            before[i] = { outcome = outcome, reason = reason or misled(exchange, outcome) }
        end)
        if not ok then
            return nil, { path = against, errors = errors }
        end
    end
    local ok, errors = pass(config, entries, function(i, exchange, outcome, reason)
        local old = against and before[i] or { outcome = exchange }
        local result = result_of(entries[i], exchange, old.outcome)
        result.skipped = reason or old.reason
        if not result.skipped then
            result.differences = compare.differences(old.outcome, outcome, ignored)
            result.is_assumed = outcome.is_assumed
            result.has_mask = #result.differences > 0 and has_mask(exchange.request) or nil
        end
        before[i], results[i] = nil, result
    end)
    if not ok then
        return nil, { path = config, errors = errors }
    end
    return results
end

return run
