-- SPDX-License-Identifier: MIT
--
-- Who sent a request: `req.client.ip` (behind the trusted hops) and `req.client.port` of the connection.

local ffi = require "ffi"
local slot = require "perigee._core.slot"

local C, setmetatable, error, tostring = ffi.C, setmetatable, error, tostring
local ffi_string = ffi.string
local enter = slot.enter

---@class perigee.Client
---@field ip string
---@field port integer 0 for unix sockets

local Client = { __metatable = "perigee.Client" }

function Client.__index(self, name)
    local s = enter(self)
    if name == "ip" then
        return C.peri_ffi_text(s, C.PERI_FFI_CLIENT_IP) ~= 0 and ffi_string(s.ptr, s.len) or nil
    elseif name == "port" then
        return C.peri_ffi_number(s, C.PERI_FFI_CLIENT_PORT)
    end
    error("req.client has no field '" .. tostring(name) .. "'; it has ip and port", 2)
end

function Client.__newindex()
    error("req.client is read-only", 2)
end

local client = {}

--- The client of the request `owner`.
function client.new(owner)
    return setmetatable({ owner[1], owner[2] }, Client)
end

return client
