-- SPDX-License-Identifier: MIT
--
-- Listeners that pass TCP on: the settings that only they have, what these must fulfil together, and their normalised form.

local checks = require "perigee._core.checks"
local readable = require "perigee._core.readable"
local targets = require "perigee._core.targets"

local tcp_settings = {}

--- Settings of such listeners.
tcp_settings.upstream = {
    type = "string", doc = 'With protocol `"tcp"`: the upstream that connections are passed to.',
}
tcp_settings.sni = {
    type = "map", keys = { type = "string", check = checks.host_pattern }, values = "string",
    doc = 'With protocol `"tcp"`: upstreams by the server name in the client\'s TLS, exact or `"*.suffix"`. What has '
        .. "none of these names goes to `upstream`, or is closed without it.",
}

tcp_settings.policies = {
    type = "list", items = "any",
    doc = 'With protocol `"tcp"`: policies whose `on_connect` is asked, in order, before a connection is passed on.',
}

local function check_target(build, name, path)
    local message = targets.connection_problem(build, name)
    if message then
        build:error(path, message)
    end
end

local ONLY_TCP = { "upstream", "sni", "policies" }

local function check_http(build, listener, path)
    for _, name in ipairs(ONLY_TCP) do
        if listener[name] ~= nil then
            path[3] = name
            build:error(path, "is for listeners with protocol \"tcp\"; routes say where HTTP requests go")
        end
    end
end

--- Checks a validated listener.
---@param build table state of _core/config.lua
---@param listener table
---@param index integer
---@param written any the listener as it was written
function tcp_settings.check(build, listener, index, written)
    if listener.protocol ~= "tcp" then
        return check_http(build, listener, { "listeners", index })
    end
    if listener.upstream then
        check_target(build, listener.upstream, { "listeners", index, "upstream" })
    elseif not listener.sni then
        build:error({ "listeners", index }, 'needs \'upstream\' or \'sni\', since its protocol is "tcp"')
    end
    for _, name in ipairs(readable.sorted_keys(listener.sni or {})) do
        check_target(build, listener.sni[name], { "listeners", index, "sni", name })
    end
    local tls = type(written) == "table" and written.tls
    if type(tls) == "table" and tls.alpn ~= nil then
        build:error({ "listeners", index, "tls", "alpn" }, "a tcp listener speaks no protocol that it could offer")
    end
end

--- The normalised form; nil for other listeners.
---@param listener table
---@param connect integer|nil number of its policies among those of all listeners
---@return table|nil
function tcp_settings.write(listener, connect)
    if listener.protocol ~= "tcp" then
        return nil
    end
    local names = {}
    for i, name in ipairs(readable.sorted_keys(listener.sni or {})) do
        names[i] = { name = name:lower(), upstream = listener.sni[name] }
    end
    return { upstream = listener.upstream, sni = #names > 0 and names or nil, connect = connect }
end

return tcp_settings
