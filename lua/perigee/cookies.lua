-- SPDX-License-Identifier: MIT
--
-- Cookies of a request (RFC 6265), read-only: `req.cookies["session"]`. Values are as sent, without quotes around them.

local ffi = require "ffi"
local slot = require "perigee._core.slot"

local C, setmetatable, type, error = ffi.C, setmetatable, type, error
local ffi_string = ffi.string
local enter = slot.enter

---@class perigee.Cookies
---@field [string] string|nil
local methods = {}

--- Value of a cookie.
---@param name string
---@return string|nil
function methods:get(name)
    local s = enter(self)
    if type(name) ~= "string" then
        error("the name of a cookie is a string, not a " .. type(name), 2)
    end
    if C.peri_ffi_cookie_get(s, name, #name) == 0 then
        return nil
    end
    return ffi_string(s.ptr, s.len)
end

--- Walks all cookies in order: `for name, value in req.cookies:iterate() do … end`.
---@return fun(): string|nil, string|nil
function methods:iterate()
    local s, pairs_of, at = enter(self), {}, C.peri_ffi_header_next(enter(self), 0, "cookie", 6, 0)
    while at > 0 do
        for name, value in ffi_string(s.ptr, s.len):gmatch("([^=;%s]+)=([^;]*)") do
            pairs_of[#pairs_of + 1] = { name, (value:gsub("%s+$", ""):gsub('^"(.*)"$', "%1")) }
        end
        at = C.peri_ffi_header_next(s, 0, "cookie", 6, at)
    end
    local i = 0
    return function()
        i = i + 1
        if pairs_of[i] then
            return pairs_of[i][1], pairs_of[i][2]
        end
    end
end

local get = methods.get
local Cookies = { __metatable = "perigee.Cookies", __pairs = methods.iterate }

function Cookies.__index(self, name)
    return methods[name] or get(self, name)
end

function Cookies.__newindex()
    error("cookies of a request are read-only; change the 'cookie' header", 2)
end

local cookies = {}

--- The cookies of the request `owner`.
function cookies.new(owner)
    return setmetatable({ owner[1], owner[2] }, Cookies)
end

return cookies
