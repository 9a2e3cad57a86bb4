-- SPDX-License-Identifier: MIT
--
-- The Lua half of a generation: its modules, policy instances and compiled chains. The runtime calls `build` (beside the
-- running generation; nothing takes effect), `start` (init of each instance) and `close`.

local ffi = require "ffi"
local chain = require "perigee._core.chain"
local config = require "perigee._core.config"
local connect = require "perigee._core.connect"
local current = require "perigee._core.current"
local json = require "perigee.json"
local loader = require "perigee._core.loader"
local locate = require "perigee._core.locate"
local native = require "perigee._core.native"
local place = require "perigee._core.place"
local reply = require "perigee.reply"
local sandbox = require "perigee._core.sandbox"
local slot = require "perigee._core.slot"
local state = require "perigee._core.state"
local watch = require "perigee._core.watch"

local generation = {}

---@class perigee.Generation
---@field number integer
---@field entries table<integer, function>[] functions by number of phase, for each route
---@field connects function[] of the tcp listeners that have policies
---@field metrics integer[] rows of the policies on the routes
---@field instances { use: perigee.Use, keys: string[] }[]

-- ---------------------------------------------------------------- files and variables

local function reader(build)
    return function(path)
        local text = build.read(path, true)
        if text == nil then
            return nil, "there is no file '" .. path .. "'"
        end
        build.secrets[text] = true
        return text
    end
end

-- A handler of the file keeps these functions; requests must not reach files and variables through it.
local function check_open(build, what)
    if build.is_over then
        error(what .. " can be called only while the configuration is loaded", 3)
    end
end

-- What only the configuration file gets.
local function configuration_names(build)
    local function file(path)
        check_open(build, "file")
        if type(path) ~= "string" then
            error("file expects a path, not a " .. type(path), 2)
        end
        local text, message = build.read_file(path)
        return text or error(message, 2)
    end
    local function env(name)
        check_open(build, "env")
        if type(name) ~= "string" then
            error("env expects the name of a variable, not a " .. type(name), 2)
        end
        return build.env(name)
    end
    return { env = env, file = file, reply = reply.new }
end

local function env_reader(build)
    return function(name)
        local value = os.getenv(name)
        if value then
            build.secrets[value] = true
        end
        return value
    end
end

