-- SPDX-License-Identifier: MIT
--
-- Upstreams whose endpoints are found while the proxy runs: what must hold, and the normalised form
-- (docs/internals/config-json.md). The looking is done in C: runtime/proxy/discovery*.c.

local address = require "perigee._core.address"
local check = require "perigee._core.checks"
local duration = require "perigee._core.duration"
local tls_settings = require "perigee._core.tls_settings"

local discovery = {}

local function check_http(http)
    if http.tls and not tostring(http.url):lower():find("^https:") then
        return 'is for URLs that begin with "https:"', "tls"
    end
    return nil
end

--- The schema of `http`.
discovery.http = {
    type = "table", short = "url", check = check_http,
    doc = "A server that lists the servers: as a list in JSON, or as Consul's health API does.",
    fields = {
        url = {
            type = "string", required = true, max = 4096, check = check.http_url,
            doc = "What is asked for, with GET: `http://` or `https://`, a host, a path, a query.",
        },
        interval = {
            type = "duration", default = "10s", min = "100ms", max = "24h",
            doc = "How long after an answer it is asked again, and up to a tenth more.",
        },
        timeout = { type = "duration", default = "5s", min = "1ms", max = "5m", doc = "For one answer." },
        wait = {
            type = "duration", min = "1s", max = "10m",
            doc = "How long the server may keep a question until there is news (Consul's blocking queries). Without "
                .. "it, and while the answers have no `X-Consul-Index`: it is asked once an interval.",
        },
        headers = {
            type = "map", keys = { type = "string", check = check.fetch_header_name }, secret = true,
            values = { type = "string", check = check.header_value },
            doc = "Header fields of the question, such as `X-Consul-Token`. Neither logged nor shown.",
        },
        tls = tls_settings.upstream,
    },
}

-- The name that is looked up; nil when `dns` is an address already, or absent.
local function name_of(upstream)
    local parts = upstream.dns and address.parse_remote(upstream.dns)
    return parts and parts.kind == "name" and parts or nil
end

--- Is the set of endpoints anything but what the configuration says?
function discovery.is_used(upstream)
    return upstream.file ~= nil or upstream.srv ~= nil or upstream.http ~= nil or upstream.dynamic ~= nil
        or name_of(upstream) ~= nil
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

-- C asks one address over a connection that it makes itself, so the scheme is in `tls` alone.
local function write_http(http)
    local url = require("perigee.uri").parse(http.url)
    local is_tls = url.scheme == "https"
    local authority = url.host .. (url.port and string.format(":%d", url.port) or "")
    return {
        http = url.scheme .. "://" .. authority .. url.path,
        poll = {
            address = url.host .. string.format(":%d", url.port or is_tls and 443 or 80),
            url = "http://" .. authority .. url.path .. (url.query and "?" .. url.query or ""),
            tls = is_tls and (http.tls or { verify = true, min_version = "1.2" }) or nil,
            interval_ms = duration.milliseconds(http.interval),
            timeout_ms = duration.milliseconds(http.timeout),
            wait_ms = http.wait and duration.milliseconds(http.wait),
            headers = http.headers and next(http.headers) and http.headers or nil,
        },
    }
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
    if upstream.http then
        return write_http(upstream.http)
    end
    if upstream.dynamic then
        return { dynamic = true }
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
