-- SPDX-License-Identifier: MIT
--
-- Active health checks of an upstream: the settings, what they must fulfil together, and the form in which C reads them
-- (docs/internals/config-json.md). The checks are made in C: runtime/upstream/checker.c.

local address = require "perigee._core.address"
local check = require "perigee._core.checks"
local duration = require "perigee._core.duration"
local percent = require "perigee._core.percent"
local readable = require "perigee._core.readable"

local health = {}

local function check_path(text)
    if text:sub(1, 1) ~= "/" or text:find("[%z\1-\32\127-\255#]") then
        return 'expected a path such as "/healthz", percent-encoded'
    end
    return nil
end

local function check_host(text)
    if not text:find("^[%w._%-%[%]:]+$") then
        return 'expected a host such as "users.internal" or "users.internal:8080"'
    end
    return nil
end

local SECRET = { ["authorization"] = true, ["cookie"] = true, ["proxy-authorization"] = true }

local function check_header(text)
    local name = text:lower()
    if name == "host" then
        return "is the setting 'host'"
    elseif SECRET[name] then
        return "is a credential: these headers are shown with the configuration"
    end
    return check.reply_header_name(text)
end

local port = {
    type = "integer", min = 1, max = 65535, doc = "Port that is checked in the place of the one that requests go to.",
}

--- The schema of `health` of an endpoint.
health.endpoint = {
    type = "table", doc = "Where this server is checked, if not where the others are.",
    fields = {
        port = port,
        path = { type = "string", max = 1024, check = check_path, doc = "http: path that is asked." },
    },
}

local function run(default, what)
    return {
        type = "integer", default = default, min = 1, max = 1000,
        doc = what .. " in a row after which a server counts as such. The first check decides by itself.",
    }
end

--- The schema of `health` of an upstream.
health.upstream = {
    type = "table",
    doc = "Servers are asked in intervals how they are; those that are not well get no requests. One process of a host "
        .. "asks for all workers. Without it: nobody asks.",
    fields = {
        type = {
            type = "string", enum = { "http", "tcp", "grpc" }, default = "http",
            doc = "What is asked: `GET` of a path; a connection; `grpc.health.v1.Health/Check`. Over TLS if the "
                .. "upstream has it.",
        },
        path = {
            type = "string", max = 1024, check = check_path,
            doc = 'http: path that is asked, with its query. Default `"/"`.',
        },
        host = {
            type = "string", min = 1, max = 253, check = check_host,
            doc = "http, grpc: the host that is asked for. Without it: the name in `dns`, or the server's address.",
        },
        port = port,
        interval = {
            type = "duration", default = "5s", min = "10ms", max = "24h",
            doc = "From the end of a check to the next one of the same server.",
        },
        jitter = {
            type = "string", default = "10%", check = percent.check("0%", "100%"),
            doc = "Share of `interval` that is added at random, at most, so that proxies do not all ask at once.",
        },
        timeout = {
            type = "duration", default = "2s", min = "1ms", max = "1h",
            doc = "How long a check may take, the connection included.",
        },
        healthy = run(2, "Successes"),
        unhealthy = run(3, "Failures"),
        expected = {
            type = "list", min = 1, max = 100,
            items = {
                type = "one_of",
                of = {
                    { type = "integer", min = 200, max = 599 },
                    { type = "string", enum = { "2xx", "3xx", "4xx", "5xx" } },
                },
            },
            doc = "http: statuses that are a success: numbers, and classes such as `\"2xx\"`. Default `{ 200 }`.",
        },
        headers = {
            type = "map", keys = { type = "string", check = check_header },
            values = { type = "string", max = 1024, check = check.header_value },
            doc = "http, grpc: headers that are sent. No place for secrets.",
        },
        service = {
            type = "string", max = 256,
            doc = 'grpc: the service whose state is asked for. Default `""`: the server as a whole.',
        },
        initial = {
            type = "string", enum = { "healthy", "unhealthy" }, default = "healthy",
            doc = "What a server counts as that was never checked.",
        },
    },
}

-- ---------------------------------------------------------------- checks

local KINDS = {
    path = { http = true }, expected = { http = true }, service = { grpc = true },
    host = { http = true, grpc = true }, headers = { http = true, grpc = true },
}

local function check_endpoints(build, upstream, path)
    for i, endpoint in ipairs(upstream.endpoints or {}) do
        local own = endpoint and endpoint.health
        local at = { path[1], path[2], "endpoints", i, "health" }
        if own and not upstream.health then
            build:error(at, "has no effect: the upstream has no 'health'")
        elseif own and own.path and upstream.health.type and upstream.health.type ~= "http" then
            at[6] = "path"
            build:error(at, 'has no effect with type "' .. upstream.health.type .. '"')
        elseif own and own.port and endpoint.address and endpoint.address:find("^unix:") then
            at[6] = "port"
            build:error(at, "a unix socket has no port")
        end
    end
end

local function check_type(build, upstream, path)
    local conf = upstream.health
    for _, name in ipairs(readable.sorted_keys(KINDS)) do
        if conf[name] ~= nil and not KINDS[name][conf.type] then
            build:error({ path[1], path[2], "health", name }, 'has no effect with type "' .. conf.type .. '"')
        end
    end
    local at = { path[1], path[2], "health", "type" }
    if conf.type == "grpc" and upstream.protocol == "h1" then
        build:error(at, 'gRPC needs HTTP/2, and the protocol is "h1"')
    elseif conf.type ~= "tcp" and upstream.proxy_protocol then
        build:error(at, 'must be "tcp": checks send no PROXY header')
    end
end

--- Checks the validated upstream at `path`; what was refused is missing in it.
function health.check(build, upstream, path)
    check_endpoints(build, upstream, path)
    if upstream.health and upstream.health.type then
        check_type(build, upstream, path)
    end
end

-- ---------------------------------------------------------------- normalised form

local function write_expected(list)
    local ranges = {}
    for i, status in ipairs(list or { 200 }) do
        local class = type(status) == "string" and tonumber(status:sub(1, 1)) * 100
        ranges[i] = { class or status, class and class + 99 or status }
    end
    return ranges
end

local function write_headers(headers)
    local list = {}
    for i, name in ipairs(readable.sorted_keys(headers or {})) do
        list[i] = { name:lower(), headers[name] }
    end
    return #list > 0 and list or nil
end

-- Behind the addresses of a name there are servers of that name.
local function write_host(upstream)
    local parts = upstream.dns and address.parse_remote(upstream.dns)
    if upstream.health.host or not parts or parts.kind ~= "name" then
        return upstream.health.host
    end
    return parts.host .. ":" .. (upstream.health.port or parts.port)
end

--- The normalised form; nil without checks.
---@param upstream table validated
---@return table|nil
function health.write(upstream)
    local conf = upstream.health
    if not conf then
        return nil
    end
    local interval = duration.milliseconds(conf.interval)
    return {
        type = conf.type, host = conf.type ~= "tcp" and write_host(upstream) or nil, port = conf.port,
        path = conf.type == "http" and (conf.path or "/") or nil,
        expected = conf.type == "http" and write_expected(conf.expected) or nil,
        headers = write_headers(conf.headers), service = conf.service ~= "" and conf.service or nil,
        interval_ms = interval, jitter_ms = math.floor(interval * percent.parse(conf.jitter) / 1000000),
        timeout_ms = duration.milliseconds(conf.timeout),
        healthy = conf.healthy, unhealthy = conf.unhealthy, initial = conf.initial,
    }
end

return health
