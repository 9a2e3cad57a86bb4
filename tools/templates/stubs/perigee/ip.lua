---@meta
-- Made by tools/stubs.py from the annotations in lua/perigee/. Editors read it; it is never run.
--
-- perigee.ip: addresses and sets of networks. An IPv4 address written as IPv6 (`::ffff:10.0.0.1`) is the IPv4 address;
-- otherwise the families never meet: `::/0` holds no IPv4 address.

---@class perigee.IpSet
local IpSet = {}

--- Is the address in the set? False with a message when it is no address.
---@param address string
---@return boolean
---@return string|nil message
function IpSet:contains(address) end

---@class perigee.ip.module
local ip = {}

--- The canonical text of an address (RFC 5952) and its version. Strict: no leading zeros, no zone, no port.
---@param address string
---@return string|nil canonical
---@return integer|string version 4 or 6, or message
function ip.parse(address) end

--- A set of addresses and networks such as `{ "10.0.0.0/8", "::1", "2001:db8::/32" }`. Lookups are a binary search in C.
---@param entries string[]
---@return perigee.IpSet|nil
---@return string|nil message names the entry that is wrong
function ip.set(entries) end

return ip
