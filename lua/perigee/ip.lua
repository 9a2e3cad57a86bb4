-- SPDX-License-Identifier: MIT
--
-- perigee.ip: addresses and sets of networks. An IPv4 address written as IPv6 (`::ffff:10.0.0.1`) is the IPv4 address;
-- otherwise the families never meet: `::/0` holds no IPv4 address.

local ffi = require "ffi"
local object = require "perigee._core.object"

local C, ffi_string, inside = ffi.C, ffi.string, object.inside

local ip = {}

---@class perigee.IpSet
local IpSet, new_set = object.class "perigee.IpSet"

local text = ffi.new("char[?]", C.PERI_FFI_IP_TEXT)
local message = ffi.new("char[256]")

--- The canonical text of an address (RFC 5952) and its version. Strict: no leading zeros, no zone, no port.
---@param address string
---@return string|nil canonical
---@return integer|string version 4 or 6, or message
function ip.parse(address)
    local version = C.peri_ffi_ip_parse(address, #address, text)
    if version == 0 then
        return nil, "not an IP address"
    end
    return ffi_string(text), version
end

--- A set of addresses and networks such as `{ "10.0.0.0/8", "::1", "2001:db8::/32" }`. Lookups are a binary search in C.
---@param entries string[]
---@return perigee.IpSet|nil
---@return string|nil message names the entry that is wrong
function ip.set(entries)
    local handle = ffi.gc(C.peri_ffi_ip_set_new(), C.peri_ffi_ip_set_free)
    for i = 1, #entries do
        local entry = entries[i]
        if type(entry) ~= "string" then
            return nil, "entry " .. i .. " is not a string"
        end
        if C.peri_ffi_ip_set_add(handle, entry, #entry, message, ffi.sizeof(message)) ~= 0 then
            return nil, "entry " .. i .. ": " .. ffi_string(message)
        end
    end
    return new_set { handle = handle }
end

--- Is the address in the set? False with a message when it is no address.
---@param address string
---@return boolean
---@return string|nil message
function IpSet:contains(address)
    local found = C.peri_ffi_ip_set_contains(inside(self).handle, address, #address)
    if found < 0 then
        return false, "not an IP address"
    end
    return found == 1
end

return ip
