-- SPDX-License-Identifier: MIT
--
-- A gateway in memory: the real codec, router and chain between a client and upstreams that the test plays.

local address = require "perigee._core.address"
local client = require "perigee.test.client"
local clock = require "perigee.test._core.clock"
local ending = require "perigee.test.ending"
local generation = require "perigee._core.generation"
local json = require "perigee.json"
local leaks = require "perigee.test._core.leaks"
local misuse = require "perigee.test._core.misuse"
local project = require "perigee.test.project"
local redis = require "perigee.test.redis"
local testing = require "perigee._core.testing"
local tls = require "perigee.test.tls"
local upstream = require "perigee.test.upstream"
local world = require "perigee.test.world"

local gateway = {}

local DEFAULT_LISTENER = "127.0.0.1:8080"
local DEFAULT_CLIENT = "127.0.0.1"

---@class perigee.test.Gateway
---@field upstreams table<string, perigee.test.Fake> fakes by name of the upstream
---@field hosts table<string, perigee.test.Fake> fakes by address, as the configuration of the test wrote it
---@field get fun(self, path: string, options?: perigee.test.Request): perigee.test.Response
---@field post fun(self, path: string, options?: perigee.test.Request): perigee.test.Response
---@field put fun(self, path: string, options?: perigee.test.Request): perigee.test.Response
---@field delete fun(self, path: string, options?: perigee.test.Request): perigee.test.Response
---@field head fun(self, path: string, options?: perigee.test.Request): perigee.test.Response
---@field options fun(self, path: string, options?: perigee.test.Request): perigee.test.Response
---@field patch fun(self, path: string, options?: perigee.test.Request): perigee.test.Response
local Gateway = {}
Gateway.__index = Gateway
for name, method in pairs(ending.gateway) do
    Gateway[name] = method
end

-- Every public method begins with it.
local function check(self, name)
    if getmetatable(self) ~= Gateway then
        misuse.raise("call gw:" .. name .. "(…) with a colon")
    elseif self.is_closed then
        misuse.raise("gw:" .. name .. ": the gateway is closed")
    end
end

-- ---------------------------------------------------------------- configurations with fakes in them

local function copy(map)
    local result = {}
    for key, value in pairs(map or {}) do
        result[key] = value
    end
    return result
end

