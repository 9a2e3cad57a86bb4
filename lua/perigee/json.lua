-- SPDX-License-Identifier: MIT
--
-- perigee.json: JSON text and Lua values. Decoding is jansson's: valid UTF-8 only, no name twice in an object, at most 128
-- levels. Encoding is deterministic (names sorted) and refuses what JSON cannot say instead of guessing. Null is json.null;
-- arrays know that they are arrays, so an empty one comes back as one.

local ffi = require "ffi"
local buffer = require "string.buffer"
local native = require "perigee._core.json_native"
local scratch = require "perigee._core.scratch"

local floor, format, tonumber, type, next = math.floor, string.format, tonumber, type, next
local C, getmetatable, sort = ffi.C, getmetatable, table.sort

local DEPTH = 128
local SIZE = 16 * 1024 * 1024

local json = {}

--- What JSON's null is in Lua: a value that is true in conditions and equal only to itself.
json.null = native.null
local NULL = native.null

--- The value of a JSON text: tables, strings, numbers, booleans, json.null. Numbers are doubles, as in Lua.
---@param text string
---@param max? integer most bytes of text; 16 MiB by default
---@return any value nil when refused
---@return string|nil message
function json.decode(text, max)
    return native.decode(text, max or SIZE)
end

--- Marks a table as an array, so that it is encoded as one even when empty.
---@param list? table
---@return table list
function json.array(list)
    list = list or {}
    if getmetatable(list) == nil then
        setmetatable(list, native.array)
    end
    return list
end

--- Is the value a decoded array, or one marked by json.array?
---@param value any
---@return boolean
function json.is_array(value)
    return type(value) == "table" and getmetatable(value) == "json.array"
end

-- ------------------------------------------------------------------ encoding

local function put_string(out, text)
    local quoted = scratch(6 * #text + 2)
    local len = tonumber(C.peri_ffi_json_quote(text, #text, quoted))
    if len < 0 then
        return "a string that is not UTF-8"
    end
    out:putcdata(quoted, len)
end

-- The shortest form that reads back as the same number.
local function put_number(out, number)
    if number == floor(number) and number > -1e15 and number < 1e15 then
        out:put(format("%d", number))
        return
    elseif number ~= number or number == 1 / 0 or number == -1 / 0 then
        return "a number that is not finite"
    end
    local text = format("%.15g", number)
    if tonumber(text) ~= number then
        text = format("%.16g", number)
        if tonumber(text) ~= number then
            text = format("%.17g", number)
        end
    end
    out:put(text)
end

local put_value

-- Number of elements when the table is an array, nil when it is an object, false and a message when it is neither.
local function array_length(value)
    local length, count, is_marked = #value, 0, getmetatable(value) == "json.array"
    if not is_marked and value[1] == nil then
        if type(next(value)) == "number" then
            return false, "a sparse array"
        end
        return nil
    end
    for key in next, value do
        if type(key) ~= "number" then
            return false, "a table with both positions and names"
        elseif key < 1 or key > length or key ~= floor(key) then
            return false, "a sparse array"
        end
        count = count + 1
    end
    return count == length and length, "a sparse array"
end

local function put_array(out, value, length, state)
    out:put("[")
    for i = 1, length do
        if i > 1 then
            out:put(",")
        end
        local problem = put_value(out, value[i], state)
        if problem then
            return problem
        end
    end
    out:put("]")
end

local function put_object(out, value, state)
    local keys, count = {}, 0
    for key in next, value do
        if type(key) ~= "string" then
            return type(key) == "number" and "a table with both positions and names" or "a name that is a " .. type(key)
        end
        count = count + 1
        keys[count] = key
    end
    sort(keys)
    out:put("{")
    for i = 1, count do
        if i > 1 then
            out:put(",")
        end
        local problem = put_string(out, keys[i])
        out:put(":")
        problem = problem or put_value(out, value[keys[i]], state)
        if problem then
            return problem
        end
    end
    out:put("}")
end

local function put_table(out, value, state)
    if state[value] then
        return "a table that contains itself"
    elseif state.depth == DEPTH then
        return "more than " .. DEPTH .. " levels"
    end
    local length, problem = array_length(value)
    if length == false then
        return problem
    end
    state[value] = true
    state.depth = state.depth + 1
    if length then
        problem = put_array(out, value, length, state)
    else
        problem = put_object(out, value, state)
    end
    state.depth = state.depth - 1
    state[value] = nil
    return problem
end

function put_value(out, value, state)
    local kind = type(value)
    if kind == "string" then
        return put_string(out, value)
    elseif kind == "number" then
        return put_number(out, value)
    elseif kind == "table" then
        return put_table(out, value, state)
    elseif kind == "boolean" then
        out:put(value and "true" or "false")
    elseif value == NULL then
        out:put("null")
    else
        return "a value that is a " .. kind
    end
end

--- JSON text of a value: names sorted, no white space. A table with positions from 1 on is an array, one with names an object;
--- an empty one is an object unless json.array marked it. Nil and a message for what JSON cannot say: functions, NaN, infinity,
--- sparse or mixed tables, tables that contain themselves, strings that are not UTF-8.
---@param value any
---@return string|nil text
---@return string|nil message
function json.encode(value)
    local out = buffer.new()
    local problem = put_value(out, value, { depth = 0 })
    if problem then
        return nil, "JSON cannot hold " .. problem
    end
    return out:tostring()
end

return json
