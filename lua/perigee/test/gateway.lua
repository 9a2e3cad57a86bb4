-- SPDX-License-Identifier: MIT
--
-- A gateway in memory: the real codec, router and chain between a client and upstreams that the test plays.

local address = require "perigee._core.address"
local client = require "perigee.test.client"
local ending = require "perigee.test.ending"
local generation = require "perigee._core.generation"
local json = require "perigee.json"
local project = require "perigee.test.project"
local testing = require "perigee._core.testing"
local upstream = require "perigee.test.upstream"
local world = require "perigee.test.world"

local gateway = {}

local DEFAULT_LISTENER = "127.0.0.1:8080"
local DEFAULT_CLIENT = "127.0.0.1"

---@class perigee.test.Gateway
---@field upstreams table<string, perigee.test.Fake>
---@field hosts table<string, perigee.test.Fake>
local Gateway = {}
Gateway.__index = Gateway
for name, method in pairs(ending.gateway) do
    Gateway[name] = method
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
    self.doors[text] = door
    self.server:door(text, answer == upstream.fail.refuse)
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

local function with_port(text)
    return text:find(":%d+$") and text:lower() or text:lower() .. ":80"
end

function Gateway:_adapt_hosts(hosts)
    for text, answer in pairs(hosts or {}) do
        if type(text) ~= "string" or not upstream.is_fake(answer) then
            error("hosts are functions by address: { [\"payments.internal:8080\"] = function(req) … end }", 0)
        end
        self:_open_door(with_port(text), self:_fake("hosts", text), 1, answer)
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

-- The first listener is the one that requests come to.
function Gateway:_find_listener(listeners)
    local first = listeners[1]
    local text = type(first) == "table" and (first.address or first[1]) or first
    local parts = type(text) == "string" and address.parse_local(text)
    self.address = parts and address.format(parts) or DEFAULT_LISTENER
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
        self:_find_listener(value.listeners)
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

---@class perigee.test.Options
---@field files? table<string, string> texts of files by path, before those on disk
---@field dir? string folder of the configuration; by default that of the spec file and those above
---@field upstreams? table<string, any> test.load: fakes in the place of the file's upstreams
---@field hosts? table<string, any> test.load: fakes by address

-- The plan of a build: entry, reader of files, and what to make of the entry's value.
local function live_plan(config, options)
    if type(config) ~= "table" then
        error("test.gateway expects the table that a configuration file returns, not a " .. type(config), 4)
    end
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
        settings.dns, settings.endpoints = nil, { answer }
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
    local errors = self.server:build(plan.entry, self.number)
    is_open = false
    if errors then
        return assert(json.decode(errors))
    end
    self.server:activate()
    if not self.listeners[self.address] then
        self.server:listen(self.address)
        self.listeners[self.address] = true
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
        clients = {}, connections = {},
    }, Gateway)
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
---@param config table
---@param options? perigee.test.Options
---@return perigee.test.Gateway|nil
---@return table[]|nil errors
function gateway.new(config, options)
    return new(live_plan(config, options or {}))
end

--- A gateway for a configuration file.
---@param path string
---@param options? perigee.test.Options
---@return perigee.test.Gateway|nil
---@return table[]|nil errors
function gateway.load(path, options)
    return new(file_plan(path, options or {}))
end

--- Takes over another configuration, as `perigee reload` does.
---@param config table
---@param options? perigee.test.Options
---@return true|nil
---@return table[]|nil errors the old one goes on
function Gateway:reload(config, options)
    local errors = self:_build(live_plan(config, options or {}))
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

local function check_request(request)
    for name, value in pairs(request) do
        if name == "body" then
            if type(value) ~= "string" and type(value) ~= "table" then
                error("request: the body is a string or a table, not a " .. type(value), 4)
            end
        elseif not KNOWN[name] then
            error("request: '" .. tostring(name) .. "' is no option", 4)
        elseif type(value) ~= KNOWN[name] then
            error("request: '" .. name .. "' is a " .. KNOWN[name] .. ", not a " .. type(value), 4)
        end
    end
end

local function complete_request(options)
    check_request(options)
    local request = copy(options)
    request.method, request.path = request.method or "GET", request.path or "/"
    if type(request.body) == "table" then
        request.body = assert(json.encode(request.body))
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
---@field chunks? string[] a chunked body
---@field trailers? table<string, string> behind the chunks
---@field timeout? number virtual seconds to wait for the response; 60
---@field client? string IP address that the gateway sees; "127.0.0.1"

--- Sends a request without waiting for the response.
---@param options perigee.test.Request
---@return perigee.test.Pending
function Gateway:send(options)
    local request = complete_request(options)
    return self:_add(client.send(self.server:connect(self.address, request.client or DEFAULT_CLIENT), request))
end

--- Sends a request and runs the gateway until the response is complete.
---@param options perigee.test.Request
---@return perigee.test.Response
function Gateway:request(options)
    return self:send(options):wait()
end

for _, method in ipairs { "GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH" } do
    Gateway[method:lower()] = function(self, path, options)
        local request = copy(options)
        request.method, request.path = method, path
        return self:send(request):wait()
    end
end

--- A connection that carries what the test writes.
---@param bytes? string written at once
---@return perigee.test.Connection
function Gateway:raw(bytes)
    local connection = self:_add(client.raw(self.server:connect(self.address, DEFAULT_CLIENT)))
    return bytes and connection:write(bytes) or connection
end

-- ---------------------------------------------------------------- what a test sees

--- Moves time on, and does what falls due.
---@param seconds number
function Gateway:advance(seconds)
    world.advance(seconds)
end

--- The wall clock in seconds since 1970; a test begins at 2026-01-01T00:00:00Z.
---@return number
function Gateway:now()
    return testing.wall_ms() / 1000
end

--- What the runtime and the policies logged since the test began.
---@return { level: string, message: string }[]
function Gateway:log()
    world.settle()
    return world.log()
end

--- Values of all metrics, by name with labels as Prometheus reads them.
---@return table<string, number>
function Gateway:metrics()
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

-- ---------------------------------------------------------------- between turns, and at the end

function Gateway:_accept()
    if self.is_stopped then
        return false
    end
    local raw, text = self.server:accept()
    if not raw then
        return false
    end
    self.connections[#self.connections + 1] = upstream.connection(raw, self.doors[text])
    return true
end

-- Moves bytes to and from the gateway; returns whether anything happened.
function Gateway:_serve()
    local has_moved = false
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

function Gateway:_find_leaks(leaks)
    for _, one in ipairs(self.clients) do
        if one:_is_left() then
            leaks[#leaks + 1] = one.name .. " was sent and neither waited for nor aborted"
        end
    end
    for _, connection in ipairs(self.connections) do
        local unread = connection:unread()
        if unread > 0 then
            leaks[#leaks + 1] = unread .. " bytes from fake upstream '" .. connection.fake.name .. "' were not read"
        end
    end
end

function Gateway:_close_clients()
    for _, one in ipairs(self.clients) do
        one.raw:reset()
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
    self.connections = {}
end

--- Closes the gateway. Called by the kit after each test.
function Gateway:close()
    for i, open in ipairs(world.gateways) do
        if open == self then
            self:_close_clients()
            world.settle()
            self:_close_fakes()
            world.settle()
            self:_close_server()
            table.remove(world.gateways, i)
            return world.settle()
        end
    end
end

return gateway
