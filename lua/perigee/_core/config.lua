-- SPDX-License-Identifier: MIT
--
-- Compiles a configuration: checks the value that the file returned, and writes it in the normalised form that C reads
-- (docs/internals/config-json.md) together with the chains of policies that Lua runs. All errors are found in one go:
--
--   value → references (JSON) → schema → names and references → policies → normalised form and chains

local address = require "perigee._core.address"
local balance = require "perigee._core.balance"
local discovery = require "perigee._core.discovery"
local duration = require "perigee._core.duration"
local health = require "perigee._core.health"
local locate = require "perigee._core.locate"
local overload = require "perigee._core.overload"
local percent = require "perigee._core.percent"
local readable = require "perigee._core.readable"
local references = require "perigee._core.references"
local resilience = require "perigee._core.resilience"
local routes = require "perigee._core.routes"
local schema = require "perigee._core.schema"
local settings = require "perigee._core.settings"
local tcp_settings = require "perigee._core.tcp_settings"
local targets = require "perigee._core.targets"
local tls_settings = require "perigee._core.tls_settings"
local uses = require "perigee._core.uses"

local config = {}

---@class perigee.ConfigContext what compile() needs from its surroundings
---@field file string name of the file, for messages; ".json" at its end means JSON
---@field text string|nil its text, for lines
---@field load_policy fun(name: string): perigee.Policy|nil, { file: string|nil, line: integer|nil, message: string }|nil
---@field role string|nil role when the file names none
---@field secrets table<string, true>|nil strings that `file` and `env` gave: no message shows them
---@field policy_names string[]|nil names of the policies there are, for suggestions
---@field compile_regex nil|fun(pattern: string): (fun(subject: string): boolean)|nil, string|nil
---@field encode_json nil|fun(value: table): string|nil, string|nil
---@field read_file nil|fun(path: string): string|nil, string|nil for JSON
---@field env nil|fun(name: string): string|nil for JSON
---@field null any value that stands for null in JSON

---@class perigee.ConfigError
---@field file string
---@field line integer|nil
---@field path string e.g. routes[2].match.path
---@field message string

-- ---------------------------------------------------------------- state of one run

local function compile_regex(pattern)
    local compiled, message = require("perigee.regex").compile(pattern)
    if not compiled then
        return nil, message
    end
    return function(subject) return compiled:test(subject) end
end

local function encode_json(value)
    return require("perigee.json").encode(value)
end

local function no_files()
    return nil, "files cannot be read here"
end

local function no_variables()
    return nil
end

local function add_error(build, path, message)
    schema.add_error(build.errors, path, message)
end

local function new_build(ctx)
    return {
        is_json = ctx.file:find("%.json$") ~= nil,
        errors = {},
        secrets = ctx.secrets or {},
        policies = {}, -- by name: loaded definitions
        policy_names = ctx.policy_names or {},
        upstreams = {},
        upstream_names = {},
        route_names = {},
        global_uses = {},
        null = ctx.null,
        load_policy = ctx.load_policy,
        compile_regex = ctx.compile_regex or compile_regex,
        encode_json = ctx.encode_json or encode_json,
        read_file = ctx.read_file or no_files,
        env = ctx.env or no_variables,
        error = add_error,
    }
end

-- ---------------------------------------------------------------- what must hold between settings

local function check_listeners(build, conf)
    local taken = {}
    local admin = conf.admin and address.parse_local(conf.admin)
    if admin and admin.port ~= 0 then
        taken[address.format(admin)] = "the admin API"
    end
    for i, listener in ipairs(conf.listeners or {}) do
        local parts = listener and listener.address and address.parse_local(listener.address)
        local text = parts and address.format(parts)
        if text and taken[text] then
            build:error({ "listeners", i, "address" }, "is the address of " .. taken[text] .. " already")
        end
        if text and parts.port ~= 0 then -- the system chooses another port each time
            taken[text] = taken[text] or "listener " .. i
        end
    end
end

local function check_endpoints(build, name, endpoints, setting)
    local seen = {}
    for i, endpoint in ipairs(endpoints) do
        local text = endpoint and endpoint.address
        if text and seen[text] then
            local message = "is endpoint " .. seen[text] .. " already; give that one more weight"
            build:error({ "upstreams", name, setting, i }, message)
        elseif text then
            seen[text] = i
        end
    end
end

-- Whom a certificate must name has to be known: addresses of unix sockets have no host.
local function check_protocol(build, name, upstream)
    local tls = upstream.tls
    if upstream.protocol == "h2" and not tls then
        build:error({ "upstreams", name, "protocol" }, '"h2" needs tls; without TLS it is called "h2c"')
    elseif upstream.protocol == "h2c" and tls then
        build:error({ "upstreams", name, "protocol" }, '"h2c" is without tls; with TLS it is called "h2"')
    end
    for i, endpoint in ipairs(tls and tls.verify and not tls.sni and not tls.san and upstream.endpoints or {}) do
        if endpoint and tostring(endpoint.address):find("^unix:") then
            build:error({ "upstreams", name, "endpoints", i },
                "a unix socket has no name to verify: set tls.sni or tls.san")
        end
    end
