-- SPDX-License-Identifier: MIT
--
-- Checks that a schema itself is well formed, so that a typo in a policy's schema ("requried") is an error where it was
-- written and not a setting that is silently never required.

local readable = require "perigee._core.readable"
local schema = require "perigee._core.schema"
local suggest = require "perigee._core.suggest"

local declaration = {}

local EVERY = {
    type = "string", required = "boolean", default = "any", secret = "boolean", doc = "string", check = "function",
    unsupported = "boolean",
}

local LENGTH = { min = "number", max = "number" }

-- Attributes of each type beside those of every type, and the Lua type of their value.
local ATTRIBUTES = {
    string = { min = "number", max = "number", enum = "table", reserved = "table" },
    number = LENGTH,
    integer = LENGTH,
    boolean = {},
    ["function"] = {},
    any = {},
    duration = { min = "any", max = "any" },
    size = { min = "any", max = "any" },
    list = { items = "field", min = "number", max = "number" },
    set = { items = "field", min = "number", max = "number" },
    map = { keys = "field", values = "field" },
    table = { fields = "table", short = "string", exactly_one = "table" },
    one_of = { of = "table" },
    upstream = {},
}

local NEEDED = { list = "items", set = "items", map = "values", one_of = "of" }

local TYPES = readable.sorted_keys(ATTRIBUTES)

local check_field

local function check_attribute(kind, name, value)
    local wanted = EVERY[name] or ATTRIBUTES[kind][name]
    if not wanted then
        local known = readable.sorted_keys(EVERY)
        for _, attribute in ipairs(readable.sorted_keys(ATTRIBUTES[kind])) do
            known[#known + 1] = attribute
        end
        local tail = suggest.tail(tostring(name), known, "attributes")
        return "unknown attribute " .. readable.quote(tostring(name)) .. tail
    elseif wanted == "field" then
        return check_field(value)
    elseif wanted ~= "any" and type(value) ~= wanted then
        return "'" .. name .. "' must be a " .. wanted .. ", found " .. readable.value(value)
    end
    return nil
end

local function check_default(field)
    if field.default == nil then
        return nil
    elseif field.required then
        return "a required setting needs no default"
    end
    local errors = {}
    schema.validate_field(field, field.default, {}, errors)
    if #errors > 0 then
        return "its default does not fit: " .. errors[1].message
    end
    return nil
end

local function check_children(field)
    if field.fields then
        return declaration.problem(field.fields)
    end
    for i, alternative in ipairs(field.of or {}) do
        local message = check_field(alternative)
        if message then
            return "alternative " .. i .. ": " .. message
        end
    end
    return nil
end

local function check_names(field)
    local fields = field.fields or {}
    if field.short and not fields[field.short] then
        return "'short' names no field: " .. field.short
    end
    for _, name in ipairs(field.exactly_one or {}) do
        if not fields[name] then
            return "'exactly_one' names no field: " .. tostring(name)
        end
    end
    return nil
end

function check_field(field)
    if type(field) == "string" then
        field = { type = field }
    elseif type(field) ~= "table" then
        return "expected the name of a type or a table, found " .. readable.value(field)
    end
    if type(field.type) ~= "string" then
        return "'type' is missing"
    elseif not ATTRIBUTES[field.type] then
        return "unknown type " .. readable.quote(field.type) .. suggest.tail(field.type, TYPES, "types")
    end
    local needed = NEEDED[field.type]
    if needed and field[needed] == nil then
        return "a " .. field.type .. " needs '" .. needed .. "'"
    end
    for _, name in ipairs(readable.sorted_keys(field)) do
        local message = check_attribute(field.type, name, field[name])
        if message then
            return message
        end
    end
    return check_children(field) or check_names(field) or check_default(field)
end

--- What is wrong with a schema: a sentence that begins with the name of the setting; nil when it is fine.
---@param fields any
---@return string|nil message
function declaration.problem(fields)
    if type(fields) ~= "table" then
        return "a schema is a table, found " .. readable.value(fields)
    end
    for _, name in ipairs(readable.sorted_keys(fields)) do
        if type(name) ~= "string" then
            return "names of settings are strings, found " .. readable.value(name)
        end
        local message = check_field(fields[name])
        if message then
            return name .. ": " .. message
        end
    end
    return nil
end

return declaration
