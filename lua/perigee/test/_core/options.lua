-- SPDX-License-Identifier: MIT
--
-- The command line of `perigee test`: what the kit does itself, and what is left for busted.

local options = {}

---@class perigee.test.CommandLine
---@field coverage boolean
---@field min number|nil per cent of lines that must be covered
---@field lcov string|nil file to write
---@field junit string|nil file to write
---@field tap boolean
---@field list boolean
---@field rest string[] for busted

local function is_tap(name)
    return name:lower() == "tap"
end

local FLAGS = { ["--coverage"] = "coverage", ["-c"] = "coverage", ["--tap"] = "tap" }
local VALUES = {
    ["--min"] = "min", ["--lcov"] = "lcov", ["--junit"] = "junit", ["--output"] = "output", ["-o"] = "output",
    ["--filter"] = "filter", ["--filter-out"] = "filter",
}

local function parse_min(text)
    local number = tonumber((text:match("^(%d+%.?%d*)%%?$")))
    if number and number <= 100 then
        return number
    end
    return nil, "--min expects per cent of lines, such as 80%, not '" .. text .. "'"
end

-- Takes one option with its value: nil, or what is wrong.
local function take_value(line, name, value)
    if value == nil or value == "" then
        return name .. " expects a value"
    elseif VALUES[name] == "output" then
        if is_tap(value) then
            line.tap = true
        else
            line.rest[#line.rest + 1] = "--output=" .. value
        end
    elseif VALUES[name] == "filter" then
        local is_pattern, message = pcall(string.find, "", value)
        line.rest[#line.rest + 1] = name .. "=" .. value
        return not is_pattern and name .. " expects a Lua pattern: " .. message or nil
    elseif VALUES[name] == "min" then
        local message
        line.min, message = parse_min(value)
        return message
    else
        line[VALUES[name]] = value
    end
end

-- Takes the argument at `at`: the place of the next, or nil and what is wrong.
local function take(line, arguments, at)
    local word = arguments[at]
    local name, value = word:match("^(%-%-[%w-]+)=(.*)$")
    if FLAGS[word] then
        line[FLAGS[word]] = true
    elseif VALUES[word] then
        local message = take_value(line, word, arguments[at + 1])
        return not message and at + 2 or nil, message
    elseif VALUES[name] then
        local message = take_value(line, name, value)
        return not message and at + 1 or nil, message
    else
        line.list = line.list or word == "--list" or word == "-l"
        line.rest[#line.rest + 1] = word
    end
    return at + 1
end

--- Takes the command line apart.
---@param arguments string[]
---@return perigee.test.CommandLine|nil
---@return string|nil message
function options.parse(arguments)
    local line, at, message = { tap = false, coverage = false, list = false, rest = {} }, 1
    while at <= #arguments do
        at, message = take(line, arguments, at)
        if not at then
            return nil, message
        end
    end
    line.coverage = (line.coverage or line.min ~= nil or line.lcov ~= nil) and not line.list
    line.tap = line.tap and not line.list
    if line.tap then
        line.rest[#line.rest + 1] = "--output=perigee.test._core.silent"
    end
    return line
end

return options
