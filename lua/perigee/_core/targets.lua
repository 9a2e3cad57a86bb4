-- SPDX-License-Identifier: MIT
--
-- Names of upstreams in a configuration, wherever they are written: whether there is such an upstream, and whether it can be
-- used there. A request must not find out first.

local readable = require "perigee._core.readable"
local suggest = require "perigee._core.suggest"

local targets = {}

--- Can connections be passed to this upstream as they come?
---@param upstream any as it was written
---@return boolean
function targets.takes_connections(upstream)
    return type(upstream) == "table" and upstream.tls == nil
end

local function unknown(build, name)
    return "there is no upstream " .. readable.quote(name) .. suggest.tail(name, build.upstream_names, "upstreams")
end

--- Why requests cannot be sent to the upstream of this name; nil when they can.
---@param build table state of _core/config.lua
---@param name string
---@return string|nil message
function targets.request_problem(build, name)
    local upstream = build.upstreams[name]
    if upstream == nil then
        return unknown(build, name)
    elseif type(upstream) == "table" and upstream.proxy_protocol then
        return "upstream " .. readable.quote(name) .. " has proxy_protocol, which only tcp listeners can send"
    end
    return nil
end

--- Why the connections of a tcp listener cannot be passed to the upstream of this name; nil when they can.
---@param build table state of _core/config.lua
---@param name string
---@return string|nil message
function targets.connection_problem(build, name)
    local upstream = build.upstreams[name]
    if upstream == nil then
        return unknown(build, name)
    elseif not targets.takes_connections(upstream) then
        return "upstream " .. readable.quote(name) .. " has tls, but a tcp listener passes bytes on as they come"
    end
    return nil
end

return targets
