-- SPDX-License-Identifier: MIT
--
-- Prints the editor stub of a configuration: a class for each table in it, made from the schema in
-- lua/perigee/_core/settings.lua, and the functions that the file gets.
--
-- usage: lua5.1 tools/gen_config_stub.lua       (from anywhere; LuaJIT will do too)

local top = arg[0]:match("^(.*)/tools/[^/]*$") or "."
package.path = top .. "/lua/?.lua;" .. package.path

local contract = require "perigee._core.contract"
local readable = require "perigee._core.readable"
local settings = require "perigee._core.settings"

local HEAD = [=[
---@meta
-- Made by tools/gen_config_stub.lua from lua/perigee/_core/settings.lua. Editors read it; it is never run.
--
-- The table that a configuration returns:
--
--     ---@type perigee.Config
--     local config = { … }
--     return config
]=]

local FUNCTIONS = [=[

--- The value of an environment variable, in configurations only. It is never shown.
---@param name string
---@return string|nil
function env(name) end

--- The text of a file, in configurations only. It is never shown.
---@param path string absolute, or relative to the configuration
---@return string
function file(path) end

--- As perigee.reply.
---@param status integer 200 to 599
---@param body? string|table
---@param headers? table<string, string|number|(string|number)[]>
---@return perigee.Reply
function reply(status, body, headers) end
]=]

local SCALARS = {
    string = "string", number = "number", integer = "integer", boolean = "boolean", any = "any",
    duration = "string|number", size = "string|integer", ["function"] = "fun(req: perigee.Request): any",
}

-- Names where the path of the setting would be a bad one.
local NAMES = {
    listeners = "Listener", upstreams = "Upstream", routes = "Route", endpoints = "Endpoint",
}

local classes = {}

local function as_field(field)
    return type(field) == "string" and { type = field } or field
end

local function class_name(owner, name)
    local last = NAMES[name] or name:gsub("^%l", string.upper):gsub("_(%l)", string.upper)
    return owner == "perigee.Config" and "perigee." .. last or owner .. "." .. last
end

local add_class

local function enclose(text)
    return text:find("[|(]") and "(" .. text .. ")" or text
end

-- The result of a function would take in what follows it.
local function alternative_of(text)
    return text:find("^fun%(") and "(" .. text .. ")" or text
end

local function type_of(field, owner, name)
    field = as_field(field)
    if field.enum and not (field.type == "list" or field.type == "set") then
        local values = {}
        for i, value in ipairs(field.enum) do
            values[i] = type(value) == "string" and '"' .. value .. '"' or tostring(value)
        end
        return table.concat(values, "|")
    elseif field.type == "one_of" then
        local kinds = {}
        for i, alternative in ipairs(field.of) do
            kinds[i] = alternative_of(type_of(alternative, owner, name))
        end
        return table.concat(kinds, "|")
    elseif field.type == "list" or field.type == "set" then
        return enclose(type_of(field.items, owner, name)) .. "[]"
    elseif field.type == "map" then
        return "table<string, " .. type_of(field.values, owner, name) .. ">"
    elseif field.type == "table" and field.fields then
        local class = add_class(class_name(owner, name), field.fields)
        return field.short and class .. "|" .. type_of(field.fields[field.short], class, field.short) or class
    end
    return SCALARS[field.type] or "table"
end

-- Adds the class, and those of the tables in it; its name.
function add_class(class, fields)
    local lines = { "---@class " .. class }
    if classes[class] then
        return class
    end
    classes[class], classes[#classes + 1] = lines, lines
    for _, name in ipairs(readable.sorted_keys(fields)) do
        local field = as_field(fields[name])
        if not field.unsupported then
            local kind = (name == "policies" and "(string|perigee.Use)[]") or type_of(field, class, name)
            lines[#lines + 1] = ("---@field %s%s %s %s"):format(
                name, field.required and "" or "?", kind, field.doc or ""):gsub("%s+$", "")
        end
    end
    return class
end

add_class("perigee.Config", settings.fields "gateway")
add_class("perigee.FixedReply", settings.reply)
add_class("perigee.Use", contract.use_settings)
table.insert(classes["perigee.Use"], 2, "---@field [1] string name of the policy; its own settings stand beside it")

io.write(HEAD)
for _, lines in ipairs(classes) do
    io.write("\n", table.concat(lines, "\n"), "\n")
end
io.write(FUNCTIONS)
