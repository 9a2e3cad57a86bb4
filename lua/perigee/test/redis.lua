-- SPDX-License-Identifier: MIT
--
-- A fake Redis: a server in memory that the gateway reaches at an address, with virtual time, delays and outages.

local async = require "perigee._core.async"
local clock = require "perigee.test._core.clock"
local commands = require "perigee.test.redis_commands"
local misuse = require "perigee.test._core.misuse"
local testing = require "perigee._core.testing"
local world = require "perigee.test.world"

local redis = {}

---@class perigee.test.Redis
---@field name string
---@field commands string[][] what it has been asked: lists of name and arguments
local Redis = {}
Redis.__index = Redis

---@class perigee.test.RedisOptions
---@field password? string that AUTH must give
---@field share? perigee.test.Redis the same server at one more address, or for one more gateway

--- A fake Redis.
---@param name string
---@param options perigee.test.RedisOptions
---@return perigee.test.Redis
function redis.new(name, options)
    return setmetatable({
        name = name, password = options.password, commands = {}, databases = {}, scripts = {}, doors = {}, pause = 0,
        connections = setmetatable({}, { __mode = "k" }),
    }, Redis)
end

--- Is this one?
---@param value any
---@return boolean
function redis.is(value)
    return getmetatable(value) == Redis
end

local function check(self, name)
    if not redis.is(self) then
        misuse.raise("call " .. name .. "(…) with a colon")
    end
end

function Redis:_database(number)
    local db = self.databases[number]
    if not db then
        db = { entries = {}, server = self }
        self.databases[number] = db
    end
    return db
end

function Redis:_flush()
    self.databases = {}
end

--- Asks the server, as a client of it would; at once, and not counted among its commands.
---@param name string
---@param ... string|number
---@return any reply a string, a number, false for nil, a list, { ok = text } or { err = text }
function Redis:call(name, ...)
    check(self, "call")
    local args = { name, ... }
    for i, arg in ipairs(args) do
        args[i] = tostring(arg)
    end
    return commands.run(self:_database(0), args)
end

--- Every reply comes so much later from now on.
---@param span number|string seconds, or a duration such as "50ms"
function Redis:delay(span)
    check(self, "delay")
    self.pause = clock.seconds("delay", span)
end

local function break_connections(self)
    for connection in pairs(self.connections) do
        connection.raw:reset()
    end
    world.settle()
end

local function set_doors(self, kind)
    for _, door in ipairs(self.doors) do
        door.open(kind)
    end
end

--- The server is gone: connections break, new ones are refused. What it held is kept, as by a server that saves it.
function Redis:stop()
    check(self, "stop")
    set_doors(self, "refuse")
    break_connections(self)
end

--- It takes commands and connections, and answers nothing.
function Redis:hang()
    check(self, "hang")
    self.is_hung = true
end

--- It is there again. What it was asked while it hung is forgotten.
function Redis:start()
    check(self, "start")
    self.is_hung = false
    set_doors(self, nil)
end

--- Forgets everything that it holds, and what it was asked.
function Redis:reset()
    check(self, "reset")
    self:_flush()
    self.commands = {}
end

function Redis:_find_leaks() end

-- ---------------------------------------------------------------- the protocol

local function encode(value)
    local kind = type(value)
    if kind == "string" then
        return "$" .. #value .. "\r\n" .. value .. "\r\n"
    elseif kind == "number" then
        return (":%d\r\n"):format(value)
    elseif not value then
        return "$-1\r\n"
    elseif value.err then
        return "-" .. value.err:gsub("[\r\n]", " ") .. "\r\n"
    elseif value.ok then
        return "+" .. value.ok .. "\r\n"
    end
    local parts = { "*" .. #value .. "\r\n" }
    for i = 1, #value do
        parts[i + 1] = encode(value[i])
    end
    return table.concat(parts)
end

-- The command at the beginning of `text`, and where the next one begins; nil when it is not complete.
local function decode(text)
    local count, at = text:match("^%*(%d+)\r\n()")
    local args = {}
    for i = 1, tonumber(count) or 0 do
        local len, from = text:match("^%$(%d+)\r\n()", at)
        if not len or #text < from + len + 1 then
            return nil
        end
        args[i], at = text:sub(from, from + len - 1), from + len + 2
    end
    return count and args, at
end

-- ---------------------------------------------------------------- connections

local Connection = {}
Connection.__index = Connection

--- A connection of the gateway to a fake.
---@param raw table connection of the runtime
---@param door table with the server as `fake`
function redis.connection(raw, door)
    local self = setmetatable({
        raw = raw, fake = door.fake, text = "", database = 0, is_known = door.fake.password == nil,
        replies = {}, timers = {},
    }, Connection)
    door.fake.connections[self] = true
    return self
end

function Connection:_run(args)
    local server, name = self.fake, tostring(args[1]):upper()
    server.commands[#server.commands + 1] = args
    if name == "AUTH" then
        self.is_known = args[#args] == server.password
        return self.is_known and { ok = "OK" }
            or { err = "WRONGPASS invalid username-password pair or user is disabled." }
    elseif not self.is_known then
        return { err = "NOAUTH Authentication required." }
    elseif name == "SELECT" then
        self.database = tonumber(args[2])
        return { ok = "OK" }
    end
    return commands.run(server:_database(self.database), args)
end

-- Replies leave in order, each after the pause.
function Connection:_send(bytes)
    if self.fake.pause == 0 and #self.replies == 0 then
        self.raw:write(bytes)
        return
    end
    self.replies[#self.replies + 1] = bytes
    local timer
    timer = testing.spawn(function()
        async.sleep(self.fake.pause)
        self.timers[timer] = nil
        self.raw:write(table.remove(self.replies, 1))
    end)
    self.timers[timer] = true
end

--- Moves what has arrived. Returns whether anything happened, and false as the second when the connection is over.
---@return boolean has_moved
---@return boolean is_open
function Connection:serve()
    local bytes = self.raw:take()
    if not bytes then
        if self.raw:is_ended() then
            self:close()
            return true, false
        end
        return false, true
    elseif self.fake.is_hung then
        return true, true
    end
    self.text = self.text .. bytes
    local args, at = decode(self.text)
    while args do
        self:_send(encode(self:_run(args)))
        self.text = self.text:sub(at)
        args, at = decode(self.text)
    end
    return true, true
end

--- Replies may stay unread: who gave up waiting reads them no more.
function Connection.unread()
    return 0
end

function Connection.unanswered() end

--- Closes the connection.
function Connection:close()
    for timer in pairs(self.timers) do
        testing.cancel(timer)
    end
    self.timers, self.replies = {}, {}
    self.raw:close()
end

return redis
