-- SPDX-License-Identifier: MIT
--
-- Which modules of the SDK scripts may require.

local native = require "perigee._core.native"

local public = {}

--- Modules that are fields of `perigee` too.
public.MODULES = {
    "base64", "cache", "crypto", "http", "ip", "json", "jwt", "log", "metrics", "redis", "regex", "shared", "time",
    "timer", "upstream", "uri",
}

local allowed = { perigee = true }
for _, name in ipairs(public.MODULES) do
    allowed["perigee." .. name] = true
end

--- May scripts require this?
---@param name string
---@return boolean
function public.is_module(name)
    local algorithm = name:match("^perigee%.algo%.([%w_]+)$")
    return allowed[name] or algorithm ~= nil and native.embedded("lua/perigee/algo/" .. algorithm .. ".lua") ~= nil
end

return public