local function sorted_names(map)
    local names = {}
    for name in pairs(map) do
        names[#names + 1] = name
    end
    table.sort(names, function(a, b) return tostring(a) < tostring(b) end)
    return names
end

-- An address for an endpoint of a fake: told apart by name where that makes a host name.
local function fake_address(name, endpoint)
    local host = name:find("^[%w][%w-]*$") and name or "upstream"
    return (endpoint > 1 or host ~= name) and host .. "-" .. endpoint .. ".fake:80" or host .. ".fake:80"
end

-- Answers for an address of the fake `fake` with `answer`.
function Gateway:_open_door(text, fake, endpoint, answer)
    local door = self.doors[text] or {}
    door.fake, door.endpoint, door.answer = fake, endpoint, answer
    fake:_answers_with(answer)
    self.doors[text] = door
    local has_no_connection = answer == upstream.fail.refuse or answer == upstream.fail.timeout
    self.server:door(text, has_no_connection and answer.kind or nil)
    return text
end

function Gateway:_fake(kind, name)
    local fake = self[kind][name] or upstream.new(name)
    self[kind][name] = fake
    return fake
end

-- One endpoint of an upstream: an answer becomes the address of a door.
function Gateway:_adapt_endpoint(name, number, endpoint)
    local answer = type(endpoint) == "table" and not upstream.is_fake(endpoint) and endpoint[1] or endpoint
    if not upstream.is_fake(answer) then
        return endpoint
    end
    local text = self:_open_door(fake_address(name, number), self:_fake("upstreams", name), number, answer)
    if answer == endpoint then
        return text
    end
    local settings = copy(endpoint)
    settings[1] = text
    return settings
end

function Gateway:_adapt_upstream(name, settings)
    if upstream.is_fake(settings) then
        settings = { endpoints = { settings } }
    elseif type(settings) ~= "table" or type(settings.endpoints) ~= "table" then
        return settings
    end
    settings = copy(settings)
    local endpoints = {}
    for i, endpoint in ipairs(settings.endpoints) do
        endpoints[i] = self:_adapt_endpoint(name, i, endpoint)
    end
    settings.endpoints = endpoints
    return settings
end

-- The address that a name among the hosts stands for: a host, with or without port, or the beginning of a URL; "*" is all
-- others.
local function host_address(text)
    local host = text:lower():gsub("^http://", ""):gsub("/$", "")
    if host:find("/", 1, true) then
        error("hosts: '" .. text .. "' is no host: leave scheme and path out, and let the fake look at req.path", 0)
    end
    return (host == "*" or host:find(":%d+$")) and host or host .. ":80"
end

function Gateway:_adapt_hosts(hosts)
    for text, answer in pairs(hosts or {}) do
        if type(text) ~= "string" or not upstream.is_fake(answer) then
            error("hosts are fakes by address: { [\"payments.internal:8080\"] = function(req) … end }", 0)
        end
        self:_open_door(host_address(text), self:_fake("hosts", text), 1, answer)
    end
end

function Gateway:_adapt_upstreams(upstreams)
    local adapted = {}
    for name, settings in pairs(upstreams) do
        adapted[name] = type(name) == "string" and self:_adapt_upstream(name, settings) or settings
    end
    return adapted
end

local function answer_ok()
    return upstream.reply(200, "ok")
end

-- The normal form of a listener's address; nil for none.
local function listener_address(text)
    local parts = type(text) == "string" and address.parse_local(text)
    return parts and address.format(parts) or nil
end

-- The first listener is the one that requests come to.
function Gateway:_find_listeners(listeners)
    self.addresses = {}
    for i, listener in ipairs(listeners) do
        local text = type(listener) == "table" and (listener.address or listener[1]) or listener
        self.addresses[i] = listener_address(text)
    end
    self.address = self.addresses[1] or DEFAULT_LISTENER
end

-- What every configuration gets: fakes in the place of servers, and nothing written to the terminal.
function Gateway:_adapt(value)
    if type(value) ~= "table" then
        return value
    end
    value = copy(value)
    self:_adapt_hosts(value.hosts)
    value.hosts = nil
    value.listeners = value.listeners or { DEFAULT_LISTENER }
    value.access_log = "off"
    if type(value.upstreams) == "table" then
        value.upstreams = self:_adapt_upstreams(value.upstreams)
    end
    if type(value.listeners) == "table" then
        self:_find_listeners(value.listeners)
    end
    return value
end

-- A configuration that a test wrote may leave out what the test is not about.
local function complete(config)
    local value = copy(config)
    value.upstreams = value.upstreams or (not value.routes and { api = answer_ok } or {})
    if not value.routes and type(value.upstreams) == "table" then
        local first = sorted_names(value.upstreams)[1]
        value.routes = { { name = "test", match = { path = "/*" }, upstream = first } }
    end
    return value
end

-- ---------------------------------------------------------------- building

--- What a configuration file returns; upstreams and endpoints may be fakes.
---@class perigee.test.Config: table
---@field hosts? table<string, perigee.test.Answer> fakes by address; "*" answers for all others

---@class perigee.test.Options
---@field files? table<string, string> texts of files by path, before those on disk
---@field dir? string folder of the configuration; by default that of the spec file and those above

---@class perigee.test.LoadOptions
---@field files? table<string, string> texts of files by path, before those on disk
---@field upstreams? table<string, perigee.test.Answer> fakes in the place of the file's upstreams
---@field hosts? table<string, perigee.test.Answer> fakes by address; "*" answers for all others

--- What is wrong with a configuration.
---@class perigee.test.Error
---@field file? string
---@field line? integer
---@field path? string of the setting
---@field message string

local LIVE_OPTIONS = { files = "table", dir = "string" }
local LOAD_OPTIONS = { files = "table", upstreams = "table", hosts = "table" }

local function check_options(options, known)
    if options == nil then
        return {}
    end
    misuse.check("the options are a table", options, "table")
    for name, value in pairs(options) do
        if not known[name] then
            local names = table.concat(sorted_names(known), ", ")
            misuse.raise("'" .. tostring(name) .. "' is no option here; there are " .. names)
        end
        misuse.check("option '" .. name .. "' is a " .. known[name], value, known[name])
    end
    return options
end

-- The plan of a build: entry, reader of files, and what to make of the entry's value.
local function live_plan(config, options)
    misuse.check("a gateway is made of the table that a configuration file returns", config, "table")
    local file = world.file or "spec.lua"
    local read = project.reader(options.dir or project.folder(file), not options.dir, options.files)
    return {
        entry = file,
        read = function(path)
            return path == file and "" or read(path)
        end,
        adapt = function() return complete(config) end,
    }
end

local function replace_upstreams(value, options, path)
    value = copy(value)
    value.upstreams = copy(value.upstreams)
    for name, answer in pairs(options.upstreams or {}) do
        local settings = value.upstreams[name]
        if type(settings) ~= "table" then
            error("test.load: " .. path .. " has no upstream '" .. tostring(name) .. "'", 0)
        end
        settings = copy(settings)
        settings.dns, settings.file, settings.endpoints = nil, nil, { answer }
        value.upstreams[name] = settings
    end
    value.hosts = options.hosts
    return value
end

local function file_plan(path, options)
    local folder, entry = project.folder(path), path:match("[^/]+$")
    return {
        entry = entry,
        read = project.reader(folder, false, options.files),
        adapt = function(value)
            return type(value) == "table" and replace_upstreams(value, options, path) or value
        end,
    }
end

-- Builds a generation and makes it current: nil, or the errors.
function Gateway:_build(plan)
    local is_open = true
    generation.override = {
        read = function(path)
            if not is_open then
                error("files can be read only while the configuration is loaded: require at the top of the file", 0)
            end
            return plan.read(path)
        end,
        adapt = function(value)
            return self:_adapt(plan.adapt(value))
        end,
    }
    self.number = self.number + 1
    local errors = leaks.expect_tasks(function() return self.server:build(plan.entry, self.number) end)
    is_open = false
    if errors then
        return assert(json.decode(errors))
    end
    self.server:activate()
    self:_listen(self.address)
end

function Gateway:_listen(where)
    if not self.listeners[where] then
        self.server:listen(where)
        self.listeners[where] = true
    end
end

local function error_text(err)
    local place = err.file and err.file .. (err.line and ":" .. err.line or "") .. ": " or ""
    local path = err.path and err.path ~= "" and err.path .. ": " or ""
    return place .. path .. err.message
end

--- The errors of a configuration, one a line.
---@param errors table[]
---@return string
function gateway.format_errors(errors)
    local lines = {}
    for i, err in ipairs(errors) do
        lines[i] = error_text(err)
    end
    return table.concat(lines, "\n")
end

local function new(plan)
    world.begin()
    local self = setmetatable({
        server = testing.server(), number = 0, listeners = {}, upstreams = {}, hosts = {}, doors = {},
        clients = {}, connections = {}, addresses = { DEFAULT_LISTENER }, entries = {},
    }, Gateway)
    self.server:keep_log()
    local ok, errors = pcall(self._build, self, plan)
    if ok and not errors then
        world.gateways[#world.gateways + 1] = self
        world.settle()
        return self
    end
    self.server:close()
    world.settle()
    if not ok then
        error(errors, 0)
    end
    return nil, errors
end

--- A gateway for a configuration that the test gives.
---@param config perigee.test.Config
---@param options? perigee.test.Options
---@return perigee.test.Gateway|nil
---@return perigee.test.Error[]|nil errors
function gateway.new(config, options)
    return new(live_plan(config, check_options(options, LIVE_OPTIONS)))
end

--- A gateway for a configuration file.
---@param path string
---@param options? perigee.test.LoadOptions
---@return perigee.test.Gateway|nil
---@return perigee.test.Error[]|nil errors
function gateway.load(path, options)
    misuse.check("test.load expects the path of a configuration file", path, "string")
    return new(file_plan(path, check_options(options, LOAD_OPTIONS)))
end

--- Takes over another configuration, as `perigee reload` does.
---@param config perigee.test.Config
---@param options? perigee.test.Options
---@return true|nil
---@return perigee.test.Error[]|nil errors the old one goes on
function Gateway:reload(config, options)
    check(self, "reload")
    local errors = self:_build(live_plan(config, check_options(options, LIVE_OPTIONS)))
    world.settle()
    if errors then
        return nil, errors
    end
    return true
end

-- ---------------------------------------------------------------- requests

local KNOWN = {
    method = "string", path = "string", headers = "table", chunks = "table", trailers = "table", timeout = "number",
    client = "string",
}
local CONNECT = { listener = "string", client = "string", hello = "table" }

local function check_chunks(chunks)
    for i, part in ipairs(chunks) do
        if type(part) ~= "string" and type(part) ~= "number" and part ~= upstream.fail.reset then
            misuse.raise("request: chunk " .. i .. " is a " .. type(part)
                .. ", not a string, a number of seconds or test.fail.reset")
        end
    end
end

local function check_request(request)
    for name, value in pairs(request) do
        if name == "tls" then
            tls.pack(value)
        elseif name == "body" then
            if type(value) ~= "string" and type(value) ~= "table" then
                misuse.raise("request: the body is a string or a table, not a " .. type(value))
            end
        elseif not KNOWN[name] then
            misuse.raise("request: '" .. tostring(name) .. "' is no option; there are body, "
                .. table.concat(sorted_names(KNOWN), ", ") .. " and tls")
        else
            misuse.check("request: '" .. name .. "' is a " .. KNOWN[name], value, KNOWN[name])
        end
    end
    check_chunks(request.chunks or {})
end

local function complete_request(options)
    check_request(options)
    local request = copy(options)
    request.method, request.path = request.method or "GET", request.path or "/"
    if type(request.body) == "table" then
        local body, message = json.encode(request.body)
        request.body = body or misuse.raise("request: the body cannot be written as JSON: " .. message)
        request.headers = copy(request.headers)
        request.headers["content-type"] = request.headers["content-type"] or "application/json"
    end
    return request
end

function Gateway:_add(one)
    self.clients[#self.clients + 1] = one
    return one
end

---@class perigee.test.Request
---@field method? string "GET"
---@field path? string with query; "/"
---@field headers? table<string, string|string[]>
---@field body? string|table a table is sent as JSON
---@field chunks? (string|number|perigee.test.Failure)[] a chunked body: chunks, pauses in seconds, test.fail.reset
---@field trailers? table<string, string> behind the chunks
---@field timeout? number virtual seconds to wait for the response; 60
---@field client? string IP address that the gateway sees; "127.0.0.1"
---@field tls? perigee.test.Tls|true what the client's TLS agreed on; without it there is none

--- Sends a request without waiting for the response.
---@param options perigee.test.Request
---@return perigee.test.Pending
function Gateway:send(options)
    check(self, "send")
    misuse.check("gw:send and gw:request expect a table such as { path = \"/\" }", options, "table")
    local request = complete_request(options)
    local facts = request.tls and tls.pack(request.tls) or nil
    return self:_add(client.send(self.server:connect(self.address, request.client or DEFAULT_CLIENT, facts), request))
end

--- Sends a request and runs the gateway until the response is complete.
---@param options perigee.test.Request
---@return perigee.test.Response
function Gateway:request(options)
    check(self, "request")
    return self:send(options):wait()
end

for _, method in ipairs { "GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH" } do
    local name = method:lower()
    Gateway[name] = function(self, path, options)
        check(self, name)
        misuse.check("gw:" .. name .. " expects a path", path, "string")
        misuse.check("gw:" .. name .. " expects a table of options behind the path", options or {}, "table")
        local request = copy(options)
        request.method, request.path = method, path
        return self:send(request):wait()
    end
end

--- A connection that carries what the test writes.
---@param bytes? string written at once
---@return perigee.test.Connection
function Gateway:raw(bytes)
    check(self, "raw")
    misuse.check("gw:raw expects bytes", bytes or "", "string")
    local connection = self:_add(client.raw(self.server:connect(self.address, DEFAULT_CLIENT)))
    return bytes and connection:write(bytes) or connection
end

---@class perigee.test.Connect
---@field listener? string address of the listener; the first one's
---@field client? string IP address that the gateway sees; "127.0.0.1"
---@field tls? perigee.test.Tls|true what the client's TLS agreed on, where the listener ends it
---@field hello? perigee.test.Hello a ClientHello is sent at once, for listeners that look at it and pass TLS on

-- The listener that a connection is for.
function Gateway:_choose_listener(text)
    local wanted = text and listener_address(text) or self.address
    for _, known in ipairs(self.addresses) do
        if known == wanted then
            return wanted
        end
    end
    misuse.raise("gw:connect: there is no listener '" .. text .. "'; there are " .. table.concat(self.addresses, ", "))
end

--- A connection to any of the listeners, for bytes: to those that pass TCP on, policies with `on_connect` are asked.
---@param options? perigee.test.Connect
---@return perigee.test.Connection
function Gateway:connect(options)
    check(self, "connect")
    options = copy(options or {})
    local facts = options.tls and tls.pack(options.tls) or nil
    options.tls = nil
    check_options(options, CONNECT)
    local where = self:_choose_listener(options.listener)
    self:_listen(where)
    local connection = self:_add(client.raw(self.server:connect(where, options.client or DEFAULT_CLIENT, facts)))
    if options.hello then
        return connection:write(tls.hello(options.hello))
    end
    world.settle()
    return connection
end

-- ---------------------------------------------------------------- what a test sees

--- Moves time on, and does what falls due.
---@param span number|string seconds, or a duration such as "90s"
function Gateway:advance(span)
    check(self, "advance")
    world.advance("gw:advance", span)
end

--- Sets the wall clock, forward or back, as an administrator does: timers, times to live and buckets do not notice.
---@param moment number|string seconds since 1970, or a date such as "2026-03-01T12:00:00Z"
function Gateway:set_time(moment)
    check(self, "set_time")
    clock.set(moment)
end

--- The wall clock in seconds since 1970; a test begins at 2026-01-01T00:00:00Z.
---@return number
function Gateway:now()
    check(self, "now")
    return clock.now()
end

--- Ends the timers and tasks that requests have started. For a test that is not about them.
function Gateway:drop_tasks()
    check(self, "drop_tasks")
    leaks.drop_tasks()
    world.settle()
end

---@class perigee.test.LogLine
---@field level "debug"|"info"|"warn"|"error"
---@field message string

--- What the runtime and the policies logged since the test began.
---@return perigee.test.LogLine[]
function Gateway:log()
    check(self, "log")
    world.settle()
    return world.log()
end

---@class perigee.test.LogEntry: table the members of a line: status, flags, route, upstream, endpoint, attempts, consumer …

--- The lines of the access log since the gateway began.
---@return perigee.test.LogEntry[]
function Gateway:access_log()
    check(self, "access_log")
    world.settle()
    local text, is_cut = self.server:take_log()
    for line in (text or ""):gmatch("[^\n]+") do
        self.entries[#self.entries + 1] = assert(json.decode(line))
    end
    if is_cut then
        misuse.raise("gw:access_log: there was more than 1 MiB of it since the last call; call it more often")
    end
    return { unpack(self.entries) }
end

--- Values of all metrics, by name with labels as Prometheus reads them.
---@return table<string, number>
function Gateway:metrics()
    check(self, "metrics")
    world.settle()
    local values = {}
    for line in testing.metrics():gmatch("[^\n]+") do
        local name, value = line:match("^([^#].*) (%S+)$")
        if name then
            values[name] = tonumber(value) or (value == "+Inf" and math.huge) or nil
        end
    end
    return values
end

local REDIS_PORT = ":6379"

--- A fake Redis for this gateway, with virtual time: what policies ask at `where` it answers.
---@param where string address as policies give it; a name alone stands for port 6379
---@param options? perigee.test.RedisOptions
---@return perigee.test.Redis
function Gateway:redis(where, options)
    check(self, "redis")
    misuse.check("gw:redis expects the address of the server", where, "string")
    options = check_options(options, { password = "string", share = "table" })
    if options.share and not redis.is(options.share) then
        misuse.raise "gw:redis: 'share' is what another gw:redis(…) returned"
    end
    local text = (where:find(":", 1, true) and where or where .. REDIS_PORT):lower()
    local server = options.share or redis.new(text, options)
    self.doors[text] = { fake = server }
    self.server:door(text, nil)
    server.doors[#server.doors + 1] = {
        open = function(kind)
            if not self.is_closed and not self.is_stopped then
                self.server:door(text, kind)
            end
        end,
    }
    return server
end

-- ---------------------------------------------------------------- between turns, and at the end

function Gateway:_accept()
    if self.is_stopped then
        return false
    end
    local raw, text = self.server:accept()
    if not raw then
        return false
    end
    local door = self.doors[text]
    local connection = redis.is(door.fake) and redis.connection(raw, door) or upstream.connection(raw, door)
    self.connections[#self.connections + 1] = connection
    return true
end

local STRANGER = "no fake answers at %s, which the gateway asks: put one in hosts (hosts = { [\"%s\"] = … }) or in the "
    .. "place of the upstream. There are fakes at: %s"

-- Is there somebody at the address that the gateway asked for?
function Gateway:_check_strangers()
    local text = not self.is_stopped and self.server:stranger()
    if not text then
        return
    end
    local names = {}
    for name in pairs(self.doors) do
        names[#names + 1] = name
    end
    table.sort(names)
    world.fail(STRANGER:format(text, text, names[1] and table.concat(names, ", ") or "no address"))
end

-- Moves bytes to and from the gateway; returns whether anything happened.
function Gateway:_serve()
    local has_moved = false
    self:_check_strangers()
    while self:_accept() do
        has_moved = true
    end
    for i = #self.connections, 1, -1 do
        local moved, is_open = self.connections[i]:serve()
        has_moved = has_moved or moved
        if not is_open then
            table.remove(self.connections, i)
        end
    end
    for i = 1, #self.clients do
        has_moved = self.clients[i]:_serve() or has_moved
    end
    return has_moved
end

function Gateway:_find_leaks(list)
    for _, one in ipairs(self.clients) do
        list[#list + 1] = one:_leak()
    end
    for _, connection in ipairs(self.connections) do
        local unread = connection:unread()
        if unread > 0 then
            list[#list + 1] = unread .. " bytes from fake upstream '" .. connection.fake.name .. "' were not read"
        end
    end
    for _, kind in ipairs { "upstreams", "hosts" } do
        for _, name in ipairs(sorted_names(self[kind])) do
            self[kind][name]:_find_leaks(list)
        end
    end
end

-- What is under way at a fake although no client waits for it.
function Gateway:_find_unanswered(list)
    for _, connection in ipairs(self.connections) do
        local request = connection:unanswered()
        if request then
            list[#list + 1] = ("fake upstream '%s' has not answered %s %s, and no client waits for it"):format(
                connection.fake.name, request.method, request.target)
        end
    end
end

function Gateway:_close_clients()
    for _, one in ipairs(self.clients) do
        one:_close()
    end
    self.clients = {}
end

function Gateway:_close_fakes()
    for _, connection in ipairs(self.connections) do
        connection:close()
    end
end

function Gateway:_close_server()
    self.server:close()
    self.connections, self.is_closed = {}, true
end

--- Closes the gateway. Called by the kit after each test.
function Gateway:close()
    if getmetatable(self) ~= Gateway then
        misuse.raise "call gw:close() with a colon"
    elseif not self.is_closed then
        world.close(self)
    end
end

return gateway
