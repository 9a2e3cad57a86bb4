-- SPDX-License-Identifier: MIT
--
-- What the gateways of one test share: the loop, the clock, and what went wrong where nobody could be told. Between two turns
-- of the loop the gateways are served: bytes are moved to readers, fake upstreams answer.

local clock = require "perigee.test._core.clock"
local leaks = require "perigee.test._core.leaks"
local misuse = require "perigee.test._core.misuse"
local testing = require "perigee._core.testing"

local world = {
    gateways = {}, ---@type table[] those that are open
    failures = {}, -- errors raised by fake upstreams
    file = nil, ---@type string|nil spec file that runs
    test = "", -- name of the test that runs
    place = nil, ---@type string|nil "file:line" of that test
    status = nil, ---@type string|nil how it ended
    block = nil, ---@type (fun(): string)|nil kind of the block of busted that runs
    is_used = false, -- something of the kit was used in this test
    left = {}, ---@type string[] what gateways that the test has closed left behind
}

local MAX_TURNS = 1000000
local MAX_ERRORS = 10
local LOG_LINES = 10 -- of the log, in messages

local function turn()
    local has_more = testing.turn()
    for i = 1, #world.gateways do
        has_more = world.gateways[i]:_serve() or has_more
    end
    return has_more
end

-- What failed out of sight of the test; a text that names no place gets that of the spec that drives the gateway.
local function raise_failures()
    local failure = world.failures[1]
    if failure == nil then
        return
    end
    world.failures = {}
    if type(failure) == "string" and not failure:find("^[^\n]-:%d+: ") then
        local place = misuse.place() or world.place
        failure = place and place .. ": " .. failure or failure
    end
    error(failure, 0)
end

--- Something went wrong in a fake upstream: whoever drives the loop is told.
---@param err any
function world.fail(err)
    if #world.failures < MAX_ERRORS then
        world.failures[#world.failures + 1] = err
    end
end

local function run_turns(is_done)
    for _ = 1, MAX_TURNS do
        local has_more = turn()
        if not has_more or (is_done and is_done()) then
            return
        end
    end
    world.fail "the gateway is busy without end"
end

--- Does all that can be done without moving time, or until `is_done`. Raises what failed meanwhile.
---@param is_done? fun(): boolean
function world.settle(is_done)
    run_turns(is_done)
    raise_failures()
end

--- Runs until `is_done`, moving time when everything waits; false when that does not come within `seconds`.
---@param is_done fun(): boolean
---@param seconds number
---@return boolean
function world.run(is_done, seconds)
    local deadline = testing.now_ms() + seconds * 1000
    while true do
        world.settle(is_done)
        if is_done() then
            world.settle() -- what follows the response: log hooks, metrics
            return true
        end
        local next_ms = testing.next_ms()
        if not next_ms or testing.now_ms() + next_ms > deadline then
            return false
        end
        testing.advance(next_ms)
    end
end

--- Moves time.
---@param what string name of the caller, for messages
---@param span number|string seconds, or a duration
function world.advance(what, span)
    local left = math.floor(clock.seconds(what, span) * 1000 + 0.5)
    world.settle()
    local next_ms = testing.next_ms()
    while next_ms and next_ms <= left do
        testing.advance(next_ms)
        left = left - next_ms
        world.settle()
        next_ms = testing.next_ms()
    end
    testing.advance(left)
    world.settle()
end

--- Lines of the log since the test began.
---@return { level: string, message: string }[]
function world.log()
    local flat, lines = testing.log(), {}
    for i = 1, #flat, 2 do
        lines[#lines + 1] = { level = flat[i], message = flat[i + 1] }
    end
    return lines
end

-- Blocks in which nothing of a test runs yet, or any more.
local OUTSIDE = {
    file = "a file", describe = "describe", strict_setup = "setup", lazy_setup = "lazy_setup",
    strict_teardown = "teardown", lazy_teardown = "lazy_teardown",
}

--- The first use of the kit in a test.
function world.begin()
    if world.is_used then
        return
    end
    local outside = world.block and OUTSIDE[world.block()]
    if outside then
        misuse.raise("a gateway lives for one test: make it in it or before_each, not in " .. outside)
    end
    world.is_used = true
    testing.reset()
end

-- ---------------------------------------------------------------- the end of a test

-- What must be gone once all gateways are closed, and how it is called.
local LEFTOVERS = {
    { "exchanges", "exchange" }, { "streams", "connection" }, { "coroutines", "coroutine" }, { "tasks", "task" },
    { "timers", "timer" },
}

local function find_leftovers(list)
    local counts = testing.counts()
    for _, kind in ipairs(LEFTOVERS) do
        local count = counts[kind[1]]
        if count > 0 then
            list[#list + 1] = leaks.count_text(count, kind[2]) .. " left after the gateway was closed"
        end
    end
end

-- What only shows when no gateway goes on: exchanges and tasks know nothing of gateways.
local function find_unfinished(list)
    leaks.find_tasks(list)
    local exchanges = testing.counts().exchanges
    if exchanges > 0 then
        list[#list + 1] = leaks.count_text(exchanges, "exchange") .. " still open after every connection was closed"
    end
end

local function each(gateways, method, ...)
    for _, gateway in ipairs(gateways) do
        gateway[method](gateway, ...)
    end
end

--- Closes gateways; `list` gets what they leave behind.
---@param gateways table[]
---@param list string[]
local function close(gateways, list)
    local is_last = #gateways == #world.gateways
    each(gateways, "_find_leaks", list)
    each(gateways, "_close_clients")
    run_turns()
    each(gateways, "_find_unanswered", list)
    each(gateways, "_close_fakes")
    run_turns()
    if is_last then
        find_unfinished(list)
    end
    each(gateways, "_close_server")
    for i = #world.gateways, 1, -1 do
        if world.gateways[i].is_closed then
            table.remove(world.gateways, i)
        end
    end
    run_turns()
end

--- Closes a gateway in the middle of a test. What it leaves behind is told at the end.
---@param gateway table
function world.close(gateway)
    close({ gateway }, world.left)
    raise_failures()
end

-- The last of what was logged that may say why something is left.
local function troubles()
    local list = {}
    for _, line in ipairs(world.log()) do
        if line.level == "warn" or line.level == "error" then
            list[#list + 1] = line.level .. " " .. line.message:gsub("\\nstack traceback:.*$", "")
        end
    end
    if #list == 0 then
        return ""
    end
    return "\nThe log:\n" .. table.concat(list, "\n", math.max(1, #list - LOG_LINES + 1))
end

local function leak_message(list, log)
    local place = world.place and world.place .. ": " or ""
    return place .. "left behind by '" .. world.test .. "':\n  " .. table.concat(list, "\n  ") .. log
end

--- Closes what the test opened; raises an error that names what it left behind.
function world.finish()
    if not world.is_used then
        return
    end
    local list, log = world.left, troubles()
    close({ unpack(world.gateways) }, list)
    testing.reset()
    world.is_used, world.left = false, {}
    find_leftovers(list)
    if world.status ~= "success" then
        world.failures = {} -- the test has failed already
    elseif #list > 0 then
        world.failures = {}
        error(leak_message(list, log), 0)
    end
    raise_failures()
end

return world
