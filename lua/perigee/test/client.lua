-- SPDX-License-Identifier: MIT
--
-- The client's side: a request on its way, and a connection that carries whatever a test writes.

local ending = require "perigee.test.ending"
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
---@field interim table[] 1xx responses that came before
local Response = {}
Response.__index = Response

--- The body, decoded; an error when it is no JSON.
---@return any
function Response:json()
    local value, message = require("perigee.json").decode(self.body)
    if value == nil then
        error("the body is no JSON: " .. tostring(message) .. "\n" .. self.body, 2)
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
Pending.__index = Pending

--- Sends a request.
---@param raw table connection of the runtime
---@param request table see gateway:request
---@return perigee.test.Pending
function client.send(raw, request)
    local name = request.method .. " " .. request.path
    raw:write(wire.request(request))
    return setmetatable({
        raw = raw, name = name, timeout = request.timeout or HANG_SECONDS,
        reader = wire.reader("the response to " .. name, true, request.method == "HEAD"),
    }, Pending)
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
        error(self.name .. ": the gateway closed the connection " .. what, 3)
    end
    local message = reader.message
    message.interim = reader.interim
    return setmetatable(message, Response)
end

--- Runs the gateway until the response is complete.
---@return perigee.test.Response
function Pending:wait()
    if self.is_aborted then
        error(self.name .. " was aborted", 2)
    end
    self.is_seen = true -- whatever comes of it
    if not world.run(function() return self:_is_done() end, self.timeout) then
        self:abort()
        error(self.name .. ": no response within " .. self.timeout .. " virtual seconds", 2)
    end
    self.raw:close()
    return self:_response()
end

--- Goes away without waiting for the response.
function Pending:abort()
    self.is_aborted, self.is_closed = true, true
    self.raw:reset()
    world.settle()
end

-- Was the request left alone by its test?
function Pending:_is_left()
    return not self.is_seen and not self.is_aborted
end

-- ---------------------------------------------------------------- bytes

---@class perigee.test.Connection
local Connection = { reset = ending.client.reset }
Connection.__index = Connection

--- A connection for bytes.
---@param raw table connection of the runtime
---@return perigee.test.Connection
function client.raw(raw)
    return setmetatable({ raw = raw, arrived = "" }, Connection)
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

function Connection:_is_left()
    return false
end

return client
