-- SPDX-License-Identifier: MIT
--
-- Upstreams whose endpoints are found while the proxy runs: what must hold, and the normalised form
-- (docs/internals/config-json.md). The looking is done in C: runtime/proxy/discovery*.c.

local address = require "perigee._core.address"

local discovery = {}

-- The name that is looked up; nil when `dns` is an address already, or absent.
local function name_of(upstream)
    local parts = upstream.dns and address.parse_remote(upstream.dns)
    return parts and parts.kind == "name" and parts or nil
end

--- Is the set of endpoints anything but what the configuration says?
function discovery.is_used(upstream)
    return upstream.file ~= nil or upstream.srv ~= nil or name_of(upstream) ~= nil
end

-- Behind an SRV record there are names that only DNS has vouched for, so a certificate must carry another one.
local function check_tls(build, upstream, path)
    local tls = upstream.tls
    if upstream.srv and tls and tls.verify and not tls.sni and not tls.san then
        build:error({ path[1], path[2], "tls" }, "which name is to be verified? With srv set tls.sni or tls.san")
    end
end

--- Checks the validated upstream at `path`.
function discovery.check(build, upstream, path)
    check_tls(build, upstream, path)
    local balance = upstream.balance
    if not balance or not discovery.is_used(upstream) then
        return
    end
    local at = { path[1], path[2], "balance" }
    if type(balance) == "function" then
        build:error(at, "a function chooses among `endpoints`; those that are discovered it cannot see")
    elseif balance.secret then
        at[4] = "secret"
        build:error(at, "works with `endpoints` only, not with those that are discovered")
    end
end

--- Where the endpoints come from, normalised; nil when they are in the configuration.
function discovery.write(upstream)
    local name = name_of(upstream)
    if name then
        return { dns = address.format(name), host = name.host, port = name.port }
    end
    if upstream.srv then
        return { srv = (upstream.srv:lower():gsub("%.$", "")) }
    end
    return upstream.file and { file = upstream.file }
end

--- TLS of the upstream: behind the addresses of a name there is a certificate for that name.
function discovery.write_tls(upstream)
    local tls, name = upstream.tls, name_of(upstream)
    if not tls or not name or tls.sni then
        return tls
    end
    local copy = { sni = name.host }
    for key, value in pairs(tls) do
        copy[key] = value
    end
    return copy
end

--- The resolver's settings, normalised; nil without any.
function discovery.write_resolver(dns)
    local list = {}
    for i, server in ipairs(dns and dns.servers or {}) do
        list[i] = address.format(address.parse_remote(server))
    end
    return #list > 0 and { servers = table.concat(list, ",") } or nil
end

return discovery
