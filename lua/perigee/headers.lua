-- SPDX-License-Identifier: MIT
--
-- Header fields of a request or a response, by name in any case. `headers["x-a"]` reads the first value, assigning sets or
-- (nil) removes. The names of the methods below are reached with `get`.

local ffi = require "ffi"
local slot = require "perigee._core.slot"

local C, setmetatable, type, tostring, error = ffi.C, setmetatable, type, tostring, error
local ffi_string = ffi.string
local enter, fail = slot.enter, slot.fail

---@class perigee.Headers
---@field [string] string|nil
local methods = {}

local name_out = ffi.new("struct peri_ffi_str[1]")

local function check_name(name)
    if type(name) ~= "string" then
        error("the name of a header is a string, not a " .. type(name), 3)
    end
end

local function text_of(name, value)
    if type(value) == "string" then
        return value
    elseif type(value) == "number" then
        return tostring(value)
    end
    error("the value of header '" .. name .. "' is a string, not a " .. type(value), 3)
end

--- First value of a header.
---@param name string in any case
---@return string|nil
function methods:get(name)
    local s = enter(self)
    check_name(name)
    if C.peri_ffi_header_get(s, self[3], name, #name) == 0 then
        return nil
    end
    return ffi_string(s.ptr, s.len)
end

--- All values of a header, in order.
---@param name string
---@return string[]
function methods:all(name)
    local s = enter(self)
    check_name(name)
    local at = C.peri_ffi_header_next(s, self[3], name, #name, 0)
    if at == 0 then
        return {}
    end
    local list = { ffi_string(s.ptr, s.len) }
    at = C.peri_ffi_header_next(s, self[3], name, #name, at)
    while at > 0 do -- not entered for most headers, so that what calls this compiles as one trace
        list[#list + 1] = ffi_string(s.ptr, s.len)
        at = C.peri_ffi_header_next(s, self[3], name, #name, at)
    end
    return list
end

--- Credentials of a header such as Authorization: what follows the scheme (RFC 9110 11.4).
---@param name string
---@param scheme string in any case, such as "bearer"
---@return string|nil credentials
---@return string|nil problem "absent", "scheme" (it is another one) or "repeated" (more than one header of this name)
function methods:credentials(name, scheme)
    local s = enter(self)
    check_name(name)
    local found = C.peri_ffi_header_credentials(s, self[3], name, #name, scheme, #scheme)
    if found == 1 then
        return ffi_string(s.ptr, s.len)
    end
    return nil, found == 0 and "absent" or found == -1 and "scheme" or "repeated"
end

--- Makes a header occur once, with this value; nil removes it.
---@param name string
---@param value string|number|nil
function methods:set(name, value)
    local s = enter(self)
    check_name(name)
    local code
    if value == nil then
        code = C.peri_ffi_header_remove(s, self[3], name, #name)
    else
        local text = text_of(name, value)
        code = C.peri_ffi_header_set(s, self[3], name, #name, text, #text)
    end
    if code ~= 0 then
        fail(code, "cannot set header '" .. name .. "'")
    end
end

--- Appends a header, beside those of the same name.
---@param name string
---@param value string|number
function methods:add(name, value)
    local s = enter(self)
    check_name(name)
    local text = text_of(name, value)
    local code = C.peri_ffi_header_add(s, self[3], name, #name, text, #text)
    if code ~= 0 then
        fail(code, "cannot add header '" .. name .. "'")
    end
end

--- Removes all headers of a name.
---@param name string
function methods:remove(name)
    local s = enter(self)
    check_name(name)
    local code = C.peri_ffi_header_remove(s, self[3], name, #name)
    if code ~= 0 then
        fail(code, "cannot remove header '" .. name .. "'")
    end
end

--- Walks all fields in order: `for name, value in req.headers:iterate() do … end`. Names are in lower case.
---@return fun(): string|nil, string|nil
function methods:iterate()
    local at = 0
    enter(self)
    return function()
        local s = enter(self)
        if C.peri_ffi_header_at(s, self[3], at, name_out) == 0 then
            return nil
        end
        at = at + 1
        return ffi_string(name_out[0].ptr, name_out[0].len), ffi_string(s.ptr, s.len)
    end
end

local get, set = methods.get, methods.set

local Headers = { __metatable = "perigee.Headers", __newindex = set, __pairs = methods.iterate }

function Headers.__index(self, name)
    local method = methods[name]
    if method then
        return method
    end
    return get(self, name)
end

local headers = {}

--- The list `which` (PERI_FFI_*_HEADERS, PERI_FFI_*_TRAILERS) of the exchange behind `owner`.
function headers.new(owner, which)
    return setmetatable({ owner[1], owner[2], which }, Headers)
end

return headers
