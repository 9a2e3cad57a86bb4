-- SPDX-License-Identifier: MIT
--
-- Writes values, names and paths of settings for error messages: short, printable, and the same every time.

local readable = {}

local SHOWN = 60 -- bytes of a string that a message shows

--- Path segment that stands for a key which must not be shown.
readable.HIDDEN = setmetatable({}, { __tostring = function() return "[…]" end })

--- Text in single quotes, printable and of bounded length.
---@param text string
---@return string
function readable.quote(text)
    return "'" .. readable.escape(text) .. "'"
end

--- Text with control bytes written as \ddd, cut when it is long.
---@param text string
---@return string
function readable.escape(text)
    if #text > SHOWN then
        text = text:sub(1, SHOWN) .. "…"
    end
    return (text:gsub("[%z\1-\31\127]", function(byte) return string.format("\\%03d", byte:byte()) end))
end

--- A number without needless digits.
---@param number number
---@return string
function readable.number(number)
    return string.format("%.14g", number)
end

--- Kind of a value, as a phrase that does not show it.
---@param value any
---@return string
function readable.kind(value)
    local kind = type(value)
    if kind == "nil" then
        return "nothing"
    elseif kind == "userdata" or kind == "cdata" then
        return "a special value (" .. kind .. ")"
    elseif kind == "table" and value[1] ~= nil then
        return "a list"
    end
    return "a " .. kind
end

--- A value, as a phrase that shows it when it is a scalar.
---@param value any
---@return string
function readable.value(value)
    local kind = type(value)
    if kind == "string" then
        return '"' .. readable.escape(value) .. '"'
    elseif kind == "number" then
        return readable.number(value)
    elseif kind == "boolean" then
        return tostring(value)
    end
    return readable.kind(value)
end

--- Strings as a choice: "a", "b" or "c".
---@param values string[]
---@return string
function readable.choice(values)
    local parts = {}
    for i, value in ipairs(values) do
        parts[i] = readable.value(value)
    end
    local last = table.remove(parts)
    return #parts == 0 and last or table.concat(parts, ", ") .. " or " .. last
end

--- Keys of a table in a stable order: numbers before strings before the rest.
---@param value table
---@return any[]
function readable.sorted_keys(value)
    local keys = {}
    for key in next, value do
        keys[#keys + 1] = key
    end
    table.sort(keys, function(a, b)
        local kind_a, kind_b = type(a), type(b)
        if kind_a ~= kind_b then
            return kind_a < kind_b
        elseif kind_a == "number" or kind_a == "string" then
            return a < b
        end
        return tostring(a) < tostring(b)
    end)
    return keys
end

--- A path as it would be written in Lua: routes[2].match.path, upstreams["a b"].dns. The empty path is "".
---@param segments (string|number|table)[]
---@return string
function readable.path_text(segments)
    local parts = {}
    for i, segment in ipairs(segments) do
        if segment == readable.HIDDEN then
            parts[i] = tostring(segment)
        elseif type(segment) == "number" then
            parts[i] = "[" .. readable.number(segment) .. "]"
        elseif type(segment) == "string" and segment:find("^[%a_][%w_]*$") then
            parts[i] = (i > 1 and "." or "") .. readable.escape(segment)
        else
            parts[i] = '["' .. readable.escape(tostring(segment)) .. '"]'
        end
    end
    return table.concat(parts)
end

return readable
