-- SPDX-License-Identifier: MIT
--
-- Makes a validated configuration read-only for the policy that gets it. Records become proxies: writing to one, or
-- reading a name that the schema does not have, is an error. Lists, sets and maps stay tables, for ipairs and '#' cannot
-- see through a proxy; only new entries are refused there.

local readonly = {}

local function refuse(_, key)
    error("the configuration is read-only: '" .. tostring(key) .. "' cannot be set", 2)
end

local GUARD = { __newindex = refuse, __metatable = "read-only" }

local freeze_field

local function freeze_record(fields, values)
    for name, field in pairs(fields) do
        if values[name] ~= nil then
            values[name] = freeze_field(field, values[name])
        end
    end
    setmetatable(values, {
        __index = function(_, key)
            if fields[key] == nil then
                error("the policy's schema has no setting '" .. tostring(key) .. "'", 2)
            end
        end,
    })
    return setmetatable({}, {
        __index = values,
        __newindex = refuse,
        __pairs = function() -- for the `pairs` of scripts: without the table itself
            return function(_, key)
                return next(values, key)
            end
        end,
        __metatable = "read-only",
    })
end

local function freeze_items(field, values)
    for key, value in pairs(values) do
        values[key] = freeze_field(field, value)
    end
    return setmetatable(values, GUARD)
end

function freeze_field(field, value)
    local kind = type(field) == "table" and field.type or field
    if type(value) ~= "table" or kind == "any" or getmetatable(value) ~= nil then
        return value
    elseif kind == "table" and field.fields then
        return freeze_record(field.fields, value)
    elseif kind == "list" or kind == "set" then
        return freeze_items(field.items, value)
    elseif kind == "map" then
        return freeze_items(field.values, value)
    end
    return value
end

--- Read-only form of a validated table; takes the table over.
---@param fields table<string, table|string> its schema
---@param values table
---@return table
function readonly.freeze(fields, values)
    return freeze_record(fields, values)
end

return readonly
