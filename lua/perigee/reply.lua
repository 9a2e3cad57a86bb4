-- SPDX-License-Identifier: MIT
--
-- perigee.reply(status, body, headers): an answer of the proxy itself, as a value. A hook or a handler returns it; only then
-- does it take effect. A table as body becomes JSON.

local ffi = require "ffi"

local C, setmetatable, getmetatable, type, error = ffi.C, setmetatable, getmetatable, type, error
local rawget, tostring = rawget, tostring
local ffi_string = ffi.string

local NONE = {}
local CHANGED = "the answer was changed after perigee.reply made it: status, text, kind or headers are of another type"

local reply = {}

---@class perigee.Reply
---@field status integer
---@field body string|table|nil
---@field headers table<string, string|number|(string|number)[]>|nil
local Reply = { __metatable = "perigee.Reply" }

local function encode(value)
    local text, message = require("perigee.json").encode(value)
    if not text then
        error("perigee.reply: the body cannot be written as JSON: " .. message, 3)
    end
    return text
end

local function check_headers(headers)
    if type(headers) ~= "table" then
        error("perigee.reply: headers are a table of names and values, not a " .. type(headers), 3)
    end
    for name in pairs(headers) do
        if type(name) ~= "string" then
            error("perigee.reply: the name of a header is a string, not a " .. type(name), 3)
        end
    end
end

--- Makes an answer.
---@param status integer 200 to 599
---@param body? string|table
---@param headers? table<string, string|number|(string|number)[]>
---@return perigee.Reply
function reply.new(status, body, headers)
    if type(status) ~= "number" or status % 1 ~= 0 or status < 200 or status > 599 then
        error("perigee.reply: the status is a whole number from 200 to 599", 2)
    end
    local kind, text = "text/plain; charset=utf-8", body
    if type(body) == "table" then
        kind, text = "application/json", encode(body)
    elseif body ~= nil and type(body) ~= "string" then
        error("perigee.reply: the body is a string or a table, not a " .. type(body), 2)
    end
    if headers ~= nil then
        check_headers(headers)
    end
    return setmetatable({ status = status, body = body, headers = headers, text = text or "", kind = kind }, Reply)
end

local MEMBERS = { type = "string", title = "string", detail = "string", status = "number" }

--- Makes an answer that says what went wrong, in the form of the proxy's own errors: a problem document (RFC 9457).
---@param status integer 400 to 599
---@param detail? string a sentence for the client about this very case
---@param extra? table<string, any> further members of the document; `type` and `title` replace the defaults
---@return perigee.Reply
function reply.problem(status, detail, extra)
    if type(status) ~= "number" or status % 1 ~= 0 or status < 400 or status > 599 then
        error("perigee.problem: the status is a whole number from 400 to 599", 2)
    elseif detail ~= nil and type(detail) ~= "string" then
        error("perigee.problem: the detail is a string, not a " .. type(detail), 2)
    elseif extra ~= nil and type(extra) ~= "table" then
        error("perigee.problem: extra members are a table, not a " .. type(extra), 2)
    end
    local document = { type = "about:blank", title = ffi_string(C.peri_ffi_status_text(status)), detail = detail }
    for name, value in next, extra or NONE do
        if type(name) ~= "string" or MEMBERS[name] and type(value) ~= MEMBERS[name] then
            error("perigee.problem: member '" .. tostring(name) .. "' cannot be a " .. type(value), 2)
        end
        document[name] = value
    end
    document.status = status
    local answer = reply.new(status, document, { ["content-type"] = "application/problem+json" })
    answer.text = answer.text .. "\n" -- as in the proxy's own errors: for terminals
    return answer
end

--- Is the value an answer?
---@param value any
---@return boolean
function reply.is(value)
    return type(value) == "table" and getmetatable(value) == "perigee.Reply"
end

local function add(s, name, value)
    if type(name) ~= "string" then
        return "the name of a header is a string, not a " .. type(name)
    elseif type(value) == "number" then
        value = value .. ""
    elseif type(value) ~= "string" then
        return "the value of header '" .. name .. "' is a string, not a " .. type(value)
    end
    local code = C.peri_ffi_header_add(s, C.PERI_FFI_RESPONSE_HEADERS, name, #name, value, #value)
    if code ~= 0 then
        return "header '" .. name .. "': " .. ffi_string(C.peri_ffi_error_text(code))
    end
end

local function add_all(s, name, values)
    if type(values) ~= "table" then
        return add(s, name, values)
    end
    for i = 1, #values do
        local problem = add(s, name, rawget(values, i))
        if problem then
            return problem
        end
    end
end

-- What to send; nothing when the script made something else of the answer. Reads past metatables: this runs outside of the hook.
local function fields_of(answer)
    local status, text, kind = rawget(answer, "status"), rawget(answer, "text"), rawget(answer, "kind")
    local headers = rawget(answer, "headers")
    if type(status) == "number" and type(text) == "string" and type(kind) == "string"
        and (headers == nil or type(headers) == "table") then
        return status, text, kind, headers or NONE
    end
end

--- Makes the answer the response of the exchange.
---@param s ffi.cdata* slot
---@param answer perigee.Reply
---@return string|nil problem
function reply.apply(s, answer)
    local status, body, kind, headers = fields_of(answer)
    if not status then
        return CHANGED
    end
    local has_kind = false
    local code = C.peri_ffi_reply(s, status, body, #body)
    if code ~= 0 then
        return "reply " .. status .. ": " .. ffi_string(C.peri_ffi_error_text(code))
    end
    for name, values in next, headers do
        local problem = add_all(s, name, values)
        if problem then
            return problem
        end
        has_kind = has_kind or name:lower() == "content-type"
    end
    if body ~= "" and not has_kind then
        return add(s, "content-type", kind)
    end
end

return reply