end

local function check_upstreams(build, conf, written)
    -- An upstream with an error of its own still exists for the routes that name it.
    build.upstreams = type(written.upstreams) == "table" and written.upstreams or {}
    for _, name in ipairs(readable.sorted_keys(build.upstreams)) do
        if type(name) == "string" then
            build.upstream_names[#build.upstream_names + 1] = name
        end
    end
    build.checked_upstreams = conf.upstreams or {}
    for name, upstream in pairs(build.checked_upstreams) do
        check_endpoints(build, name, upstream.endpoints or {}, "endpoints")
        check_endpoints(build, name, upstream.dynamic or {}, "dynamic")
        check_protocol(build, name, upstream)
        balance.check(build, upstream, { "upstreams", name })
        discovery.check(build, upstream, { "upstreams", name })
        health.check(build, upstream, { "upstreams", name })
        resilience.check(build, upstream, { "upstreams", name })
    end
end

local function check_tcp(build, conf, written)
    local list = type(written.listeners) == "table" and written.listeners or {}
    for i, listener in ipairs(conf.listeners or {}) do
        if listener then
            tcp_settings.check(build, listener, i, list[i])
        end
    end
end

-- What policies may set conn.upstream to.
local function tcp_targets(build)
    local names = {}
    for _, name in ipairs(build.upstream_names) do
        names[name] = targets.takes_connections(build.upstreams[name]) or nil
    end
    return names
end

local function check_connect_uses(build, written, path)
    for k, use in ipairs(written) do
        if type(use) == "table" and use.dry_run then
            build:error({ path[1], path[2], path[3], k, "dry_run" }, "is for the policies of routes")
        elseif type(use) == "table" and type(use.when) == "table" then
            build:error({ path[1], path[2], path[3], k, "when" },
                "matches requests; for a connection write a function of it")
        end
    end
end

-- The chains of the listeners that have policies, and by listener its chain with its number.
local function compile_connects(build, conf)
    local chains, by_listener, upstreams = {}, {}, tcp_targets(build)
    for i, listener in ipairs(conf.listeners or {}) do
        if listener and listener.protocol == "tcp" and listener.policies and #listener.policies > 0 then
            local path = { "listeners", i, "policies" }
            check_connect_uses(build, listener.policies, path)
            local list = uses.make(build, listener.policies, path, "listener-" .. i, true)
            chains[#chains + 1] = { name = "listener-" .. i, policies = list, upstreams = upstreams }
            by_listener[i] = { number = #chains, chain = chains[#chains] }
        end
    end
    return chains, by_listener
end

-- ---------------------------------------------------------------- normalised form

local function write_times(times)
    local list = {}
    for name, seconds in pairs(times) do
        list[name .. "_ms"] = duration.milliseconds(seconds)
    end
    return list
end

local function write_listener(listener, connect)
    local tcp = tcp_settings.write(listener, connect)
    return {
        address = address.format(address.parse_local(listener.address)),
        protocol = listener.protocol,
        tcp = tcp,
        tls = tls_settings.write_listener(listener.tls, tcp ~= nil),
        proxy_protocol = listener.proxy_protocol,
        trusted_hops = listener.trusted_hops,
        deadline_header = listener.deadline_header and listener.deadline_header:lower(),
        limits = listener.limits,
        timeouts = write_times(listener.timeouts),
    }
end

local function write_upstream(name, upstream, zone)
    local pool = upstream.pool
    local endpoints = balance.write_endpoints(name, upstream)
    local list = balance.write({
        name = name,
        endpoints = #endpoints > 0 and endpoints or nil,
        discovery = discovery.write(upstream),
        health = health.write(upstream),
        protocol = upstream.protocol,
        proxy_protocol = upstream.proxy_protocol and tonumber(upstream.proxy_protocol:sub(2)),
        tls = discovery.write_tls(upstream),
        timeouts = write_times(upstream.timeouts),
        deadline_header = upstream.deadline_header and upstream.deadline_header:lower(),
        pool = {
            max_idle = pool.max_idle, idle_ms = duration.milliseconds(pool.idle), max_requests = pool.max_requests,
        },
    }, upstream, zone)
    resilience.write(upstream, list)
    return list
end

local function write_upstreams(upstreams, zone)
    local list = {}
    for i, name in ipairs(readable.sorted_keys(upstreams)) do
        list[i] = write_upstream(name, upstreams[name], zone)
    end
    return #list > 0 and list or nil
end

-- Listeners are known by their addresses: of those that are alike but for the port that the system will choose, the later ones
-- get a number.
-- `connects` has the numbers of their policies' chains, which get the name.
local function write_listeners(listeners, connects)
    local list, counts = {}, {}
    for i, listener in ipairs(listeners) do
        local connect = connects[i]
        list[i] = write_listener(listener, connect and connect.number)
        local text = list[i].address
        counts[text] = (counts[text] or 0) + 1
        if counts[text] > 1 then
            list[i].address = text .. "#" .. counts[text]
        end
        if connect then
            connect.chain.name = list[i].address
        end
    end
    return list
end

local function write_reload(reload)
    return {
        test = reload.test,
        test_timeout_ms = duration.milliseconds(reload.test_timeout),
        canary = reload.canary and percent.parse(reload.canary),
        window_ms = duration.milliseconds(reload.window),
        max_errors = percent.parse(reload.max_errors),
        max_slowdown = reload.max_slowdown,
    }
end

-- The runtime compares digests: the token itself is in no dump.
local function write_explain(explain)
    local crypto = require "perigee.crypto"
    return explain and { digest = crypto.to_hex(crypto.hash("sha256", explain.token)) }
end

-- The streams of the process as tools of the shell spell them. Opening /dev/stdout as a file fails where it is a socket (systemd)
-- or belongs to another user (containers).
local STREAMS = { ["-"] = "stdout", ["/dev/stdout"] = "stdout", ["/dev/stderr"] = "stderr" }

local function write_access_log(path)
    return path ~= "off" and { path = STREAMS[path] or path } or nil
end

local function normalize(conf, route_list, connects)
    return {
        role = conf.role,
        admin = conf.admin and address.format(address.parse_local(conf.admin)),
        workers = conf.workers,
        watch = conf.watch,
        watchdog_ms = duration.milliseconds(conf.watchdog),
        drain_ms = duration.milliseconds(conf.drain),
        shared_memory = conf.shared_memory,
        lua_memory = conf.lua_memory,
        overload = overload.write(conf.overload),
        keep_generations = conf.keep_generations,
        reload = write_reload(conf.reload),
        access_log = write_access_log(conf.access_log.path),
        explain = write_explain(conf.explain),
        listeners = write_listeners(conf.listeners, connects),
        upstreams = write_upstreams(conf.upstreams, conf.zone),
        routes = #route_list > 0 and route_list or nil,
        dns = discovery.write_resolver(conf.dns),
    }
end

-- ---------------------------------------------------------------- errors

local function by_line(a, b)
    local line_a, line_b = a.line or math.huge, b.line or math.huge
    if line_a ~= line_b then
        return line_a < line_b
    end
    return a.order < b.order
end

--- Errors as they are shown: with file and line, in the order of the lines.
local function finish_errors(errors, ctx, is_json)
    local locator = ctx.text and locate.new(ctx.text, is_json)
    local list = {}
    for i, err in ipairs(errors) do
        local line = err.line
        if not err.file and locator and err.segments then
            line = locator:line(err.segments)
        end
        list[i] = { file = err.file or ctx.file, line = line, path = err.path, message = err.message, order = i }
    end
    table.sort(list, by_line)
    for _, err in ipairs(list) do
        err.order = nil
    end
    return list
end

-- ---------------------------------------------------------------- public

local function role_of(value, ctx)
    local role = value.role or ctx.role
    return role == "sidecar" and "sidecar" or "gateway"
end

local function compile(build, value, ctx)
    if build.is_json then
        value = references.expand(build, value)
    end
    if type(value) ~= "table" then
        local form = build.is_json and "must be a JSON object" or "must return a table: return { … }"
        return build:error({}, "the configuration " .. form .. ", found " .. readable.kind(value))
    end
    local conf = schema.validate(settings.fields(role_of(value, ctx)), value, {}, build.errors, build.secrets)
    check_listeners(build, conf)
    check_upstreams(build, conf, value)
    check_tcp(build, conf, value)
    build.global_uses = uses.make(build, conf.policies or {}, { "policies" })
    local route_list, chains = routes.compile(build, conf.routes or {}, value.routes)
    local connects, by_listener = compile_connects(build, conf)
    if #build.errors > 0 then
        return nil
    end
    return { normalized = normalize(conf, route_list, by_listener), chains = chains, connects = connects }
end

--- Compiles a configuration.
---@param value any what the file returned, or its JSON decoded
---@param ctx perigee.ConfigContext
---@return { normalized: table, chains: table[], connects: table[] }|nil result nil when there are errors
---@return perigee.ConfigError[] errors in the order of their lines
function config.compile(value, ctx)
    local build = new_build(ctx)
    local result = compile(build, value, ctx)
    return result, finish_errors(build.errors, ctx, build.is_json)
end

return config
