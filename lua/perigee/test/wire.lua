-- SPDX-License-Identifier: MIT
--
-- HTTP/1.1 between a test and the gateway. Written apart from the runtime's codec, and strict, so that what the gateway sends
-- is checked by another reader than its own.
--
--   head → body by length | by chunks → trailers | until the end → complete

local fields = require "perigee.test.fields"

local wire = {}

-- ---------------------------------------------------------------- writing

local function write_fields(lines, list)
    for _, field in ipairs(list) do
        lines[#lines + 1] = field[1] .. ": " .. field[2]
    end
end

--- A head: its first line and fields.
---@param first string
---@param list string[][]
---@return string
function wire.head(first, list)
    local lines = { first }
    write_fields(lines, list)
    return table.concat(lines, "\r\n") .. "\r\n\r\n"
end

--- A chunk of a body.
---@param data string
---@return string
function wire.chunk(data)
    return data == "" and "" or string.format("%x\r\n%s\r\n", #data, data)
end

--- The end of a chunked body.
---@param trailers table<string, string|string[]>|nil
---@return string
function wire.last_chunk(trailers)
    return wire.head("0", fields.list(trailers))
end

local function chunked(chunks, trailers)
    local parts = {}
    for i, chunk in ipairs(chunks) do
        parts[i] = wire.chunk(chunk)
    end
    return table.concat(parts) .. wire.last_chunk(trailers)
end

local WITH_CONTENT = { POST = true, PUT = true, PATCH = true }

local function request_fields(request)
    local list = fields.list(request.headers)
    if not fields.has(list, "host") then
        table.insert(list, 1, { "host", "localhost" })
    end
    local body = request.body or ""
    if request.chunks then
        list[#list + 1] = { "transfer-encoding", "chunked" }
    elseif (body ~= "" or WITH_CONTENT[request.method]) and not fields.has(list, "content-length") then
        list[#list + 1] = { "content-length", #body }
    end
    return list
end

--- The head of a request.
---@param request perigee.test.Request
---@return string
function wire.request_head(request)
    return wire.head(request.method .. " " .. request.path .. " HTTP/1.1", request_fields(request))
end

--- A whole request, whose chunks are strings.
---@param request perigee.test.Request
---@return string
function wire.request(request)
    local body = request.chunks and chunked(request.chunks, request.trailers) or request.body or ""
    return wire.request_head(request) .. body
end

-- ---------------------------------------------------------------- reading

---@class perigee.test.Reader
---@field message table the message, as far as it is known
---@field is_complete boolean
---@field interim table[] heads of 1xx responses
---@field buffer string bytes behind the message, or not understood yet
local Reader = {}
Reader.__index = Reader

local function fail(reader, what)
    error(reader.name .. " is no proper HTTP/1.1: " .. what, 0)
end

local function parse_fields(reader, text)
    local list = {}
    for line in text:gmatch("(.-)\r\n") do
        local name, value = line:match("^([%w!#$%%&'*+%-.^_`|~]+):[ \t]*(.-)[ \t]*$")
        if not name or value:find("[\r\n%z]") then
            fail(reader, ("field %q"):format(line))
        end
        list[#list + 1] = { name, value }
    end
    return fields.new(list)
end

local function parse_first(reader, line)
    local message = {}
    if reader.is_response then
        local version, status, reason = line:match("^HTTP/(1%.[01]) (%d%d%d) ([^\r\n]*)$")
        message.version, message.status, message.reason = version, tonumber(status), reason
    else
        message.method, message.target, message.version = line:match("^(%u+) (%S+) HTTP/(1%.[01])$")
    end
    if not message.version then
        fail(reader, ("first line %q"):format(line))
    end
    return message
end

local function body_state(reader, message)
    local length, coding = message.headers["content-length"], message.headers["transfer-encoding"]
    if length and coding then
        fail(reader, "Content-Length and Transfer-Encoding")
    elseif length and not length:find("^%d+$") then
        fail(reader, "Content-Length " .. length)
    elseif coding and coding:lower() ~= "chunked" then
        fail(reader, "Transfer-Encoding " .. coding)
    end
    local status = message.status or 0
    if reader.is_response and (reader.is_head or status < 200 or status == 204 or status == 304) then
        return "end"
    elseif coding then
        return "size"
    elseif length then
        reader.left = tonumber(length)
        return reader.left > 0 and "length" or "end"
    end
    return reader.is_response and "close" or "end"
end

local steps = {}

function steps.head(reader)
    local first, last = reader.buffer:find("\r\n\r\n", 1, true)
    if not first then
        return false
    end
    local head = reader.buffer:sub(1, first + 1)
    reader.buffer = reader.buffer:sub(last + 1)
    local line, rest = head:match("^(.-)\r\n(.*)$")
    local message = parse_first(reader, line)
    message.headers, message.trailers = parse_fields(reader, rest), fields.new {}
    if reader.is_response and message.status < 200 and message.status ~= 101 then
        reader.interim[#reader.interim + 1] = message
        return true
    end
    reader.message = message
    reader.state = body_state(reader, message)
    return true
end

local function take(reader, length)
    local data = reader.buffer:sub(1, length)
    reader.buffer = reader.buffer:sub(length + 1)
    if data ~= "" then
        reader.pieces[#reader.pieces + 1] = data
    end
    return #data
end

function steps.length(reader)
    reader.left = reader.left - take(reader, reader.left)
    if reader.left == 0 then
        reader.state = "end"
    end
    return reader.left == 0
end

function steps.size(reader)
    local line, rest = reader.buffer:match("^(.-)\r\n()")
    if not line then
        return false
    elseif not line:find("^%x+$") then
        fail(reader, ("size of a chunk %q"):format(line))
    end
    reader.buffer, reader.left = reader.buffer:sub(rest), tonumber(line, 16)
    reader.state = reader.left > 0 and "chunk" or "trailers"
    return true
end

function steps.chunk(reader)
    reader.left = reader.left - take(reader, reader.left)
    if reader.left > 0 or #reader.buffer < 2 then
        return false
    elseif reader.buffer:sub(1, 2) ~= "\r\n" then
        fail(reader, "end of a chunk")
    end
    reader.buffer, reader.state = reader.buffer:sub(3), "size"
    return true
end

function steps.trailers(reader)
    local text, rest = "", reader.buffer:match("^\r\n()")
    if not rest then
        local first, last = reader.buffer:find("\r\n\r\n", 1, true)
        if not first then
            return false
        end
        text, rest = reader.buffer:sub(1, first + 1), last + 1
    end
    reader.message.trailers = parse_fields(reader, text)
    reader.buffer, reader.state = reader.buffer:sub(rest), "end"
    return true
end

function steps.close(reader)
    take(reader, #reader.buffer)
    return false
end

steps["end"] = function(reader)
    reader.message.body = table.concat(reader.pieces)
    reader.is_complete = true
    return false
end

--- Reads on. Raises an error when the bytes are no HTTP/1.1.
---@param bytes string
---@return boolean is_complete
function Reader:feed(bytes)
    self.buffer = self.buffer .. bytes
    while not self.is_complete and steps[self.state](self) do
    end
    return self.is_complete
end

--- The connection has ended.
---@return boolean is_complete
function Reader:finish()
    if self.state == "close" then
        self.state = "end"
        steps["end"](self)
    end
    return self.is_complete
end

--- Has anything of a message arrived?
---@return boolean
function Reader:has_begun()
    return self.message ~= nil or self.buffer ~= ""
end

--- A reader of one message.
---@param name string what is read, for messages
---@param is_response boolean
---@param is_head boolean the response answers HEAD
---@return perigee.test.Reader
function wire.reader(name, is_response, is_head)
    return setmetatable({
        name = name, is_response = is_response, is_head = is_head, is_complete = false,
        state = "head", buffer = "", pieces = {}, interim = {},
    }, Reader)
end

return wire
