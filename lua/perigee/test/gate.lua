-- SPDX-License-Identifier: MIT
--
-- Runs the specs of a configuration before it may serve (reload.test): as `perigee test` does, with two differences. Every file
-- is read through the runtime, which remembers the bytes: what was tested is what is loaded. And what happens is told to the
-- runtime, not to a terminal.

local project = require "perigee.test.project"
local runner = require "perigee.test.runner"
local testing = require "perigee._core.testing"

local MESSAGE_MAX = 500

-- The path as the runtime knows it: below the folder of the configuration, without "./".
local function plain(path)
    return (path:gsub("^%./+", ""):gsub("/%./", "/"))
end

local function read(path)
    return testing.gate_read(plain(path))
end

-- In the place of loadfile: busted loads spec files by it.
local function load_file(path, mode, environment)
    local text = path and read(path)
    if not text then
        return nil, "cannot open " .. tostring(path)
    end
    return load(text, "@" .. plain(path), mode or "t", environment or getfenv(2))
end

-- Finds helper modules of specs beside the configuration.
local function search(name)
    local path = name:gsub("%.", "/")
    for _, candidate in ipairs { path .. ".lua", path .. "/init.lua" } do
        local text = read(candidate)
        if text then
            return assert(load(text, "@" .. candidate, "t"))
        end
    end
    return "\n\tno file '" .. path .. ".lua' beside the configuration"
end

-- Files come from the runtime only. What LuaJIT would find in the current folder is what `search` finds.
local function read_through_runtime()
    project._read = read
    rawset(_G, "loadfile", load_file)
    rawset(_G, "dofile", function(path) return assert(load_file(path))() end)
    package.path = package.path:gsub("%f[^%z;]%./[^;]*;?", "")
    table.insert(package.loaders, search)
end

-- ---------------------------------------------------------------- what is told

local function first_words(message)
    local text = type(message) == "string" and message or "the error is a " .. type(message) .. ", not a message"
    text = text:gsub("%s*\n%s*", " "):gsub("^[^:\n]+:%d+: ", "")
    return #text > MESSAGE_MAX and text:sub(1, MESSAGE_MAX) .. "…" or text
end

-- File and line of a trace of busted's, unless it is the kit's own; then those that the message begins with.
local function place(trace, message)
    local file = trace and trace.short_src and plain(trace.short_src)
    if file and trace.currentline and trace.currentline > 0 and not file:find("^lua/perigee/") then
        return file, trace.currentline
    end
    local from, line = tostring(message):match("^([^:\n]+):(%d+): ")
    return from or file or "", tonumber(line) or 0
end

-- Where a problem is: where the spec failed, or where it stands.
local function place_of_problem(problem)
    local file, line = place(problem.trace, problem.message)
    if line == 0 or file:find("^lua/perigee/") then
        return place(problem.element.trace, problem.message)
    end
    return file, line
end

local function tell_problem(problem)
    local file, line = place_of_problem(problem)
    local what = problem.element.descriptor == "file" and "the spec cannot be loaded"
        or "the spec '" .. problem.name .. "' fails"
    testing.gate_failed(file, line, what .. ": " .. first_words(problem.message))
end

-- busted's output.
local function output()
    local busted = require "busted"
    local handler = require "busted.outputHandlers.base"()
    busted.subscribe({ "test", "start" }, function(element)
        local file, line = place(element.trace, "")
        testing.gate_running(file, line, handler.getFullName(element))
        return nil, true
    end)
    busted.subscribe({ "suite", "end" }, function()
        for _, list in ipairs { handler.failures, handler.errors } do
            for _, problem in ipairs(list) do
                tell_problem(problem)
            end
        end
        local count = handler.successesCount + handler.failuresCount + handler.errorsCount + handler.pendingsCount
        testing.gate_ended(count)
        return nil, true
    end)
    return handler
end

--- Runs the specs.
---@param files string[] relative to the folder of the configuration, which is the current one
---@return integer status as of `perigee test`
return function(files)
    read_through_runtime()
    package.loaded["busted.outputHandlers.perigee_gate"] = output
    local arguments = { "-o", "perigee_gate" }
    for _, file in ipairs(files) do
        arguments[#arguments + 1] = file
    end
    return runner(arguments)
end
