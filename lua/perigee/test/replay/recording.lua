-- SPDX-License-Identifier: MIT
--
-- Reads what `perigee record` wrote (docs/operations/record-replay.md): one JSON text a line, the first of which describes the
-- recording. Every line is checked before anything is replayed; a bad one is named by its number.

local json = require "perigee.json"
local time = require "perigee.time"
local is_token = require("perigee.algo.token").is

local recording = {}

local VERSION = 1
local LINE_MAX = 8 * 1024 * 1024

-- ---------------------------------------------------------------- bytes

-- A byte that is not ASCII is written as the character of its number.
local BYTES = {}
for byte = 128, 255 do
    BYTES[byte < 192 and "\194" .. string.char(byte) or "\195" .. string.char(byte - 64)] = string.char(byte)
end

local function bytes(text)
    return text:find("[\128-\255]") and text:gsub("[\194\195][\128-\191]", BYTES) or text
end

-- ---------------------------------------------------------------- checks

local function check_text(value, name, may_be_nil)
    if type(value) ~= "string" and not (may_be_nil and value == nil) then
        return name .. " is missing or no text"
    end
end

local function check_headers(list, name)
    if type(list) ~= "table" then
        return name .. " is missing or no list"
    end
    for i, pair in ipairs(list) do
        if type(pair) ~= "table" or type(pair[1]) ~= "string" or type(pair[2]) ~= "string" or pair[1] == "" then
            return name .. "[" .. i .. "] is no pair of a name and a value"
        elseif (pair[1] .. pair[2]):find("[\r\n%z]") then
            return name .. "[" .. i .. "] has a line break in it"
        end
        pair[1], pair[2] = bytes(pair[1]), bytes(pair[2])
    end
end

local function check_status(value, name)
    if type(value) ~= "number" or value % 1 ~= 0 or value < 101 or value > 999 then
        return name .. " is missing or no status"
    end
end

-- Bodies become `body`: text as it is, base64 decoded.
local function check_body(message, name)
    local encoded = message.body_base64
    if encoded ~= nil then
        message.body = type(encoded) == "string" and require("perigee.base64").decode(encoded) or nil
        if not message.body then
            return name .. ".body_base64 is no base64"
        end
    end
    return check_text(message.body, name .. ".body", true)
end

local function check_message(message, name)
    if type(message) ~= "table" then
        return name .. " is missing"
    end
    return check_headers(message.headers, name .. ".headers") or check_body(message, name)
end

local function check_request(request, name)
    local problem = check_message(request, name) or check_text(request.method, name .. ".method")
        or check_text(request.target, name .. ".target")
    if problem then
        return problem
    elseif not is_token(request.method) then
        return name .. ".method is no method"
    end
    request.target = bytes(request.target)
    return request.target:find("^[^%s%c]+$") == nil and name .. ".target is no request target" or nil
end

local function check_response(response, name)
    return check_message(response, name) or check_status(response.status, name .. ".status")
end

local function check_attempt(attempt, name)
    if type(attempt) ~= "table" then
        return name .. " is no attempt"
    end
    return check_text(attempt.upstream, name .. ".upstream") or check_text(attempt.error, name .. ".error", true)
        or check_request(attempt.request, name .. ".request")
        or attempt.response ~= nil and check_response(attempt.response, name .. ".response") or nil
end

local function check_attempts(attempts)
    if attempts ~= nil and type(attempts) ~= "table" then
        return "attempts is no list"
    end
    for i, attempt in ipairs(attempts or {}) do
        local problem = check_attempt(attempt, "attempts[" .. i .. "]")
        if problem then
            return problem
        end
    end
end

local function check_exchange(exchange)
    local problem = check_text(exchange.time, "time")
    for _, name in ipairs { "peer", "route", "consumer", "error" } do
        problem = problem or check_text(exchange[name], name, true)
    end
    problem = problem or check_request(exchange.request, "request") or check_attempts(exchange.attempts)
    if not problem and exchange.response ~= nil then
        problem = check_response(exchange.response, "response")
    end
    if not problem then
        exchange.seconds, problem = time.parse_iso(exchange.time)
        problem = problem and "time is " .. problem
    end
    return problem
end

-- ---------------------------------------------------------------- lines

--- The exchange that a line tells of.
---@param text string
---@return table|nil exchange
---@return string|nil message
function recording.parse(text)
    local exchange, message = json.decode(text, LINE_MAX)
    if type(exchange) ~= "table" or json.is_array(exchange) then
        return nil, message and "the line is no JSON: " .. message or "the line is no exchange"
    elseif exchange.perigee_recording then
        return nil, "another recording begins here; replay them one by one"
    end
    local problem = check_exchange(exchange)
    if problem then
        return nil, problem
    end
    return exchange
end

--- What the tap of a replayed server wrote: an exchange that needs no check.
---@param text string
---@return table
function recording.decode(text)
    local exchange = assert(recording.parse(text))
    return exchange
end

local function parse_first(text)
    local first = json.decode(text or "", LINE_MAX)
    if type(first) ~= "table" or first.perigee_recording == nil then
        return nil, "this is no recording: its first line does not say perigee_recording"
    elseif first.perigee_recording ~= VERSION then
        local found = tostring(first.perigee_recording)
        return nil, "the recording has version " .. found .. "; this Perigee reads " .. VERSION
    end
    return first
end

local function add_line(self, number, text)
    if text:find('^{"end":') then
        self.is_whole = true
        return
    end
    local exchange, message = recording.parse(text)
    if exchange then
        -- Kept as text: a table of a large recording would take ten times the memory.
        self.entries[#self.entries + 1] = { line = number, seconds = exchange.seconds, text = text }
    else
        self.bad[#self.bad + 1] = { line = number, message = message }
    end
end

local function add_lines(self, content)
    local number, at = 1, content:find("\n", 1, true) or #content
    while at < #content do
        local finish = content:find("\n", at + 1, true)
        number = number + 1
        if finish then
            add_line(self, number, content:sub(at + 1, finish - 1))
        else
            local message = "the line is cut off: the recording was interrupted while it was written"
            self.bad[#self.bad + 1] = { line = number, message = message }
        end
        at = finish or #content
    end
end

---@class perigee.test.replay.Recording
---@field first table what the first line says
---@field entries { line: integer, seconds: number, text: string }[] exchanges in the order in which they began
---@field bad { line: integer, message: string }[] lines that cannot be read
---@field is_whole boolean the line that ends a recording is there

--- Reads a recording from its text.
---@param content string
---@return perigee.test.replay.Recording|nil
---@return string|nil message
function recording.read(content)
    local first, message = parse_first(content:match("^[^\n]*"))
    if not first then
        return nil, message
    end
    local self = { first = first, entries = {}, bad = {}, is_whole = false }
    add_lines(self, content)
    table.sort(self.entries, function(a, b)
        if a.seconds ~= b.seconds then
            return a.seconds < b.seconds
        end
        return a.line < b.line
    end)
    return self
end

return recording
