-- SPDX-License-Identifier: MIT
--
-- The body of a request or a response. It streams past unless a script reads the whole (`read` waits until it is there) or
-- replaces it.

local ffi = require "ffi"
local async = require "perigee._core.async"
local current = require "perigee._core.current"
local shadow = require "perigee._core.shadow"
local slot = require "perigee._core.slot"

local C, setmetatable, type, error, tonumber = ffi.C, setmetatable, type, error, tonumber
local ffi_string = ffi.string
local enter, fail = slot.enter, slot.fail

local LIMIT = 1024 * 1024

---@class perigee.Body
local methods = {}

local function check_limit(limit)
    if limit == nil then
        return LIMIT
    elseif type(limit) ~= "number" or limit ~= limit or limit < 0 then
        error("the limit of a body is a number of bytes", 3)
    end
    return limit
end

--- The whole body; waits until it has arrived.
---@param limit? integer most bytes; 1 MiB by default
---@return string|nil body nil when it is larger or cannot be had
---@return string|nil message
function methods:read(limit)
    limit = check_limit(limit)
    if current.shadow and current.shadow.bodies[self[3]] then
        return current.shadow.bodies[self[3]]
    end
    local code = C.peri_ffi_body_want(enter(self), self[3], limit)
    if code == -1 then
        code = async.pause()
    end
    if code ~= 0 then
        return nil, ffi_string(C.peri_ffi_error_text(code))
    end
    local s = enter(self)
    local len = C.peri_ffi_body_len(s, self[3])
    if len > limit then
        return nil, "the body is larger than " .. limit .. " bytes"
    end
    local bytes = ffi.new("char[?]", len)
    C.peri_ffi_body_copy(s, self[3], bytes)
    return ffi_string(bytes, len)
end

--- The whole body, decoded as JSON.
---@param limit? integer most bytes; 1 MiB by default
---@return any value nil when it cannot be had or is no JSON
---@return string|nil message
function methods:json(limit)
    local text, message = self:read(limit)
    if not text then
        return nil, message
    end
    return require("perigee.json").decode(text)
end

--- Replaces the body. Content-Length follows by itself.
---@param text string
function methods:set(text)
    local s = enter(self)
    if type(text) ~= "string" then
        error("a body is a string, not a " .. type(text), 2)
    elseif current.shadow then
        return shadow.set_body(current.shadow, self[3], text)
    end
    local code = C.peri_ffi_body_set(s, self[3], text, #text)
    if code ~= 0 then
        fail(code, "cannot set the body")
    end
end

--- Lowers the limit of the request body: beyond it the client gets 413.
---@param bytes integer
function methods:limit(bytes)
    local s = enter(self)
    if self[3] ~= tonumber(C.PERI_FFI_REQUEST) then
        error("only the body of a request has a limit", 2)
    elseif current.shadow then
        return shadow.limit_body(current.shadow, check_limit(bytes))
    end
    C.peri_ffi_body_limit(s, check_limit(bytes))
end

local Body = { __metatable = "perigee.Body" }

function Body.__index(_, name)
    return methods[name] or error("a body has no method '" .. tostring(name) .. "'", 2)
end

function Body.__newindex()
    error("a body is replaced with body:set(text)", 2)
end

local body = {}

--- The body on `side` (PERI_FFI_REQUEST, PERI_FFI_RESPONSE) of the exchange behind `owner`.
function body.new(owner, side)
    return setmetatable({ owner[1], owner[2], side }, Body)
end

return body
