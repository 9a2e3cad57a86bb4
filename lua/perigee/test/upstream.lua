-- SPDX-License-Identifier: MIT
--
-- Fake upstreams: functions of the test that answer what the gateway sends. Each request runs in a coroutine of the runtime, so
-- a fake may sleep while others go on.

local async = require "perigee._core.async"
local expectation = require "perigee.test.expectation"
local fields = require "perigee.test.fields"
local misuse = require "perigee.test._core.misuse"
local reply_values = require "perigee.reply"
local testing = require "perigee._core.testing"
local wire = require "perigee.test.wire"
local world = require "perigee.test.world"

local upstream = {}

-- ---------------------------------------------------------------- answers

local Reply = {}
local Stream = {}
local Failure = {}
local Script = {}
local Bytes = {}

---@alias perigee.test.Stand perigee.test.Failure|perigee.test.Script|perigee.test.Bytes
---@alias perigee.test.Answer perigee.test.Stand|fun(req: perigee.test.Seen): any

---@class perigee.test.Failure

--- What can go wrong at an upstream, in the place of a fake, of its answer, or inside a stream.
---@class perigee.test.Failures
---@field reset perigee.test.Failure the connection breaks
---@field refuse perigee.test.Failure there is no connection; in the place of a fake only
---@field timeout perigee.test.Failure connecting takes for ever; in the place of a fake only
---@field hang perigee.test.Failure nothing comes
upstream.fail = {
    reset = setmetatable({ kind = "reset" }, Failure), -- the connection breaks
    refuse = setmetatable({ kind = "refuse" }, Failure), -- there is no connection
    timeout = setmetatable({ kind = "timeout" }, Failure), -- and no refusal either
    hang = setmetatable({ kind = "hang" }, Failure), -- nothing comes
}

--- An answer of a fake upstream. Where it can be one, it is a value of perigee.reply too, for handlers.
---@param status integer
---@param body? string|table a table is sent as JSON; a stream, slowly
---@param headers? table<string, string|string[]>
---@param trailers? table<string, string>
function upstream.reply(status, body, headers, trailers)
    if type(status) ~= "number" or status < 200 or status > 999 or status % 1 ~= 0 then
        misuse.raise "test.reply expects a status from 200 to 999"
    elseif trailers or getmetatable(body) == Stream or status > 599 then
        return setmetatable({ status = status, body = body, headers = headers, trailers = trailers }, Reply)
    end
    return reply_values.new(status, body, headers)
end

---@class perigee.test.Stream

--- A slow body: strings are chunks, numbers are pauses in seconds; test.fail.reset and test.fail.hang end it.
---@param parts (string|number|perigee.test.Failure)[]
---@return perigee.test.Stream
function upstream.stream(parts)
    misuse.check("test.stream expects a list of strings and pauses", parts, "table")
    for i, part in ipairs(parts) do
        local kind = type(part)
        if kind ~= "string" and kind ~= "number" and getmetatable(part) ~= Failure then
            misuse.raise("test.stream: part " .. i .. " is a " .. kind .. ", not a string or a number of seconds")
        end
    end
    return setmetatable({ parts = parts }, Stream)
end

---@class perigee.test.Script

--- A fake that gives each answer once, in this order. It is an error to ask it more often, and the test fails when it is asked
--- less often.
---@param list any[] what a fake may return, or functions
---@return perigee.test.Script
function upstream.answers(list)
    misuse.check("test.answers expects a list of answers", list, "table")
    for i, answer in ipairs(list) do
        if answer == upstream.fail.refuse or answer == upstream.fail.timeout then
            misuse.raise("test.answers: answer " .. i .. ": who has no connection is asked nothing")
        end
    end
    return setmetatable({ list = list, given = 0 }, Script)
end

