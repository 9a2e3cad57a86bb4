-- SPDX-License-Identifier: MIT
--
-- The environment that configurations and policies run in: the language, without what reaches the machine (io, os, ffi,
-- debug, package, bytecode). It guards against mistakes; it is no wall against hostile code. One per generation.

local ffi = require "ffi"
local async = require "perigee._core.async"
local bounded = require "perigee._core.bounded"
local frozen = require "perigee._core.frozen"
local watch = require "perigee._core.watch"

local C = ffi.C
local error, tostring, type, setmetatable = error, tostring, type, setmetatable
local collectgarbage, concat, date, floor, time = collectgarbage, table.concat, os.date, math.floor, os.time

local CHUNK_MAX = 16 * 1024 -- bytes of a chunk: long jumps make its compilation cost the square of them
local TOO_LARGE = "the chunk has more than 16 KiB"
local FORM_MAX = 1024 -- bytes of a form of os.date

local sandbox = {}

local FUNCTIONS = {
    "assert", "error", "getmetatable", "ipairs", "next", "pcall", "rawequal", "rawget", "select", "setmetatable",
    "tonumber", "tostring", "type", "unpack",
}

-- Clocks only, and those of the loop, so that a test that drives the loop drives them too.
local clocks = { difftime = os.difftime }

function clocks.clock()
    return os.clock() -- looked up at each call: `perigee test` puts its own in the place
end

function clocks.time(parts)
    return parts and time(parts) or floor(C.peri_ffi_now())
end

function clocks.date(form, at)
    if type(form) == "string" and #form > FORM_MAX then
        error("os.date: the form has more than 1 KiB", 2)
    end
    return date(form, at or floor(C.peri_ffi_now()))
end

local function count_garbage(what)
    if what ~= nil and what ~= "count" then
        error("collectgarbage: scripts may only count", 2)
    end
    return collectgarbage "count"
end

-- The generator of random numbers is one for all policies.
local function refuse_seed()
    error("math.randomseed: the runtime has seeded it", 2)
end

local function copy(library)
    local names = {}
    for name, value in pairs(library) do
        names[name] = value
    end
    return names
end

local numbers = copy(math)
numbers.randomseed = refuse_seed

-- The same for every environment: nothing in them can be changed.
local libraries = {
    bit = frozen.copy(bit, "bit"),
    coroutine = frozen.copy(async.coroutine, "coroutine"),
    math = frozen.copy(numbers, "math"),
    os = frozen.copy(clocks, "os"),
    string = frozen.copy(bounded.string, "string"),
    table = frozen.copy(bounded.table, "table"),
}

local function refuse_global(_, name)
    error("assignment to global '" .. tostring(name) .. "': use local", 2)
end

-- Text of a chunk: what `load` is given, or the pieces that its function returns; nil and a message when it is none.
local function text_of(chunk)
    if type(chunk) ~= "function" then
        return chunk
    end
    local pieces, size = {}, 0
    while true do
        local piece = chunk()
        if piece == nil or piece == "" then
            return concat(pieces)
        elseif type(piece) ~= "string" then
            return nil, "reader function must return a string"
        end
        pieces[#pieces + 1], size = piece, size + #piece
        if size > CHUNK_MAX then
            return nil, TOO_LARGE
        end
    end
end

local function handled(handler, ok, ...)
    if ok then
        return true, ...
    end
    return false, select(2, pcall(handler, (...)))
end

-- The handler runs after the stack was unwound: in the real one the CPU budget is not watched.
local function protected_call(f, handler, ...)
    return handled(handler, pcall(f, ...))
end

-- load and loadstring: text only, of bounded size (it is compiled in one go), in the environment.
local function add_loaders(globals, environment)
    function globals.load(chunk, name, _, custom)
        if custom ~= nil and type(custom) ~= "table" then
            error("load: the environment is a table, not a " .. type(custom), 2)
        end
        local text, message = text_of(chunk)
        if message then
            return nil, message
        elseif type(text) ~= "string" then
            error("load expects a string or a function, not a " .. type(text), 2)
        elseif #text > CHUNK_MAX then
            return nil, TOO_LARGE
        end
        return watch.load(text, name, custom or environment)
    end

    function globals.loadstring(text, name)
        if type(text) ~= "string" then
            error("loadstring expects a string, not a " .. type(text), 2)
        end
        return globals.load(text, name)
    end
end

--- A new environment.
---@param require_module fun(name: string): any
---@return table environment
function sandbox.new(require_module)
    local globals = {
        collectgarbage = count_garbage,
        pairs = frozen.pairs,
        rawset = frozen.rawset,
        require = require_module,
        xpcall = protected_call,
        _VERSION = _VERSION,
    }
    for name, library in pairs(libraries) do
        globals[name] = library
    end
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
