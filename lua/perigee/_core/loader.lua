-- SPDX-License-Identifier: MIT
--
-- Modules of one generation. `require` finds, in this order: the SDK ("perigee", "perigee.json" …), files below the
-- configuration's directory ("a.b" is a/b.lua or a/b/init.lua), files of policies ("jwt.keys" is policies/jwt/keys.lua), and the
-- shipped policies. Each is evaluated once, in the sandbox.

local frozen = require "perigee._core.frozen"
local native = require "perigee._core.native"
local place = require "perigee._core.place"
local public = require "perigee._core.public"

local error, type, load, setmetatable, ipairs = error, type, load, setmetatable, ipairs

local loader = {}

---@class perigee.Loader
---@field read fun(path: string): string|nil text of a file below the configuration's directory
---@field environment table
---@field loaded table<string, any>
local Loader = {}
Loader.__index = Loader

local LOADING = {}
local views = {} -- of the SDK's modules, by name; the same for all generations

-- View of an SDK module; nil when the name is none that scripts may use.
local function sdk(name)
    if views[name] == nil and public.is_module(name) then
        local perigee, field = require "perigee", name:match("^perigee%.([%w_]+)$")
        views[name] = name == "perigee" and perigee or field and perigee[field] or frozen.copy(require(name), name)
    end
    return views[name]
end

-- Files that may hold a module, in the order of search.
local function candidates(name)
    local path = name:gsub("%.", "/")
    return { path .. ".lua", path .. "/init.lua", "policies/" .. path .. ".lua", "policies/" .. path .. "/init.lua" }
end

-- Text of a file of the configuration, or of the shipped policies.
local function find(self, path)
    local text = self.read(path)
    if text == nil and path:find("^policies/") then
        text = native.embedded(path)
    end
    return text
end

local function evaluate(self, name, path, text)
    local chunk, message = load(text, "@" .. path, "t", self.environment)
    if not chunk then
        error(message:find("^[^:\n]+:%d+: ") and message or path .. ":1: " .. message, 0)
    end
    self.loaded[name] = LOADING
    local ok, value = place.call(chunk, name)
    if not ok then
        self.loaded[name] = nil
        error(value, 0)
    end
    if value == nil then
        value = true
    end
    self.loaded[name] = value
    return value
end

--- Loads a module that is a file; nil when there is no such file.
---@param name string
---@return any value
---@return string|nil path
function Loader:load(name)
    local value = self.loaded[name]
    if value == LOADING then
        error("module '" .. name .. "' is required while it is being loaded", 4)
    elseif value ~= nil then
        return value
    end
    for _, path in ipairs(candidates(name)) do
        local text = find(self, path)
        if text ~= nil then
            return evaluate(self, name, path, text), path
        end
    end
end

--- What scripts get as `require`.
---@param name string
function Loader:require(name)
    if type(name) ~= "string" or not name:find("^[%w_][%w_%-%.]*$") or name:find("%.%.") or name:find("%.$") then
        error("require expects the name of a module such as \"policies.jwt.keys\"", 3)
    end
    if name == "perigee" or name:find("^perigee%.") then
        local module = sdk(name)
        if module == nil then
            error("there is no module '" .. name .. "' for scripts", 3)
        end
        return module
    end
    local value = self:load(name)
    if value == nil then
        error("module '" .. name .. "' not found; looked for " .. table.concat(candidates(name), ", "), 3)
    end
    return value
end

--- The definition of a policy.
---@param name string
---@return any definition nil when there is none
function Loader:policy(name)
    if not name:find("^[%a_][%w_%-]*$") then
        return nil
    end
    local path = "policies/" .. name .. "/init.lua"
    local module = "policies." .. name
    if self.loaded[module] ~= nil then
        return self.loaded[module]
    end
    local text = find(self, path)
    return text and evaluate(self, module, path, text)
end

--- A loader without an environment yet: set `environment` before use.
---@param read fun(path: string): string|nil
---@return perigee.Loader
function loader.new(read)
    return setmetatable({ read = read, loaded = {} }, Loader)
end

return loader
