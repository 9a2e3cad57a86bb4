-- SPDX-License-Identifier: MIT
--
-- One try to send the request to an upstream, as on_upstream sees it: which one it is, and where it goes. Assigning `upstream`
-- or `endpoint` chooses.

local ffi = require "ffi"
local slot = require "perigee._core.slot"

local C, setmetatable, type, error, tostring = ffi.C, setmetatable, type, error, tostring
local ffi_string = ffi.string
local enter, fail = slot.enter, slot.fail

---@class perigee.Attempt
---@field number integer 1 for the first
---@field upstream string|nil name; may be set
---@field endpoint string|nil address; may be set to one of the upstream's

local Attempt = { __metatable = "perigee.Attempt" }

local function text(s, which)
    return C.peri_ffi_text(s, which) ~= 0 and ffi_string(s.ptr, s.len) or nil
end

function Attempt.__index(self, name)
    local s = enter(self)
    if name == "number" then
        return C.peri_ffi_number(s, C.PERI_FFI_ATTEMPTS)
    elseif name == "upstream" then
        return text(s, C.PERI_FFI_UPSTREAM)
    elseif name == "endpoint" then
        return text(s, C.PERI_FFI_ENDPOINT)
    end
    error("an attempt has no field '" .. tostring(name) .. "'; it has number, upstream and endpoint", 2)
end

function Attempt.__newindex(self, name, value)
    local s = enter(self)
    if name ~= "upstream" and name ~= "endpoint" then
        error("attempt." .. tostring(name) .. " cannot be set", 2)
    elseif type(value) ~= "string" then
        error("attempt." .. name .. " is a string, not a " .. type(value), 2)
    end
    local upstream = name == "upstream" and value or text(s, C.PERI_FFI_UPSTREAM) or ""
    local endpoint = name == "endpoint" and value or ""
    local code = C.peri_ffi_choose(s, upstream, #upstream, endpoint, #endpoint)
    if code ~= 0 then
        fail(code, "cannot choose the " .. name .. " '" .. value .. "'")
    end
end

local attempt = {}

--- The coming attempt of the request `owner`.
---@return perigee.Attempt
function attempt.new(owner)
    return setmetatable({ owner[1], owner[2] }, Attempt)
end

return attempt
