-- SPDX-License-Identifier: MIT
--
-- The response as policies see it: the upstream's, or the proxy's own answer.

local ffi = require "ffi"
local body = require "perigee.body"
local headers = require "perigee.headers"
local slot = require "perigee._core.slot"
local suggest = require "perigee._core.suggest"

local C, setmetatable, type, error, tostring, tonumber = ffi.C, setmetatable, type, error, tostring, tonumber
local enter, fail = slot.enter, slot.fail

---@class perigee.Response
---@field status integer may be set
---@field headers perigee.Headers
---@field trailers perigee.Headers
---@field body perigee.Body
---@field upstream string|nil name of the upstream that was chosen, also when it gave no answer
---@field endpoint string|nil address of its endpoint; nil when none could be used
local response = {}

local FIELDS = { "body", "endpoint", "headers", "status", "trailers", "upstream" }
local STATUS = C.PERI_FFI_STATUS
local RESPONSE_SIDE = tonumber(C.PERI_FFI_RESPONSE)
local RESPONSE_HEADERS, RESPONSE_TRAILERS = C.PERI_FFI_RESPONSE_HEADERS, C.PERI_FFI_RESPONSE_TRAILERS

local getters = {}

function getters.status(self)
    return C.peri_ffi_number(enter(self), STATUS)
end

function getters.headers(self)
    return headers.new(self, RESPONSE_HEADERS)
end

function getters.trailers(self)
    return headers.new(self, RESPONSE_TRAILERS)
end

function getters.body(self)
    return body.new(self, RESPONSE_SIDE)
end

local function text(self, which)
    local s = enter(self)
    return C.peri_ffi_text(s, which) ~= 0 and slot.text(s) or nil
end

function getters.upstream(self)
    return text(self, C.PERI_FFI_UPSTREAM)
end

function getters.endpoint(self)
    return text(self, C.PERI_FFI_ENDPOINT)
end

local function unknown(name)
    error("a response has no field '" .. tostring(name) .. "'" .. suggest.tail(tostring(name), FIELDS, "fields"), 3)
end

local Response = { __metatable = "perigee.Response" }

function Response.__eq(a, b)
    return a[1] == b[1] and a[2] == b[2]
end

function Response.__index(self, name)
    local get = getters[name]
    if not get then
        unknown(name)
    end
    return get(self)
end

function Response.__newindex(self, name, value)
    if name ~= "status" then
        if not getters[name] then
            unknown(name)
        end
        error("res." .. name .. " cannot be set", 2)
    elseif type(value) ~= "number" or value % 1 ~= 0 then
        error("res.status is a whole number from 200 to 599", 2)
    end
    local code = C.peri_ffi_set_status(enter(self), value)
    if code ~= 0 then
        fail(code, "cannot set res.status to " .. value)
    end
end

--- The response of the exchange behind `owner`.
---@return perigee.Response
function response.new(owner)
    return setmetatable({ owner[1], owner[2] }, Response)
end

return response
