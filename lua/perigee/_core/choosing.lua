-- SPDX-License-Identifier: MIT
--
-- Functions of the configuration that balance: the key by which a request is placed, and balancers written in Lua. They run when
-- the request hooks are done, before each attempt; what they say is a wish that the runtime's choice of the endpoint follows.

local ffi = require "ffi"
local current = require "perigee._core.current"
local frozen = require "perigee._core.frozen"
local watch = require "perigee._core.watch"

local C, xpcall, type, tostring, pairs = ffi.C, xpcall, type, tostring, pairs
local ffi_string = ffi.string
local clock = watch.clock

local choosing = {}

local state = ffi.new "struct peri_ffi_endpoint"

---@class perigee.Endpoint one endpoint, as a balancer in Lua sees it
---@field address string
---@field weight integer
---@field zone string|nil
---@field priority integer
---@field labels table<string, string>
---@field active integer requests under way in this worker
---@field is_available boolean

--- The functions of an upstream, of which there is one at least.
---@param upstream table its name, and its endpoints normalised
---@param by nil|fun(req: table): string|nil
---@param choose nil|fun(req: table, endpoints: perigee.Endpoint[]): integer|nil
---@return table balancer for `ask`
function choosing.new(upstream, by, choose)
    local endpoints = {}
    for i, endpoint in ipairs(upstream.endpoints) do
        endpoints[i] = {
            address = endpoint.address, weight = endpoint.weight, zone = endpoint.zone,
            priority = endpoint.priority or 0, labels = frozen.view(endpoint.labels or {}, "labels"),
        }
    end
    return { name = upstream.name, by = by, choose = choose, endpoints = endpoints }
end

-- The endpoints as they are now.
local function list(s, balancer)
    local endpoints = {}
    for i = 1, #balancer.endpoints do
        local known = balancer.endpoints[i]
        C.peri_ffi_endpoint(s, i - 1, state)
        endpoints[i] = {
            address = known.address, weight = known.weight, zone = known.zone, priority = known.priority,
            labels = known.labels, active = tonumber(state.active), is_available = state.is_available ~= 0,
        }
    end
    return endpoints
end

-- A message, or nil when the endpoint is chosen or none was named.
local function wish_endpoint(s, balancer, index)
    if index == nil then
        return nil
    end
    local endpoint = type(index) == "number" and balancer.endpoints[index]
    if not endpoint then
        return "it returned " .. (type(index) == "number" and tostring(index) or "a " .. type(index))
            .. "; it returns the number of an endpoint, 1 to " .. #balancer.endpoints .. ", or nil"
    end
    return C.peri_ffi_wish(s, C.PERI_FFI_WISH_ENDPOINT, endpoint.address, #endpoint.address) ~= 0
        and "the endpoint cannot be chosen" or nil
end

local function wish_key(s, key)
    if key == nil then
        return nil
    elseif type(key) ~= "string" then
        return "it returned a " .. type(key) .. "; it returns a string, or nil"
    end
    return C.peri_ffi_wish(s, C.PERI_FFI_WISH_KEY, key, #key) ~= 0 and "there is no room for the key" or nil
end

--- Asks the functions of the upstream that the request goes to. A message when one failed.
---@param balancers table<string, table> by name of the upstream
---@return string|nil message
function choosing.ask(balancers, s, req, trap)
    if C.peri_ffi_target(s) == 0 then
        return nil
    end
    local balancer = balancers[ffi_string(s.ptr, s.len)]
    if not balancer then
        return nil
    end
    current.policy, clock.budget = false, watch.DEFAULT
    local call, endpoints = balancer.by, nil
    if balancer.choose then
        call, endpoints = balancer.choose, list(s, balancer)
    end
    local ok, value = xpcall(call, trap, req, endpoints)
    C.peri_ffi_budget_end()
    if not ok then
        return type(value) == "string" and value or "(the error is a " .. type(value) .. ")"
    elseif balancer.choose then
        return wish_endpoint(s, balancer, value)
    end
    return wish_key(s, value)
end

--- Limits the choice to endpoints with these labels. A message when that cannot be.
---@param labels table<string, string>
---@return string|nil message
function choosing.limit(s, labels)
    if type(labels) ~= "table" then
        return "the labels are a " .. type(labels) .. ", not a table"
    end
    local text = ""
    for name, value in pairs(labels) do
        if type(name) ~= "string" or type(value) ~= "string" or (name .. value):find("\0", 1, true) then
            return "names and values of labels are strings"
        end
        text = text .. name .. "\0" .. value .. "\0"
    end
    return C.peri_ffi_wish(s, C.PERI_FFI_WISH_LABELS, text, #text) ~= 0 and "there is no room for the labels" or nil
end

return choosing
