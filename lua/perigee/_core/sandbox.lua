-- SPDX-License-Identifier: MIT
--
-- The environment that configurations and policies run in: the language, without what reaches the machine (io, os, ffi,
-- debug, package, bytecode). It guards against mistakes; it is no wall against hostile code. One per generation.

local ffi = require "ffi"
local async = require "perigee._core.async"
local frozen = require "perigee._core.frozen"

local C = ffi.C
local error, tostring, type, setmetatable = error, tostring, type, setmetatable
local collectgarbage, date, floor, time = collectgarbage, os.date, math.floor, os.time

local sandbox = {}

local FUNCTIONS = {
    "assert", "error", "getmetatable", "ipairs", "next", "pcall", "rawequal", "rawget", "select", "setmetatable",
    "tonumber", "tostring", "type", "unpack", "xpcall",
}

-- Clocks only, and those of the loop, so that a test that drives the loop drives them too.
local clocks = { clock = os.clock, difftime = os.difftime }

function clocks.time(parts)
    return parts and time(parts) or floor(C.peri_ffi_now())
end

function clocks.date(form, at)
    return date(form, at or floor(C.peri_ffi_now()))
end

local function count_garbage(what)
    if what ~= nil and what ~= "count" then
        error("collectgarbage: scripts may only count", 2)
    end
    return collectgarbage "count"
end

local function refuse_global(_, name)
    error("assignment to global '" .. tostring(name) .. "': use local", 2)
end

-- load and loadstring: text only, in the environment.
local function add_loaders(globals, environment)
    function globals.load(chunk, name, _, custom)
        if custom ~= nil and type(custom) ~= "table" then
            error("load: the environment is a table, not a " .. type(custom), 2)
        end
        return load(chunk, name, "t", custom or environment)
    end

    function globals.loadstring(text, name)
        if type(text) ~= "string" then
            error("loadstring expects a string, not a " .. type(text), 2)
        end
        return load(text, name, "t", environment)
    end
end

--- A new environment.
---@param require_module fun(name: string): any
---@return table environment
function sandbox.new(require_module)
    local globals = {
        bit = frozen.copy(bit, "bit"),
        collectgarbage = count_garbage,
        coroutine = frozen.copy(async.coroutine, "coroutine"),
        math = frozen.copy(math, "math"),
        os = frozen.copy(clocks, "os"),
        pairs = frozen.pairs,
        rawset = frozen.rawset,
        require = require_module,
        string = frozen.copy(string, "string"),
        table = frozen.copy(table, "table"),
        _VERSION = _VERSION,
    }
    for i = 1, #FUNCTIONS do
        globals[FUNCTIONS[i]] = _G[FUNCTIONS[i]]
    end
    local environment = setmetatable({}, {
        __index = globals, __newindex = refuse_global, __metatable = "perigee.Environment",
    })
    globals._G = environment
    add_loaders(globals, environment)
    return environment
end

--- The same environment with more names, for one file.
---@param environment table
---@param names table<string, any>
---@return table
function sandbox.extend(environment, names)
    return setmetatable({}, {
        __index = setmetatable(names, { __index = environment }),
        __newindex = refuse_global,
        __metatable = "perigee.Environment",
    })
end

return sandbox