local function next_answer(fake, script)
    script.given = script.given + 1
    local answer = script.list[script.given]
    if answer == nil then
        local message = "fake upstream '%s' is asked %d times, and has %d answers"
        error(message:format(fake.name, script.given, #script.list), 0)
    end
    return answer
end

---@class perigee.test.Bytes

--- A server without HTTP, for listeners that pass TCP on: `answer` gets what has arrived, and what it returns is sent
--- back. Without it nothing is.
---@param answer? fun(bytes: string): string|perigee.test.Failure|nil
---@return perigee.test.Bytes
function upstream.bytes(answer)
    misuse.check("test.bytes expects a function", answer or print, "function")
    return setmetatable({ answer = answer }, Bytes)
end

--- Is the value something that answers in the place of a server?
---@param value any
---@return boolean
function upstream.is_fake(value)
    local kind = getmetatable(value)
    return type(value) == "function" or kind == Failure or kind == Script or kind == Bytes
end

local NO_CONNECTION = { [upstream.fail.refuse] = true, [upstream.fail.timeout] = true }

local function to_reply(fake, value)
    local kind = getmetatable(value)
    if type(value) == "string" or kind == Stream then
        return upstream.reply(200, value)
    elseif kind == Reply or reply_values.is(value) then
        return value
    end
    error("fake upstream '" .. fake.name .. "' returned a " .. type(value)
        .. ", not test.reply(…), a string, test.stream{…} or one of test.fail", 0)
end

-- ---------------------------------------------------------------- connections

--- A request that a fake has got.
---@class perigee.test.Seen
---@field method string
---@field path string
---@field query string behind the "?"; "" for none
---@field target string path and query
---@field headers perigee.test.Fields
---@field trailers perigee.test.Fields
---@field body string
---@field endpoint integer which of the upstream's endpoints was asked, from 1

---@class perigee.test.Fake
---@field name string
---@field requests perigee.test.Seen[] what it has been asked
---@field connections perigee.test.Received[] to test.bytes: what each connection has brought
local Fake = {}
Fake.__index = Fake

--- Forgets the requests and connections.
function Fake:reset()
    self.requests, self.connections = {}, {}
end

--- The test fails at its end unless the fake was asked this by then.
---@param wanted perigee.test.Wanted
function Fake:expect(wanted)
    if getmetatable(self) ~= Fake then
        misuse.raise "call expect(…) with a colon"
    end
    self.expectations[#self.expectations + 1] = expectation.new(wanted, misuse.place())
end

function Fake:_record(request)
    self.requests[#self.requests + 1] = request
    self.seen[#self.seen + 1] = request
end

function Fake:_answers_with(answer)
    if getmetatable(answer) == Script then
        self.scripts[answer] = true
    end
end

function Fake:_find_leaks(list)
    for _, wanted in ipairs(self.expectations) do
        list[#list + 1] = wanted:problem(self.name, self.seen)
    end
    for script in pairs(self.scripts) do
        if script.given < #script.list then
            list[#list + 1] = ("fake upstream '%s' has %d answers, and was asked %d times"):format(
                self.name, #script.list, script.given)
        end
    end
end

--- A fake upstream.
---@param name string
---@return perigee.test.Fake
function upstream.new(name)
    local self = { name = name, requests = {}, connections = {}, seen = {}, expectations = {}, scripts = {} }
    return setmetatable(self, Fake)
end

---@class perigee.test.Door an address of a fake
---@field fake perigee.test.Fake
---@field endpoint integer number among the fake's endpoints, from 1
---@field answer function|table

local Connection = {}
Connection.__index = Connection

-- Gives bytes that came to `take`, and closes behind the last of them. Returns as Connection.serve.
local function serve(connection, bytes, take)
    if bytes then
        take(connection, bytes)
    elseif connection.raw:is_ended() then
        connection:close()
        return true, false
    end
    return bytes ~= nil, true
end

--- A connection to a server without HTTP.
---@class perigee.test.Received
---@field bytes string
---@field endpoint integer which of the upstream's endpoints it came to, from 1

local Pipe = {}
Pipe.__index = Pipe

function Pipe:_answer(bytes)
    self.received.bytes = self.received.bytes .. bytes
    local answer = self.door.answer.answer
    local ok, value = true, nil
    if answer then
        ok, value = xpcall(answer, debug.traceback, bytes)
    end
    if not ok then
        world.fail(value)
    elseif type(value) == "string" then
        self.raw:write(value)
    elseif value == upstream.fail.reset then
        self.raw:reset()
    elseif value ~= nil then
        world.fail("test.bytes: the answer is a " .. type(value) .. ", not a string or test.fail.reset")
    end
end

function Pipe:serve()
    return serve(self, self.raw:take(), self._answer)
end

function Pipe:unread()
    return self.raw:unread()
end

function Pipe.unanswered()
    return nil
end

function Pipe:close()
    self.raw:close()
end

local function new_pipe(raw, door)
    local self = setmetatable({ raw = raw, fake = door.fake, door = door }, Pipe)
    self.received = { bytes = "", endpoint = door.endpoint }
    door.fake.connections[#door.fake.connections + 1] = self.received
    return self
end

--- A connection of the gateway to a fake.
---@param raw table connection of the runtime
---@param door perigee.test.Door
function upstream.connection(raw, door)
    if getmetatable(door.answer) == Bytes then
        return new_pipe(raw, door)
    end
    local self = setmetatable({ raw = raw, fake = door.fake, door = door }, Connection)
    self:_listen("")
    return self
end

-- Waits for the next request, of which `rest` may have come already.
function Connection:_listen(rest)
    self.reader = wire.reader("the gateway's request to '" .. self.fake.name .. "'", false, false)
    self.is_busy, self.request, self.rest = false, nil, rest
end

local function record(self, message)
    local path, query = message.target:match("^([^?]*)%??(.*)$")
    return {
        method = message.method, path = path, query = query, target = message.target, headers = message.headers,
        body = message.body, trailers = message.trailers, endpoint = self.door.endpoint,
    }
end

function Connection:_read(bytes)
    if self.is_busy then
        self.reader.buffer = self.reader.buffer .. bytes
        return
    end
    local ok, is_complete = pcall(self.reader.feed, self.reader, bytes)
    if not ok then
        world.fail(is_complete)
        self.is_busy = true
        self.raw:close()
    elseif is_complete then
        self.is_busy = true
        self.request = record(self, self.reader.message)
        self.fake:_record(self.request)
        self:_answer()
    end
end

local function write_stream(self, parts)
    for _, part in ipairs(parts) do
        if type(part) == "number" then
            async.sleep(part)
        elseif type(part) == "string" then
            self.raw:write(wire.chunk(part))
        else
            return part
        end
    end
end

function Connection:_write(reply)
    local list, body = fields.list(reply.headers), reply.body or ""
    local stream = getmetatable(body) == Stream and body.parts or reply.trailers and { body } or nil
    if type(body) == "table" and not stream then
        body = assert(require("perigee.json").encode(body))
        if not fields.has(list, "content-type") then
            list[#list + 1] = { "content-type", "application/json" }
        end
    end
    local has_body = self.request.method ~= "HEAD" and reply.status ~= 204 and reply.status ~= 304
    if stream then
        list[#list + 1] = { "transfer-encoding", "chunked" }
    elseif reply.status ~= 204 and reply.status ~= 304 and not fields.has(list, "content-length") then
        list[#list + 1] = { "content-length", #body }
    end
    self.raw:write(wire.head("HTTP/1.1 " .. reply.status .. " Fake", list))
    if not has_body then
        return nil
    elseif not stream then
        self.raw:write(body)
        return nil
    end
    return write_stream(self, stream) or self.raw:write(wire.last_chunk(reply.trailers))
end

-- What is left to do after the fake said `value`.
function Connection:_send(value)
    local failure = getmetatable(value) == Failure and value or self:_write(to_reply(self.fake, value))
    if NO_CONNECTION[failure] then
        error("fake upstream '" .. self.fake.name .. "': test.fail." .. failure.kind
            .. " stands in the place of the fake, not of an answer: the connection is there already", 0)
    end
    if failure then
        if failure ~= upstream.fail.hang then
            self.raw:close()
        end
    elseif tostring(fields.new(fields.list(value.headers)).connection):lower() == "close" then
        self.raw:finish()
    else
        self:_listen(self.reader.buffer)
    end
end

local function trap(err)
    return type(err) == "string" and debug.traceback(err, 2) or err
end

function Connection:_answer()
    local answer = self.door.answer
    self.coroutine = testing.spawn(function()
        local ok, value = xpcall(function()
            if getmetatable(answer) == Script then
                answer = next_answer(self.fake, answer)
            end
            if type(answer) == "function" then
                answer = answer(self.request)
            end
            return self:_send(answer)
        end, trap)
        self.coroutine = nil
        if not ok then
            world.fail(value)
            self.raw:close()
        end
    end)
end

--- Moves what has arrived. Returns whether anything happened, and false as the second when the connection is over.
---@return boolean has_moved
---@return boolean is_open
function Connection:serve()
    local bytes = self.raw:take()
    if not self.is_busy and self.rest ~= "" then
        bytes, self.rest = self.rest .. (bytes or ""), ""
    end
    return serve(self, bytes, self._read)
end

--- Bytes of a complete answer that the gateway has not read.
---@return integer
function Connection:unread()
    return self.is_busy and 0 or self.raw:unread()
end

--- The request that the fake has not answered.
---@return perigee.test.Seen|nil
function Connection:unanswered()
    return self.is_busy and not self.raw:is_ended() and self.request or nil
end

--- Closes the connection; what the fake was doing ends.
function Connection:close()
    if self.coroutine then
        testing.cancel(self.coroutine)
        self.coroutine = nil
    end
    self.raw:close()
end

return upstream
