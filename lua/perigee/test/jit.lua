-- SPDX-License-Identifier: MIT
--
-- `perigee check --jit`: an output handler of busted that says nothing of the specs, unless they fail, and what the recorder
-- found. A spec asks once or twice; so when a test has ended, its requests are sent again until everything behind them is
-- hot. What that does to counters and fakes nobody sees any more.

local gateway = require "perigee.test.gateway"
local native = require "perigee._core.native"
local recorder = require "perigee.test.recorder"
local world = require "perigee.test.world"

local getmetatable, io, ipairs, jit, pcall = getmetatable, io, ipairs, jit, pcall
local cpu_seconds = os.clock -- before the clock of the tests takes its place
local find, setmetatable, type = string.find, setmetatable, type

local REQUESTS = 8 -- of one gateway that are sent again
local ROUNDS = 150 -- of them, before it is asked whether that was enough
local ROUNDS_MAX = 900
local SECONDS = 20 -- of CPU time for all tests; those behind that get one turn of rounds
local FAILURES = 3 -- of a request, and it is not sent again: one that fails where the test expected that

local FOUND = "handlers that are not compiled"

-- ---------------------------------------------------------------- requests

local asked = setmetatable({}, { __mode = "k" }) -- options of the requests by gateway

local function remember(gw, options)
    local list = asked[gw] or {}
    asked[gw] = list
    if #list < REQUESTS then
        list[#list + 1] = options
    end
end

-- Methods of gateways are patched when the first one is there.
local is_patched = false

local function patch(gw)
    if gw and not is_patched then
        is_patched = true
        local class = getmetatable(gw).__index
        local send = class.send
        function class.send(self, options)
            remember(self, options)
            return send(self, options)
        end
        class._send_again = send
    end
    return gw
end

local function patch_makers()
    for _, name in ipairs { "new", "load" } do
        local make = gateway[name]
        gateway[name] = function(...)
            local gw, errors = make(...)
            return patch(gw), errors
        end
    end
end

local function ask(gw, options)
    return gw:_send_again(options):wait()
end

local function ask_often(gw, options)
    local count, failures = 0, 0
    while count < ROUNDS and failures < FAILURES do
        count = count + 1
        if not pcall(ask, gw, options) then
            failures = failures + 1
        end
    end
end

-- Until LuaJIT begins nothing new.
local function ask_again(gw)
    local rounds = 0
    repeat
        local starts = recorder.starts()
        for _, options in ipairs(asked[gw] or {}) do
            ask_often(gw, options)
        end
        rounds = rounds + ROUNDS
    until rounds >= ROUNDS_MAX or recorder.starts() == starts or cpu_seconds() > SECONDS
end

local function patch_end()
    local finish = world.finish
    function world.finish()
        local failures, status = world.failures, world.status
        jit.flush()
        world.failures = {}
        recorder.resume() -- what the spec itself does is no matter
        for _, gw in ipairs(world.gateways or {}) do
            ask_again(gw)
        end
        recorder.pause()
        world.failures, world.status = failures, status
        return finish()
    end
end

-- ---------------------------------------------------------------- what is said

-- A script that is neither a spec nor part of the binary. By LuaJIT's own search: see the recorder.
local function is_mine(file)
    if find(file, "_spec%.lua$") or file:sub(1, 1) == "/" then
        return false
    end
    local own = io.open(file)
    if own then
        own:close()
    end
    return own ~= nil or not native.embedded(file) and not find(file, "^perigee test")
end

local function read_lines(file)
    local lines = {}
    local text = io.open(file)
    for line in text and text:lines() or function() end do
        lines[#lines + 1] = line
    end
    if text then
        text:close()
    end
    return lines
end

-- Name of the function that begins in a line of the source.
local function name_in(line)
    return line and (line:match "function%s+[%w_%.]*[:%.]([%w_]+)%s*%(" or line:match "([%w_]+)%s*=%s*function") or nil
end

local function report(findings, count)
    for _, finding in ipairs(findings) do
        local lines = read_lines(finding.file)
        local hook = name_in(lines[finding.entry])
        io.write(finding.file, ":", finding.line, ": ", finding.reason, hook and ", in " .. hook or "", "\n")
        if lines[finding.line] then
            io.write("    ", (lines[finding.line]:gsub("^%s+", "")), "\n")
        end
    end
    if #findings > 0 then
        io.write("The code around these lines is interpreted.\n")
    elseif count == 0 then
        io.write("No spec runs a hook or a handler of these files: nothing can be said.\n")
    else
        io.write(count, count == 1 and " function" or " functions", " of hooks and handlers: nothing keeps LuaJIT from "
            .. "compiling them\n")
    end
    io.flush()
end

--- The output handler.
return function()
    local busted = require "busted"
    local handler = { failed = 0 }

    local function on_failure(element, _, message)
        if element.descriptor == "jit" then
            return nil, true
        end
        handler.failed = handler.failed + 1
        io.write(element.name or element.descriptor, ": ", type(message) == "string" and message or "failed", "\n")
        return nil, true
    end

    function handler.subscribe()
        patch_makers()
        patch_end()
        busted.subscribe({ "suite", "start" }, function()
            recorder.start(is_mine)
            recorder.pause()
            return nil, true
        end)
        busted.subscribe({ "suite", "end" }, function()
            local findings, count = recorder.stop()
            if handler.failed > 0 then
                io.write("The specs fail: 'perigee test' says why. First they must pass.\n")
                return nil, true
            end
            report(findings, count)
            if #findings > 0 or count == 0 then -- the exit status counts failures
                busted.publish({ "error", "jit" }, { descriptor = "jit", name = FOUND }, nil, "", {})
            end
            return nil, true
        end)
        busted.subscribe({ "failure" }, on_failure)
        busted.subscribe({ "error" }, on_failure)
        return handler
    end

    return handler
end
