-- SPDX-License-Identifier: MIT
--
-- Says where two values differ, for the messages of assertions: JSON values path by path, texts line by line.

local json = require "perigee.json"

local difference = {}

local SHOWN_MAX = 12 -- differences of one comparison
local TEXT_MAX = 120 -- bytes of a text around a difference
local BEFORE = 30 -- of these, before the difference

local function show(value)
    if type(value) == "string" then
        return ("%q"):format(value):gsub("\\\n", "\\n")
    end
    return type(value) == "table" and json.encode(value) or tostring(value)
end

local function child(path, key)
    if type(key) == "number" then
        return path .. "[" .. key .. "]"
    elseif tostring(key):find("^[%a_][%w_-]*$") then
        return path == "" and key or path .. "." .. key
    end
    return path .. "[" .. show(key) .. "]"
end

local function sorted_keys(a, b)
    local keys, seen = {}, {}
    for _, map in ipairs { a, b } do
        for key in pairs(map) do
            if not seen[key] then
                seen[key], keys[#keys + 1] = true, key
            end
        end
    end
    table.sort(keys, function(x, y)
        if type(x) == type(y) and type(x) ~= "boolean" then
            return x < y
        end
        return tostring(x) < tostring(y)
    end)
    return keys
end

-- Are both objects, or both lists? An empty table may be either.
local function are_alike(a, b)
    return type(a) == "table" and type(b) == "table"
        and (next(a) == nil or next(b) == nil or (a[1] ~= nil) == (b[1] ~= nil))
end

local function compare(expected, actual, path, lines)
    if are_alike(expected, actual) then
        for _, key in ipairs(sorted_keys(expected, actual)) do
            compare(expected[key], actual[key], child(path, key), lines)
        end
    elseif expected ~= actual then
        local name = path == "" and "the value" or path
        if actual == nil then
            lines[#lines + 1] = name .. ": expected " .. show(expected) .. ", and it is not there"
        elseif expected == nil then
            lines[#lines + 1] = name .. ": not expected, and it is " .. show(actual)
        else
            lines[#lines + 1] = name .. ": expected " .. show(expected) .. ", got " .. show(actual)
        end
    end
end

--- Differences of two values, one a line, each indented; "" when there is none.
---@param expected any
---@param actual any
---@return string
function difference.of_values(expected, actual)
    local lines = {}
    compare(expected, actual, "", lines)
    if #lines > SHOWN_MAX then
        local count = #lines - SHOWN_MAX
        lines = { unpack(lines, 1, SHOWN_MAX) }
        lines[#lines + 1] = "and " .. count .. " more"
    end
    return #lines > 0 and "\n  " .. table.concat(lines, "\n  ") or ""
end

local function first_difference(a, b)
    for i = 1, math.min(#a, #b) do
        if a:byte(i) ~= b:byte(i) then
            return i
        end
    end
    return math.min(#a, #b) + 1
end

local function line_at(text, at)
    local first = at
    while first > 1 and text:sub(first - 1, first - 1) ~= "\n" do
        first = first - 1
    end
    return first, (text:find("\n", at, true) or #text + 1) - 1
end

-- A piece of the line that holds place `at`.
local function excerpt(text, at)
    local first, last = line_at(text, at)
    local from, to = math.max(first, at - BEFORE), math.min(last, at - BEFORE + TEXT_MAX)
    return (from > first and "…" or "") .. show(text:sub(from, to)) .. (to < last and "…" or "")
end

--- Where two texts begin to differ; "" when they are the same, or so short that one sees it.
---@param expected string
---@param actual string
---@return string
function difference.of_texts(expected, actual)
    if expected == actual or #expected + #actual <= TEXT_MAX / 2 then
        return ""
    end
    local at = first_difference(expected, actual)
    local _, lines = expected:sub(1, at - 1):gsub("\n", "")
    return ("\n  they differ from byte %d (line %d) on:\n    expected %s\n    got      %s"):format(
        at, lines + 1, excerpt(expected, at), excerpt(actual, at))
end

return difference
