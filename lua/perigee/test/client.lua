-- SPDX-License-Identifier: MIT
--
-- The client's side: a request on its way, and a connection that carries whatever a test writes.

local ending = require "perigee.test.ending"
local async = require "perigee._core.async"
local misuse = require "perigee.test._core.misuse"
local testing = require "perigee._core.testing"
local wire = require "perigee.test.wire"
local world = require "perigee.test.world"

local client = {}

local HANG_SECONDS = 60

-- ---------------------------------------------------------------- responses

---@class perigee.test.Response
---@field status integer
---@field reason string
---@field headers perigee.test.Fields
---@field trailers perigee.test.Fields
---@field body string
---@field interim table[] 1xx responses that came before, with status, reason and headers
local Response = {}
Response.__index = Response

--- The body, decoded; an error when it is no JSON.
---@return any
function Response:json()
    local value, message = require("perigee.json").decode(self.body)
    if value == nil then
        misuse.raise("the body is no JSON: " .. tostring(message) .. "\n" .. self.body)
    end
    return value
end

--- The whole response, for messages.
function Response:__tostring()
    return self.status .. " " .. self.reason .. "\n" .. tostring(self.headers) .. "\n\n" .. self.body
end

--- Is the value a response of the kit?
---@param value any
---@return boolean
function client.is_response(value)
    return getmetatable(value) == Response
end

-- ---------------------------------------------------------------- a request on its way

---@class perigee.test.Pending
local Pending = { finish = ending.client.finish }

local OF_RESPONSE = { status = true, reason = true, headers = true, body = true, trailers = true, json = true }

function Pending.__index(_, key)
    if OF_RESPONSE[key] then
        misuse.raise("gw:send(…) gives a request on its way, which has no " .. key .. ": call :wait() for the response")
    end
    return Pending[key]
end

--- Is the value a request on its way?
---@param value any
---@return boolean
function client.is_pending(value)
    return getmetatable(value) == Pending
end

-- Sends a body bit by bit; false when it breaks the connection: what is no string or number says so.
local function write_slowly(raw, request)
    for _, part in ipairs(request.chunks) do
        if type(part) == "number" then
            async.sleep(part)
        elseif type(part) == "string" then
            raw:write(wire.chunk(part))
        else
            raw:close()
            return false
        end
    end
    raw:write(wire.last_chunk(request.trailers))
    return true
end

local function is_slow(request)
    for _, part in ipairs(request.chunks or {}) do
        if type(part) ~= "string" then
            return true
        end
    end
    return false
end

--- Sends a request.
---@param raw table connection of the runtime
---@param request perigee.test.Request
---@return perigee.test.Pending
function client.send(raw, request)
    local name = request.method .. " " .. request.path
    local self = setmetatable({
        raw = raw, name = name, timeout = request.timeout or HANG_SECONDS, place = misuse.place(),
        is_closed = false, is_aborted = false, is_seen = false, writer = false,
        reader = wire.reader("the response to " .. name, true, request.method == "HEAD"),
    }, Pending)
    if is_slow(request) then
        raw:write(wire.request_head(request))
        self.writer = testing.spawn(function()
            if not write_slowly(raw, request) then
                self.is_aborted, self.is_closed = true, true
            end
            self.writer = false
        end) or false
    else
        raw:write(wire.request(request))
    end
    return self
end

-- Moves what has arrived; returns whether there was something.
function Pending:_serve()
    if self.is_closed or self.reader.is_complete then
        return false
    end
    local bytes = self.raw:take()
    local ok, err = true, nil
    if bytes then
        ok, err = pcall(self.reader.feed, self.reader, bytes)
    elseif self.raw:is_ended() then
        self.is_closed = true
        self.reader:finish()
    end
    if not ok then
        self.is_closed = true
        world.fail(err)
    end
    return bytes ~= nil or self.is_closed == true
end

--- Is there nothing more to wait for?
---@return boolean
function Pending:done()
    world.settle()
    return self:_is_done()
end

function Pending:_is_done()
    return self.reader.is_complete or self.is_closed == true
end

function Pending:_response()
    local reader = self.reader
    if not reader.is_complete then
        local what = reader:has_begun() and "before the response was complete" or "without a response"
        misuse.raise(self.name .. ": the gateway closed the connection " .. what)
    end
    local message = reader.message
    message.interim = reader.interim
    return setmetatable(message, Response)
end

--- Runs the gateway until the response is complete.
---@return perigee.test.Response
function Pending:wait()
    if self.is_aborted then
        misuse.raise(self.name .. " was aborted")
    end
    self.is_seen = true -- whatever comes of it
    if not world.run(function() return self:_is_done() end, self.timeout) then
        self:abort()
        misuse.raise(self.name .. ": no response within " .. self.timeout .. " virtual seconds")
    end
    self:_close()
    return self:_response()
end

--- Goes away without waiting for the response.
function Pending:abort()
    self.is_aborted, self.is_closed = true, true
    self:_close()
    world.settle()
end

function Pending:_close()
    if self.writer then
        testing.cancel(self.writer)
        self.writer = false
    end
    self.raw:reset()
end

-- What the test forgot about the request.
function Pending:_leak()
    if self.is_seen or self.is_aborted then
        return nil
    end
    local place = self.place and " (" .. self.place .. ")" or ""
    return self.name .. " was sent and neither waited for nor aborted" .. place
end

-- ---------------------------------------------------------------- bytes

---@class perigee.test.Connection
local Connection = { reset = ending.client.reset }
Connection.__index = Connection

--- A connection for bytes.
---@param raw table connection of the runtime
---@return perigee.test.Connection
function client.raw(raw)
    return setmetatable({ raw = raw, arrived = "", place = misuse.place() }, Connection)
end

function Connection:_serve()
    local bytes = self.raw:take()
    self.arrived = self.arrived .. (bytes or "")
    return bytes ~= nil
end

--- Sends bytes and lets the gateway work on them.
---@param bytes string
---@return perigee.test.Connection self
function Connection:write(bytes)
    misuse.check("connection:write expects bytes", bytes, "string")
    self.raw:write(bytes)
    world.settle()
    return self
end

--- What has arrived since the last read; "" for nothing.
---@return string
function Connection:read()
    world.settle()
    local bytes = self.arrived
    self.arrived = ""
    return bytes
end

--- Has the gateway closed the connection?
---@return boolean
function Connection:closed()
    world.settle()
    return self.raw:is_ended()
end

--- Ends the client's direction: nothing more will be written.
function Connection:finish()
    self.raw:shutdown()
    world.settle()
end

--- Closes the connection.
function Connection:close()
    self.raw:close()
    world.settle()
end

function Connection:_close()
    self.raw:close()
end

-- Bytes that came and that the test has not looked at.
function Connection:_leak()
    if self.arrived == "" then
        return nil
    end
    local place = self.place and " (" .. self.place .. ")" or ""
    local text = ("%q"):format(self.arrived:sub(1, 60))
    return #self.arrived .. " bytes on a raw connection" .. place .. " were not read: " .. text
end

return client
