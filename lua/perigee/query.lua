-- SPDX-License-Identifier: MIT
--
-- Query parameters of a request. Names and values are given and returned decoded; `tostring(req.query)` is the text as it
-- stands, without '?'.

local ffi = require "ffi"
local slot = require "perigee._core.slot"

local C, setmetatable, type, error, tonumber = ffi.C, setmetatable, type, error, tonumber
local char, byte, format = string.char, string.byte, string.format
local find, gsub, gmatch = string.find, string.gsub, string.gmatch
local ffi_string = ffi.string
local enter, fail = slot.enter, slot.fail

---@class perigee.Query
local methods = {}

local function unescape(hex)
    return char(tonumber(hex, 16))
end

-- A broken escape stays as it is.
local function decode(text)
    if not find(text, "[%%+]") then
        return text
    end
    return (gsub(gsub(text, "+", " "), "%%(%x%x)", unescape))
end

local function escape(c)
    return format("%%%02X", byte(c))
end

local function encode(text)
    return (gsub(text, "[^%w%-._~]", escape))
end

local function raw(self)
    local s = enter(self)
    C.peri_ffi_text(s, C.PERI_FFI_QUERY)
    return ffi_string(s.ptr, s.len)
end

local function replace(self, text)
    local code = C.peri_ffi_set_text(enter(self), C.PERI_FFI_QUERY, text, #text)
    if code ~= 0 then
        fail(code, "cannot set the query")
    end
end

-- The pairs of the query whose name is not `name`, as text.
local function without(self, name)
    local kept = {}
    for pair in gmatch(raw(self), "[^&]+") do
        if decode(pair:match("^[^=]*")) ~= name then
            kept[#kept + 1] = pair
        end
    end
    return kept
end

local function check_name(name)
    if type(name) ~= "string" then
        error("the name of a query parameter is a string, not a " .. type(name), 3)
    end
end

--- First value of a parameter; "" when it is written without '='.
---@param name string
---@return string|nil
function methods:get(name)
    local s = enter(self)
    check_name(name)
    if C.peri_ffi_query_get(s, name, #name) == 0 then
        return nil
    end
    return decode(ffi_string(s.ptr, s.len))
end

--- Walks all parameters in order: `for name, value in req.query:iterate() do … end`.
---@return fun(): string|nil, string|nil
function methods:iterate()
    local next_pair = gmatch(raw(self), "[^&]+")
    return function()
        local pair = next_pair()
        if not pair then
            return nil
        end
        local name, value = pair:match("^([^=]*)=?(.*)$")
        return decode(name), decode(value)
    end
end

--- All values of a parameter, in order.
---@param name string
---@return string[]
function methods:all(name)
    local list = {}
    check_name(name)
    for found, value in self:iterate() do
        if found == name then
            list[#list + 1] = value
        end
    end
    return list
end

--- Makes a parameter occur once, at the end, with this value; nil removes it.
---@param name string
---@param value string|number|nil
function methods:set(name, value)
    check_name(name)
    local kept = without(self, name)
    if value ~= nil then
        if type(value) ~= "string" and type(value) ~= "number" then
            error("the value of a query parameter is a string, not a " .. type(value), 2)
        end
        kept[#kept + 1] = encode(name) .. "=" .. encode(value .. "")
    end
    replace(self, table.concat(kept, "&"))
end

--- Removes all parameters of a name.
---@param name string
function methods:remove(name)
    check_name(name)
    replace(self, table.concat(without(self, name), "&"))
end

local Query = { __metatable = "perigee.Query", __tostring = raw, __pairs = methods.iterate }

function Query.__index(_, name)
    local method = methods[name]
    if not method then
        error("req.query has no method '" .. tostring(name) .. "'; parameters are read with get()", 2)
    end
    return method
end

function Query.__newindex()
    error("parameters are changed with req.query:set(name, value)", 2)
end

local query = { replace = replace }

--- The query of the request `owner`.
function query.new(owner)
    return setmetatable({ owner[1], owner[2] }, Query)
end

return query
