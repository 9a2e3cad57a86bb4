-- SPDX-License-Identifier: MIT
--
-- Prints name, stage and settings of one policy as JSON. The policy is loaded, never run: `require` gives it a stand-in
-- for the SDK, and for what only LuaJIT has, that accepts any use at load time.
--
-- usage: lua5.1 tools/policy_schema.lua policies/NAME/init.lua

local path = assert(arg[1], "usage: policy_schema.lua FILE")

local declared
local stub = {}
setmetatable(stub, {
    __index = function() return stub end,
    __call = function() return stub end,
    __concat = function() return "" end,
})

local perigee = setmetatable({
    policy = function(definition)
        declared = definition
        return setmetatable({}, { __index = definition })
    end,
}, { __index = function() return stub end })

local function quote(text)
    return '"' .. tostring(text):gsub('[%c"\\]', function(char)
        return string.format("\\u%04x", char:byte())
    end) .. '"'
end

local function object(pairs_of)
    local members = {}
    for _, member in ipairs(pairs_of) do
        if member[2] then members[#members + 1] = quote(member[1]) .. ":" .. member[2] end
    end
    return "{" .. table.concat(members, ",") .. "}"
end

local function sorted_names(fields)
    local names = {}
    for name in pairs(fields) do names[#names + 1] = name end
    table.sort(names)
    return names
end

--- A value as the reader would write it in a configuration.
local function written(value)
    if type(value) == "string" then return '"' .. value .. '"' end
    if type(value) ~= "table" then return tostring(value) end
    local parts = {}
    for _, entry in ipairs(value) do parts[#parts + 1] = written(entry) end
    for _, name in ipairs(sorted_names(value)) do
        if type(name) == "string" then parts[#parts + 1] = name .. " = " .. written(value[name]) end
    end
    return #parts == 0 and "{}" or "{ " .. table.concat(parts, ", ") .. " }"
end

--- The type of a field in the words of lua/perigee/_core/schema.lua.
local function type_name(field)
    if type(field) == "string" then return field end
    if field.type == "one_of" then
        local kinds = {}
        for i, kind in ipairs(field.of) do kinds[i] = type_name(kind) end
        return table.concat(kinds, " or ")
    end
    local element = field.values or field.items
    return element and field.type .. " of " .. type_name(element) or field.type
end

local settings

local function setting(name, field)
    if type(field) == "string" then field = { type = field } end
    local element = field.items or field.values
    local nested = field.fields or type(element) == "table" and element.fields
    return object {
        { "name", quote(name) },
        { "type", quote(type_name(field)) },
        { "allowed", field.enum and quote(table.concat(field.enum, ", ")) },
        { "required", field.required and "true" },
        { "secret", field.secret and "true" },
        { "default", field.default ~= nil and quote(written(field.default)) },
        { "doc", field.doc and quote(field.doc) },
        { "fields", nested and settings(nested) or nil },
    }
end

function settings(fields)
    local list = {}
    for _, name in ipairs(sorted_names(fields)) do list[#list + 1] = setting(name, fields[name]) end
    return "[" .. table.concat(list, ",") .. "]"
end

local chunk = assert(loadfile(path))
local environment = setmetatable({ bit = rawget(_G, "bit") or stub }, { __index = _G })

--- Parts of a schema may come from what policies share.
function environment.require(name)
    local shared = name:match("^perigee%.algo%.[%w_]+$")
    local module = shared and loadfile("lua/" .. shared:gsub("%.", "/") .. ".lua")
    return name == "perigee" and perigee or module and setfenv(module, environment)() or stub
end

setfenv(chunk, environment)()
assert(declared, path .. ": does not call perigee.policy")
print(object {
    { "name", quote(declared.name) },
    { "stage", quote(declared.stage or "transform") },
    { "settings", settings(declared.schema or {}) },
})
