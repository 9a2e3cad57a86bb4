-- SPDX-License-Identifier: MIT
--
-- perigee.upstream: the endpoints of an upstream, and those of upstreams with the setting `dynamic` to be set:
--
--   local orders = perigee.upstream "orders"
--   orders:set_endpoints { "10.0.0.1:8080", { "10.0.0.2:8080", weight = 2, labels = { version = "v2" } } }
--
-- A set holds for the whole proxy: the worker that sets it uses it at once, the others a tenth of a second later. It stays
-- through reloads and in workers that are replaced, until another one is set or the proxy is stopped. What is set while a new
-- generation is built (`init`) is that generation's alone until it serves.

local ffi = require "ffi"
local object = require "perigee._core.object"

local C, type, error, tostring, pairs, next = ffi.C, type, error, tostring, pairs, next
local ffi_string, ffi_new, inside = ffi.string, ffi.new, object.inside

local UNKNOWN, FIXED, REFUSED = C.PERI_FFI_UPSTREAM_UNKNOWN, C.PERI_FFI_UPSTREAM_FIXED, C.PERI_FFI_UPSTREAM_REFUSED
local FIELDS = { "address", "weight", "zone", "priority", "labels" }

---@class perigee.Endpoint
---@field address string "host:port", "[IPv6]:port" or "unix:/path"; also as the first element: `{ "host:port", weight = 2 }`
---@field weight? integer 1 by default
---@field zone? string
---@field priority? integer 0, which is asked first, to 15
---@field labels? table<string, string>

---@class perigee.Upstream
local Upstream, new = object.class "perigee.Upstream"

local text = ffi_new("struct peri_ffi_str[1]")

-- Raises an error for what is wrong in the script, whatever the endpoints are.
local function check_code(code, name, what)
    if code == UNKNOWN then
        error("there is no upstream '" .. name .. "'", 3)
    elseif code == FIXED then
        error("the endpoints of the upstream '" .. name .. "' are not a script's to set: it is not 'dynamic'", 3)
    elseif code ~= 0 and code ~= REFUSED then
        error(what .. " works in hooks, timers and init(), not while a module is loaded", 3)
    end
end

-- An endpoint in the form of the lists that files have; what is no table is left to the runtime to refuse.
local function write(endpoint)
    if type(endpoint) ~= "table" then
        return endpoint
    end
    local copy = {}
    for key, value in pairs(endpoint) do
        copy[key == 1 and "address" or key] = value
    end
    if type(copy.labels) == "table" and next(copy.labels) == nil then
        copy.labels = nil
    end
    return copy
end

local function encode(list)
    local copy, count = {}, 0
    for _ in pairs(list) do
        count = count + 1
    end
    if count ~= #list then
        return nil, "expected a list of endpoints, without names and gaps"
    end
    for i = 1, count do
        copy[i] = write(list[i])
    end
    if count == 0 then
        return "[]"
    end
    return require("perigee.json").encode(copy)
end

--- Makes these the endpoints. A list with anything wrong in it changes nothing. An empty one means that nobody is asked: 503.
---@param list (string|perigee.Endpoint)[] at most 1000, and 64 KiB as JSON
---@return true|nil is_set
---@return string|nil message what is wrong, and with which endpoint
function Upstream:set_endpoints(list)
    local name = inside(self).name
    if type(list) ~= "table" then
        error("set_endpoints expects a list of endpoints, not a " .. type(list), 2)
    end
    local json, problem = encode(list)
    if not json then
        return nil, problem
    end
    local code = C.peri_ffi_upstream_set(name, #name, json, #json, text)
    check_code(code, name, "set_endpoints")
    if code == REFUSED then
        return nil, ffi_string(text[0].ptr, text[0].len)
    end
    return true
end

--- The present endpoints, of any upstream, in the order of their addresses unless they are configured. They are copies.
---@return perigee.Endpoint[]
function Upstream:endpoints()
    local name = inside(self).name
    check_code(C.peri_ffi_upstream_get(name, #name, text), name, "endpoints")
    local list = {}
    for i, endpoint in ipairs(require("perigee.json").decode(ffi_string(text[0].ptr, text[0].len))) do
        list[i] = {}
        for _, field in ipairs(FIELDS) do
            list[i][field] = endpoint[field]
        end
    end
    return list
end

local upstream = {}

--- The upstream of this name, in the generation of the script that uses it. Also `perigee.upstream "name"`.
---@param name string
---@return perigee.Upstream
function upstream.open(name)
    if type(name) ~= "string" then
        error("the name of an upstream is a string, not a " .. type(name) .. " (" .. tostring(name) .. ")", 2)
    end
    return new { name = name }
end

return setmetatable(upstream, {
    __call = function(_, name)
        return upstream.open(name)
    end,
    __metatable = "perigee.upstream",
})
