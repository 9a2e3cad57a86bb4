-- SPDX-License-Identifier: MIT
--
-- A configuration in memory that recorded exchanges are run through, one after another, each at its own time: the real codec,
-- router and chain, between a client that sends what was recorded and upstreams that answer what was recorded. What came of
-- it is told by the same tap that records running proxies, so that like is compared with like.

local generation = require "perigee._core.generation"
local json = require "perigee.json"
local project = require "perigee.test.project"
local recording = require "perigee.test.replay.recording"
local testing = require "perigee._core.testing"
local wire = require "perigee.test.wire"

local world = {}

local LISTENER = "127.0.0.1:8080" -- of a configuration that has none
local PATIENCE_MS = 600 * 1000 -- virtual time that an exchange may take
local TURNS_MAX = 100000 -- turns of the loop without time passing
local REFUSED = { connect_failed = true, connect_timeout = true, resolve_failed = true }

---@class perigee.test.replay.World
local World = {}
World.__index = World

-- ---------------------------------------------------------------- building

local function adapt(value)
    if type(value) ~= "table" then
        return value
    end
    local copy = {}
    for key, setting in pairs(value) do
        copy[key] = setting
    end
    copy.listeners = copy.listeners or { LISTENER }
    copy.access_log = "off"
    return copy
end

