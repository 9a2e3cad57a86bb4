-- SPDX-License-Identifier: MIT
--
-- Runs busted for `perigee test`, in the VM that the policies under test run in: a fake upstream is a closure of the spec.
-- Specs are not sandboxed; the policies that they test are.

local native = require "perigee._core.native"

local PASSED, FAILED, USAGE = 0, 1, 2

-- Where Debian's Lua 5.1 modules are; what LuaJIT itself looks for comes first.
local PATHS = {
    path = { "/usr/local/share/lua/5.1/?.lua", "/usr/local/share/lua/5.1/?/init.lua", "/usr/share/lua/5.1/?.lua",
        "/usr/share/lua/5.1/?/init.lua" },
    cpath = { "/usr/local/lib/lua/5.1/?.so", "/usr/lib/x86_64-linux-gnu/lua/5.1/?.so",
        "/usr/lib/aarch64-linux-gnu/lua/5.1/?.so" },
}

local function extend_paths()
    for field, templates in pairs(PATHS) do
        for _, template in ipairs(templates) do
            if not (";" .. package[field] .. ";"):find(";" .. template .. ";", 1, true) then
                package[field] = package[field] .. ";" .. template
            end
        end
    end
end

-- busted gives every file a fresh package.loaded: what is loaded before stays. The SDK must exist once.
local function load_sdk()
    for _, path in ipairs(native.list("lua/perigee/")) do
        local name = path:match("^lua/(.*)%.lua$"):gsub("/init$", ""):gsub("/", ".")
        if name ~= "perigee.test.runner" then
            require(name)
        end
    end
end

local function has_busted()
    local ok, message = pcall(require, "busted.runner")
    if ok then
        return true
    end
    local is_absent = tostring(message):find("module 'busted.runner' not found", 1, true)
    io.stderr:write("perigee: 'perigee test' needs busted", is_absent and "" or ", which does not load: " .. message,
        "\nInstall it: apt-get install lua-busted\n")
    return false
end

-- What busted tells while it runs.
local state = { has_begun = false, exit = PASSED }

-- Names of a test and the blocks around it.
local function full_name(busted, element)
    local names = {}
    while element and element.descriptor ~= "file" do
        table.insert(names, 1, element.name)
        element = busted.context.parent(element)
    end
    return table.concat(names, " ")
end

-- Called with busted's core when everything is loaded and nothing has run.
local function prepare(busted)
    local kit = require "perigee.test"
    busted.subscribe({ "suite", "start" }, function()
        state.has_begun = true
        return nil, true
    end)
    busted.subscribe({ "file", "start" }, function(file)
        kit._begin_file(file.name)
        return nil, true
    end)
    busted.subscribe({ "file", "end" }, function()
        kit._end_file()
        return nil, true
    end)
    busted.subscribe({ "test", "start" }, function(element)
        kit._begin_test(full_name(busted, element))
        return nil, true
    end)
    busted.subscribe({ "test", "end" }, function(_, _, status)
        kit._note_status(status)
        return nil, true
    end)
    busted.api.after_each(kit._end_test)
    kit._begin()
end

-- busted.runner asks for this module last before it runs the tests.
local function hook_execution()
    local execute = require "busted.execute"
    package.loaded["busted.execute"] = function(busted)
        prepare(busted)
        return execute(busted)
    end
end

-- os.exit would take the process down with everything open.
local EXIT = {}

local function exit(code)
    state.exit = (code == true or code == nil or code == 0) and PASSED or FAILED
    error(EXIT)
end

-- The chunk's name is what busted calls itself in messages; the call must not be a tail call, or it sees another name.
local START = load([[local run = ... ; run { standalone = false } ; return true]], "@perigee test")

local function run_busted()
    local real_exit = os.exit
    rawset(os, "exit", exit)
    local ok, message = xpcall(START, function(err)
        return type(err) == "string" and debug.traceback(err, 2) or err
    end, require "busted.runner")
    rawset(os, "exit", real_exit)
    if ok or (message == EXIT and state.exit == PASSED) then
        return PASSED
    elseif type(message) == "string" then
        io.stderr:write("perigee test: ", message, "\n")
    end
    return state.has_begun and FAILED or USAGE
end

--- Runs the specs.
---@param arguments string[] paths, and options of busted
---@return integer status 0 passed, 1 failed, 2 nothing was run
return function(arguments)
    extend_paths()
    if not has_busted() then
        return USAGE
    end
    load_sdk()
    hook_execution()
    arguments[0] = "perigee test"
    rawset(_G, "arg", arguments)
    local status = run_busted()
    require("perigee.test")._end()
    io.stdout:flush()
    return status
end
