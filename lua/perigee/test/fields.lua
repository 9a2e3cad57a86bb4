-- SPDX-License-Identifier: MIT
--
-- Header fields and trailers as they came over the wire: an ordered list, read by name in any case.

local fields = {}

---@class perigee.test.Fields
local methods = {}
local LIST = {} -- key of the list in an object

local Fields = {}

-- Values of one name are joined with ", ", as in the Fetch API: a field that is there twice does not look like one.
function Fields.__index(self, name)
    if methods[name] then
        return methods[name]
    end
    local values = type(name) == "string" and methods.all(self, name) or {}
    return #values > 0 and table.concat(values, ", ") or nil
end

--- Every value of a name, in order.
---@param name string
---@return string[]
function methods:all(name)
    local values, lower = {}, name:lower()
    for _, field in ipairs(rawget(self, LIST)) do
        if field[1]:lower() == lower then
            values[#values + 1] = field[2]
        end
    end
    return values
end

--- Iterates over names (as sent) and values.
---@return fun(): string|nil, string|nil
function methods:iterate()
    local list, at = rawget(self, LIST), 0
    return function()
        at = at + 1
        if list[at] then
            return list[at][1], list[at][2]
        end
    end
end

--- One field a line, for messages.
function Fields.__tostring(self)
    local lines = {}
    for name, value in methods.iterate(self) do
        lines[#lines + 1] = name .. ": " .. value
    end
    return table.concat(lines, "\n")
end

--- Makes an object of a list of { name, value }.
---@param list string[][]
---@return perigee.test.Fields
function fields.new(list)
    return setmetatable({ [LIST] = list }, Fields)
end

--- A list of { name, value } of what a test writes: values by name, a value being a string, a number or a list of them.
--- Sorted by name, so that a run is like the next.
---@param map table<string, string|number|(string|number)[]>|nil
---@return string[][]
function fields.list(map)
    local names, list = {}, {}
    for name in pairs(map or {}) do
        names[#names + 1] = name
    end
    table.sort(names)
    for _, name in ipairs(names) do
        local values = map[name]
        for _, value in ipairs(type(values) == "table" and values or { values }) do
            list[#list + 1] = { name, tostring(value) }
        end
    end
    return list
end

--- Is there a field of this name (lower case) in a list?
---@param list string[][]
---@param name string
---@return boolean
function fields.has(list, name)
    for _, field in ipairs(list) do
        if field[1]:lower() == name then
            return true
        end
    end
    return false
end

return fields
