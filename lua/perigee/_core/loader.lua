-- SPDX-License-Identifier: MIT
--
-- Modules of one generation. `require` finds, in this order: the SDK ("perigee", "perigee.json" …), files below the
-- configuration's directory ("a.b" is a/b.lua or a/b/init.lua), files of policies ("jwt.keys" is policies/jwt/keys.lua), and the
-- shipped policies. Each policy has an environment and modules of its own, as has the configuration: what two of them require is
-- evaluated for each, so that none can change what another runs.

local frozen = require "perigee._core.frozen"
local native = require "perigee._core.native"
local place = require "perigee._core.place"
local public = require "perigee._core.public"
local sandbox = require "perigee._core.sandbox"
local watch = require "perigee._core.watch"

local error, type, setmetatable, ipairs = error, type, setmetatable, ipairs

local loader = {}

---@class perigee.Loader
---@field read fun(path: string): string|nil text of a file below the configuration's directory
---@field scopes table<string, perigee.Scope> by name of the policy; "" for the configuration
local Loader = {}
Loader.__index = Loader

---@class perigee.Scope
---@field read fun(path: string): string|nil
---@field environment table
---@field loaded table<string, any> values of the modules
local Scope = {}
Scope.__index = Scope

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
    local chunk, message = watch.load(text, "@" .. path, self.environment)
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

-- Value of a module that is a file, and its path; nil when there is no such file.
function Scope:load(name)
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

-- What scripts get as `require`.
function Scope:require(name)
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

local function new_scope(read)
    local scope = setmetatable({ read = read, loaded = {} }, Scope)
    scope.environment = sandbox.new(function(name)
        local module = scope:require(name)
        return module
    end)
    return scope
end

-- The scope of a policy, or of the configuration ("").
local function scope_of(self, name)
    self.scopes[name] = self.scopes[name] or new_scope(self.read)
    return self.scopes[name]
end

--- The environment of the configuration.
---@return table
function Loader:environment()
    return scope_of(self, "").environment
end

--- The definition of a policy.
---@param name string
---@return any definition nil when there is none
function Loader:policy(name)
    if not name:find("^[%a_][%w_%-]*$") then
        return nil
    end
    local scope = scope_of(self, name)
    local path = "policies/" .. name .. "/init.lua"
    local module = "policies." .. name
    if scope.loaded[module] ~= nil then
        return scope.loaded[module]
    end
    local text = find(scope, path)
    return text and evaluate(scope, module, path, text)
end

--- A loader without modules.
---@param read fun(path: string): string|nil
---@return perigee.Loader
function loader.new(read)
    return setmetatable({ read = read, scopes = {} }, Loader)
end

return loader
