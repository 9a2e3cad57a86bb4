-- SPDX-License-Identifier: MIT
--
-- `perigee replay`: its arguments, its messages and its exit status.

local gateway = require "perigee.test.gateway"
local recording = require "perigee.test.replay.recording"
local report = require "perigee.test.replay.report"
local run = require "perigee.test.replay.run"

local SAME, CHANGED, UNUSABLE = 0, 1, 2
local BAD_SHOWN = 10

-- ---------------------------------------------------------------- arguments

local FLAGS = { ["--json"] = "json", ["--only-changed"] = "only_changed", ["--skip-bad"] = "skip_bad" }
local VALUES = {
    ["--config"] = "config", ["--against"] = "against", ["--examples"] = "examples", ["--ignore"] = "ignore",
}

local function take_value(options, name, value)
    if name == "--ignore" then
        options.ignore[#options.ignore + 1] = value
    elseif name == "--examples" then
        options.examples = value:find("^%d+$") and tonumber(value)
        return options.examples ~= nil and options.examples ~= false
    else
        options[VALUES[name]] = value
    end
    return value ~= ""
end

-- The options, or nil and what is wrong.
local function parse(arguments)
    local options, at = { ignore = {}, examples = 5 }, 1
    while arguments[at] do
        local word = arguments[at]
        local name, value = word:match("^(%-%-[%l-]+)=(.*)$")
        if FLAGS[word] then
            options[FLAGS[word]] = true
        elseif VALUES[name or word] then
            if not name then
                name, value, at = word, arguments[at + 1], at + 1
            end
            if not value then
                return nil, name .. " needs a value"
            elseif not take_value(options, name, value) then
                return nil, name .. " does not take '" .. value .. "'"
            end
        elseif word:sub(1, 1) == "-" then
            return nil, "there is no option '" .. word .. "'"
        elseif options.file then
            return nil, "'" .. word .. "' is one file too many"
        else
            options.file = word
        end
        at = at + 1
    end
    if not options.file then
        return nil, "which recording? Name its file"
    elseif not options.config then
        return nil, "which configuration? Name it with --config"
    end
    return options
end

-- ---------------------------------------------------------------- input

local function complain(...)
    io.stderr:write("perigee: ", table.concat({ ... }), "\n")
    return nil
end

local function read_file(path)
    local file, message = io.open(path, "rb")
    local content = file and file:read("*a")
    if file then
        file:close()
    end
    if not content then
        return complain("cannot read ", message or path .. ": it is no file")
    end
    return content
end

local function show_bad(path, bad)
    for i = 1, math.min(#bad, BAD_SHOWN) do
        io.stderr:write(path, ":", bad[i].line, ": ", bad[i].message, "\n")
    end
    if #bad > BAD_SHOWN then
        io.stderr:write("… ", #bad - BAD_SHOWN, " more\n")
    end
end

local function load_recording(options)
    local content = read_file(options.file)
    local found, message = nil, nil
    if content then
        found, message = recording.read(content)
    end
    if message then
        io.stderr:write(options.file, ":1: ", message, "\n")
    end
    if not found then
        return nil
    end
    show_bad(options.file, found.bad)
    if #found.bad > 0 and not options.skip_bad then
        return complain("nothing was replayed; --skip-bad leaves lines out that cannot be read")
    elseif #found.entries == 0 then
        return complain("there is no exchange in ", options.file)
    elseif not found.is_whole then
        complain(options.file, " has no end: the recording was interrupted")
    end
    return found
end

local function is_there(path)
    return path == nil or read_file(path) ~= nil
end

-- ---------------------------------------------------------------- the whole

local function write_report(results, options)
    local function write(...)
        io.stdout:write(...)
    end
    if options.json then
        write(report.json(results, options), "\n")
    elseif options.only_changed then
        report.changed(write, results)
    else
        report.text(write, results, options)
    end
    io.stdout:flush()
end

-- "Nothing differs" is not said where nothing was compared.
local function status_of(summary)
    if summary.skipped == summary.total then
        complain("no exchange could be replayed")
        return UNUSABLE
    end
    return summary.changed > 0 and CHANGED or SAME
end

--- Replays.
---@param arguments string[]
---@return integer status 0 nothing differs, 1 something does, 2 the input cannot be used
return function(arguments)
    local options, message = parse(arguments)
    if not options then
        complain(message)
        io.stderr:write("Run 'perigee replay --help' for what it takes.\n")
        return UNUSABLE
    end
    if not is_there(options.config) or not is_there(options.against) then
        return UNUSABLE
    end
    local found = load_recording(options)
    if not found then
        return UNUSABLE
    end
    local results, refused = run.all(found.entries, options.config, options.against, options.ignore)
    if not results then
        io.stderr:write(gateway.format_errors(refused.errors), "\n")
        complain(refused.path, " is refused")
        return UNUSABLE
    end
    write_report(results, options)
    return status_of(report.summarize(results))
end
