-- SPDX-License-Identifier: MIT
--
-- perigee.log: messages of policies in the runtime's log, with the policy's name in front. Fields follow the message as
-- name=value, in the order of their names; texts are quoted. Control bytes are escaped by the log itself, so a value from a
-- request cannot begin a line of its own. Never log a secret.

local ffi = require "ffi"
local current = require "perigee._core.current"

local C, error, type, tostring, next = ffi.C, error, type, tostring, next
local concat, sort, gsub = table.concat, table.sort, string.gsub

local LEVELS = { debug = 0, info = 1, warn = 2, error = 3 }

local function quote(text)
    return '"' .. gsub(text, '["\\]', "\\%0") .. '"'
end

local function field_text(value)
    if type(value) == "string" then
        return quote(value)
    elseif type(value) == "number" or type(value) == "boolean" then
        return tostring(value)
    end
    return "(" .. type(value) .. ")"
end

local function fields_text(fields)
    local parts = {}
    for name, value in next, fields do
        parts[#parts + 1] = " " .. tostring(name) .. "=" .. field_text(value)
    end
    sort(parts)
    return concat(parts)
end

local function write(level, message, fields)
    if C.peri_ffi_log_is_on(level) == 0 then
        return
    end
    local text = type(message) == "string" and message or tostring(message)
    if current.policy then
        text = current.policy .. ": " .. text
    end
    if fields ~= nil then
        if type(fields) ~= "table" then
            error("fields are a table of names and values, not a " .. type(fields), 3)
        end
        text = text .. fields_text(fields)
    end
    C.peri_ffi_log(level, text, #text)
end

local log = {}

--- For whoever looks for a fault; off by default.
---@param message string
---@param fields? table<string, any>
function log.debug(message, fields)
    write(LEVELS.debug, message, fields)
end

--- What an operator may want to know.
---@param message string
---@param fields? table<string, any>
function log.info(message, fields)
    write(LEVELS.info, message, fields)
end

--- What an operator should look at.
---@param message string
---@param fields? table<string, any>
function log.warn(message, fields)
    write(LEVELS.warn, message, fields)
end

--- What does not work.
---@param message string
---@param fields? table<string, any>
function log.error(message, fields)
    write(LEVELS.error, message, fields)
end

return log
