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

-- ---------------------------------------------------------------- what busted tells while it runs

local state = { has_begun = false, exit = PASSED, report = nil }

-- Called with busted's core when everything is loaded and nothing has run.
local function prepare(busted)
    local kit = require "perigee.test"
    local names = require "perigee.test._core.report"
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
    busted.api.after_each(kit._end_test)
    local hooks = busted.context.get().after_each
    local finish = hooks[#hooks]
    busted.subscribe({ "test", "start" }, function(element)
        local name = names.full_name(busted, element)
        finish.name, finish.trace = "after '" .. name .. "'", element.trace -- what the test leaves behind is told under this
        kit._begin_test(name, element.trace.short_src .. ":" .. element.trace.currentline)
        return nil, true
    end)
    busted.subscribe({ "test", "end" }, function(_, _, status)
        kit._note_status(status)
        return nil, true
    end)
    kit._begin(function() return busted.context.get().descriptor end)
end

-- busted.runner asks for this module last before it runs the tests.
local function hook_execution()
    local execute = require "busted.execute"
    package.loaded["busted.execute"] = function(busted)
        prepare(busted)
        return execute(busted)
    end
end

-- And for this one before it loads the spec files: what is wrong in them is part of the report.
local function hook_report(line)
    local load_output = require "busted.modules.output_handler_loader"()
    local function begin(busted, ...)
        state.report = require("perigee.test._core.report").new(busted)
        if line.tap then
            require("perigee.test._core.tap").begin(state.report)
        end
        return load_output(busted, ...)
    end
    package.loaded["busted.modules.output_handler_loader"] = function() return begin end
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

-- ---------------------------------------------------------------- reports

local function complain(...)
    io.stderr:write("perigee: ", ...)
    io.stderr:write "\n"
end

-- Opens the files to be written, before anything is run; nil when one cannot be.
local function open_outputs(line)
    local outputs = {}
    for _, name in ipairs { "junit", "lcov" } do
        local file, message
        if line[name] then
            file, message = io.open(line[name], "wb")
            if not file then
                complain("the file of --", name, " cannot be written: ", message)
                return nil
            end
        end
        outputs[name] = file
    end
    return outputs
end

-- Writes a file that is open, and closes it. Returns the status.
local function write_output(file, text)
    local ok, message = file:write(text)
    local is_closed, close_message = file:close()
    if ok and is_closed then
        return PASSED
    end
    complain("a report cannot be written: ", message or close_message)
    return FAILED
end

local function report_coverage(line, outputs)
    local coverage_report = require "perigee.test._core.coverage_report"
    local results = require("perigee.test._core.coverage").finish()
    local prefix = line.tap and "# " or ""
    for i, text in ipairs(coverage_report.summary(results)) do
        io.write((i == 1 and not line.tap) and "\n" or "", prefix, text, "\n")
    end
    local status = outputs.lcov and write_output(outputs.lcov, coverage_report.lcov(results)) or PASSED
    local total = coverage_report.total(results)
    if line.min and (total or 0) < line.min then
        io.stdout:flush()
        complain(total and ("%.1f%% of the lines are covered"):format(total) or "nothing is covered",
            (", less than --min %g%%"):format(line.min))
        return FAILED
    end
    return status
end

-- What became of the run, given what busted says of it.
local function finish_report(line, outputs, status)
    local report = state.report
    if not report then
        return status
    end
    report:finish()
    if outputs.junit then
        status = math.max(status, write_output(outputs.junit, require("perigee.test._core.junit").format(report)))
    end
    if line.coverage then
        status = math.max(status, report_coverage(line, outputs))
    end
    if report.test_count > 0 or line.list or report:has_files() then
        return status
    end
    io.stdout:flush()
    complain "there is no such test"
    return USAGE
end

-- ---------------------------------------------------------------- the run

local function run(line)
    local outputs = open_outputs(line)
    if not outputs then
        return USAGE
    end
    hook_execution()
    hook_report(line)
    line.rest[0] = "perigee test"
    rawset(_G, "arg", line.rest)
    if line.coverage then
        require("perigee.test._core.coverage").begin()
    end
    local status = run_busted()
    require("perigee.test")._end()
    status = finish_report(line, outputs, status)
    io.stdout:flush()
    return status
end

--- Runs the specs.
---@param arguments string[] paths, options of the kit, and options of busted
---@return integer status 0 passed, 1 failed, 2 nothing was run
return function(arguments)
    local line, message = require("perigee.test._core.options").parse(arguments)
    if not line then
        complain(message)
        io.stderr:write "Run 'perigee test --help' for what it takes.\n"
        return USAGE
    end
    extend_paths()
    if not has_busted() then
        return USAGE
    end
    load_sdk()
    return run(line)
end