-- Every endpoint of every upstream is answered for; what else policies connect to refuses.
local function open_doors(self)
    for _, upstream in ipairs(self.config.upstreams or {}) do
        for _, endpoint in ipairs(upstream.endpoints or {}) do
            self.doors[#self.doors + 1] = endpoint.address
            self.server:door(endpoint.address)
        end
    end
end

local function note_credentials(self)
    for _, route in ipairs(self.config.routes or {}) do
        for _, use in ipairs(route.chain or {}) do
            if use.credentials then
                local list = self.credentials[route.name] or {}
                list[#list + 1] = { policy = use.policy, places = use.credentials }
                self.credentials[route.name] = list
            end
        end
    end
end

--- Builds a configuration file. The wall clock stands at `seconds`.
---@param path string
---@param seconds number
---@return perigee.test.replay.World|nil
---@return table[]|nil errors
function world.open(path, seconds)
    testing.reset()
    testing.set_wall_ms(seconds * 1000)
    local self = setmetatable({ server = testing.server(), doors = {}, credentials = {}, connections = {} }, World)
    generation.override = { read = project.reader(project.folder(path), false), adapt = adapt }
    local errors = self.server:build(path:match("[^/]+$"), 1)
    if errors then
        self.server:close()
        return nil, assert(json.decode(errors))
    end
    self.server:activate()
    self.config = assert(json.decode(self.server:config()))
    self.address = self.config.listeners[1].address
    self.server:listen(self.address)
    self.server:record()
    open_doors(self)
    note_credentials(self)
    return self
end

-- ---------------------------------------------------------------- upstreams

local function head_of(response, length)
    local list = {}
    for i, pair in ipairs(response.headers) do
        list[i] = pair
    end
    if length then
        list[#list + 1] = { "content-length", length }
    end
    return wire.head("HTTP/1.1 " .. response.status .. " Replayed", list)
end

local function has_no_body(method, status)
    return method == "HEAD" or status == 204 or status == 304
end

local ASSUMED = { status = 200, headers = {} } -- where nothing was recorded

-- Answers with what the upstream answered. False when the connection is of no more use.
local function answer(self, raw, method)
    self.asked = self.asked + 1
    local attempts = self.attempts
    local attempt = attempts[math.min(self.asked, #attempts)] or { response = ASSUMED }
    local response, body = attempt.response, attempt.response and attempt.response.body or ""
    self.is_assumed = self.is_assumed or response == ASSUMED
    if not response then
        if attempt.error == "upstream_protocol" then
            raw:write("this is no HTTP\r\n\r\n")
        end
        if attempt.error then -- else it never answers, and the gateway gives up
            raw:finish()
        end
        return false
    elseif has_no_body(method, response.status) then
        raw:write(head_of(response, response.status ~= 204 and #body or nil))
        return true
    end
    raw:write(head_of(response, #body + (attempt.error and 1 or 0)) .. body)
    if attempt.error then -- it broke in the middle of the body
        raw:finish()
    end
    return not attempt.error
end

local function new_reader()
    return wire.reader("a replayed request", false, false)
end

-- Reads on; true while the connection may be used again.
local function serve_connection(self, connection)
    local chunk = connection.raw:take()
    if not chunk then
        return not connection.raw:is_ended(), false
    elseif not connection.reader then
        return true, true -- the answer is out, what follows is of no interest
    elseif connection.reader:feed(chunk) then
        local can_go_on = answer(self, connection.raw, connection.reader.message.method)
        connection.reader = can_go_on and new_reader() or nil
    end
    return true, true
end

local function accept(self)
    local raw = self.server:accept()
    while raw do
        self.connections[#self.connections + 1] = { raw = raw, reader = new_reader() }
        raw = self.server:accept()
    end
end

local function serve(self)
    local has_moved = false
    accept(self)
    for i = #self.connections, 1, -1 do
        local connection = self.connections[i]
        local is_open, moved = serve_connection(self, connection)
        has_moved = has_moved or moved
        if not is_open then
            connection.raw:close()
            table.remove(self.connections, i)
            has_moved = true
        end
    end
    return has_moved
end

-- ---------------------------------------------------------------- time

-- Does all that can be done without moving time, or until the exchange has ended.
local function settle(self)
    for _ = 1, TURNS_MAX do
        local has_more = testing.turn()
        has_more = serve(self) or has_more
        has_more = self.client and self.client:take() ~= nil or has_more
        self.lines = self.lines or self.server:records()
        if not has_more then
            return
        end
    end
end

-- Moves time to `ms` (monotonic), doing what falls due, or until the exchange has ended or the gateway has hung up.
local function run_until(self, ms)
    settle(self)
    while not self.lines and not (self.client and self.client:is_ended()) do
        local next_ms, left = testing.next_ms(), ms - testing.now_ms()
        if not next_ms or next_ms > left then
            if left > 0 then
                testing.advance(left)
            end
            return settle(self)
        end
        testing.advance(next_ms)
        settle(self)
    end
end

-- Moves time to the moment when the exchange began.
local function go_to(self, seconds)
    local ahead = math.floor(seconds * 1000 + 0.5) - testing.wall_ms()
    if ahead > 0 then
        run_until(self, testing.now_ms() + ahead)
    end
end

-- ---------------------------------------------------------------- requests

-- The list that a client sent: without the address that the gateway appended to it.
local function forwarded_for(value)
    return value:match("^(.*),[^,]*$")
end

local SKIPPED = { expect = true, ["content-length"] = true, ["transfer-encoding"] = true, connection = true }

local function request_text(request)
    local list, has_host = {}, false
    for _, pair in ipairs(request.headers) do
        local name, value = pair[1], pair[2]
        if name == "x-forwarded-for" then
            value = forwarded_for(value)
        end
        if value and not SKIPPED[name] then
            list[#list + 1] = { name, value }
        end
        has_host = has_host or name == "host"
    end
    if not has_host and request.version ~= "1.0" then
        table.insert(list, 1, { "host", request.host or "localhost" })
    end
    local body = request.body or ""
    if body ~= "" then
        list[#list + 1] = { "content-length", #body }
    end
    local version = request.version == "1.0" and "1.0" or "1.1"
    return wire.head(request.method .. " " .. request.target .. " HTTP/" .. version, list) .. body
end

-- The attempts whose answers a fake can give again: where one was answered, those that were not are left out.
local function answers_of(exchange)
    local answered, all = {}, exchange.attempts or {}
    for _, attempt in ipairs(all) do
        if attempt.response then
            answered[#answered + 1] = attempt
        end
    end
    return #answered > 0 and answered or all
end

local function set_doors(self, is_refusing)
    if self.is_refusing ~= is_refusing then
        for _, address in ipairs(self.doors) do
            self.server:door(address, is_refusing and "refuse" or nil)
        end
        self.is_refusing = is_refusing
    end
end

-- A connection that is kept would let a request through where nobody could be reached.
local function drop_connections(self)
    for _, connection in ipairs(self.connections) do
        connection.raw:close()
    end
    self.connections = {}
    settle(self)
end

local function prepare(self, exchange)
    self.asked, self.is_assumed, self.attempts = 0, false, answers_of(exchange)
    local first = self.attempts[1]
    local is_refusing = first ~= nil and not first.response and REFUSED[first.error] == true
    if is_refusing then
        drop_connections(self)
    end
    set_doors(self, is_refusing)
    self.lines = nil
end

local function end_exchange(self)
    self.client:close()
    self.client = nil
    settle(self)
    self.lines = nil
    for i = #self.connections, 1, -1 do -- of answers that never came
        if not self.connections[i].reader then
            self.connections[i].raw:close()
            table.remove(self.connections, i)
        end
    end
end

--- Runs an exchange. The result is an exchange as recordings have them, with `is_assumed` when the upstream's answer was not
--- recorded; nil when none came of it within ten virtual minutes, or the gateway refused to read it.
---@param exchange table
---@return table|nil
function World:run(exchange)
    self.lines = nil
    go_to(self, exchange.seconds)
    prepare(self, exchange)
    self.client = self.server:connect(self.address, exchange.peer or "127.0.0.1")
    self.client:write(request_text(exchange.request))
    run_until(self, testing.now_ms() + PATIENCE_MS)
    local line = self.lines
    end_exchange(self)
    local outcome = line and recording.decode(line:match("^[^\n]*"))
    if outcome then
        outcome.is_assumed = self.is_assumed or nil
    end
    return outcome
end

--- Ends it.
function World:close()
    drop_connections(self)
    self.server:close()
    for _ = 1, TURNS_MAX do
        if not testing.turn() then
            return
        end
    end
end

return world