-- Names of the policies beside the configuration, as far as the source can tell, and of the shipped ones.
local function policy_names(build)
    local names = {}
    for name in (build.list and build.list "policies" or ""):gmatch("[^\n]+") do
        names[#names + 1] = name
    end
    for _, path in ipairs(native.list("policies/")) do
        names[#names + 1] = path:match("^policies/([^/]+)/init%.lua$")
    end
    return names
end

-- ---------------------------------------------------------------- evaluation

local function policy_loader(build)
    return function(name)
        local ok, definition = place.run(build.loader.policy, build.loader, name)
        if ok then
            return definition
        end
        local err = place.parse(definition)
        err.file = err.file or "policies/" .. name .. "/init.lua"
        return nil, err
    end
end

local function evaluate_lua(build, text)
    local environment = sandbox.extend(build.loader:environment(), configuration_names(build))
    local chunk, message = watch.load(text, "@" .. build.entry, environment)
    if not chunk then
        return false, message
    end
    return place.run(chunk)
end

local function evaluate_json(build, text)
    local value, message = json.decode(text)
    if value == nil then
        local line = message:match("^line (%d+): ")
        return false, line and build.entry .. ":" .. line .. ": " .. message:gsub("^line %d+: ", "") or message
    end
    return true, value
end

local function refuse(build, message)
    local err = place.parse(message)
    err.file, err.path = err.file or build.entry, ""
    return nil, { err }
end

-- The compiled configuration, or nil and errors.
local function compile(build)
    local text = build.read(build.entry)
    if text == nil then
        return refuse(build, "there is no file '" .. build.entry .. "'")
    end
    local evaluate = build.entry:find("%.json$") and evaluate_json or evaluate_lua
    local ok, value = evaluate(build, text)
    if ok and build.adapt then
        ok, value = place.run(build.adapt, value)
    end
    if not ok then
        return refuse(build, value)
    end
    local result, errors = config.compile(value, {
        file = build.entry,
        text = text,
        load_policy = policy_loader(build),
        role = native.role,
        secrets = build.secrets,
        policy_names = policy_names(build),
        read_file = build.read_file,
        env = build.env,
        null = json.null,
    })
    if #errors > 0 then
        return nil, errors
    end
    return result
end

local function compile_chains(this, build, result)
    local cache = {}
    for i, described in ipairs(result.chains) do
        local captures = result.normalized.routes[i].captures
        local entries, message = chain.compile(described, captures, this, cache)
        if not entries then
            return { { file = build.entry, path = "routes[" .. i .. "].policies", message = message } }
        end
        this.entries[i] = entries
    end
end

local function compile_connects(this, result)
    for i, described in ipairs(result.connects) do
        this.connects[i] = connect.compile(described, this)
    end
end

local function all_chains(result)
    local list = {}
    for _, chains in ipairs { result.chains, result.connects } do
        for _, described in ipairs(chains) do
            list[#list + 1] = described
        end
    end
    return list
end

local function new_build(entry, read, list, adapt)
    local build = { entry = entry, read = read, list = list, adapt = adapt, secrets = {}, loader = loader.new(read) }
    build.read_file, build.env = reader(build), env_reader(build)
    return build
end

--- Set by the test kit for the next build: `read` takes the place of the runtime's, and `adapt` gets the value of the file and
--- gives the one to use.
---@type { read: (fun(path: string): string|nil), adapt: fun(value: any): any }|nil
generation.override = nil

--- Builds a generation.
---@param number integer
---@param entry string file of the configuration
---@param read fun(path: string, is_secret: boolean|nil): string|nil its files
---@param list fun(path: string): string|nil names of the folders in a folder, one per line
---@return perigee.Generation|nil
---@return string json normalised configuration, or the errors
function generation.build(number, entry, read, list)
    current.policy = false
    local override = generation.override or {}
    generation.override = nil
    local build = new_build(entry, override.read or read, list, override.adapt)
    local result, errors = compile(build)
    build.is_over = true
    local this = { number = number, entries = {}, connects = {}, metrics = {} }
    errors = errors or compile_chains(this, build, result)
    if errors then
        return nil, assert(json.encode(json.array(errors)))
    end
    compile_connects(this, result)
    this.instances = state.instances(all_chains(result))
    local normalized, problem = json.encode(result.normalized)
    if not normalized then -- a text that is not UTF-8
        local message = "the configuration cannot be written as JSON: " .. problem
        return nil, assert(json.encode(json.array { { file = build.entry, path = "", message = message } }))
    end
    return this, normalized
end

-- The parts of a path such as routes[2].match.
local function segments_of(path)
    local segments = {}
    for part in path:gmatch("[^.%[%]]+") do
        segments[#segments + 1] = tonumber(part) or part
    end
    return segments
end

--- Errors that C found in a normalised configuration, with the lines of the settings that they name.
---@param errors string JSON
---@param entry string file of the configuration
---@param text string its text
---@return string json
function generation.locate(errors, entry, text)
    local list = assert(json.decode(errors))
    local locator = locate.new(text, entry:find("%.json$") ~= nil)
    for _, err in ipairs(list) do
        if err.path and err.path ~= "" and not err.file then
            err.file, err.line = entry, locator:line(segments_of(err.path))
        end
    end
    return assert(json.encode(json.array(list)))
end

-- ---------------------------------------------------------------- life cycle

local function call_instance(entry, what, call, ...)
    current.policy, current.task_budget = entry.use.name, entry.use.budget
    local ok, message = place.run(call, ...)
    current.policy, current.task_budget = false, false
    if ok then
        return nil
    end
    local err = place.parse(message)
    err.path, err.message = "", what .. " of policy '" .. entry.use.name .. "' failed: " .. err.message
    return err
end

local function init(instance)
    local problem, message = instance:init()
    if problem == nil and message ~= nil then
        error(tostring(message), 0)
    end
end

local function start_instance(entry, by_key, errors)
    local old = by_key and state.find(by_key, entry)
    local err = old and call_instance(entry, "the state", state.hand_over, old, entry)
    if not err and entry.use.instance.init then
        err = call_instance(entry, "init()", init, entry.use.instance)
    end
    errors[#errors + 1] = err
end

--- Hands over the state of the previous generation and runs init().
---@param this perigee.Generation
---@param previous perigee.Generation|nil
---@return string|nil errors as JSON
function generation.start(this, previous)
    local errors, by_key = {}, previous and state.index(previous.instances)
    for _, entry in ipairs(this.instances) do
        start_instance(entry, by_key, errors)
    end
    if #errors > 0 then
        return assert(json.encode(json.array(errors)))
    end
    for _, metric in ipairs(previous and {} or this.metrics) do -- what the process left that this one replaces
        ffi.C.peri_ffi_policy_quarantine(metric, 0)
    end
end

--- Runs close() and lets go of everything.
---@param this perigee.Generation
---@param is_started boolean
function generation.close(this, is_started)
    for _, entry in ipairs(is_started and this.instances or {}) do
        local instance = entry.use.instance
        local err = instance.close and call_instance(entry, "close()", instance.close, instance)
        if err then
            ffi.C.peri_ffi_log(2, err.message, #err.message)
        end
    end
    slot.forget(this)
end

return generation
