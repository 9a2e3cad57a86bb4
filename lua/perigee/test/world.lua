-- SPDX-License-Identifier: MIT
--
-- What the gateways of one test share: the loop, the clock, and what went wrong where nobody could be told. Between two turns
-- of the loop the gateways are served: bytes are moved to readers, fake upstreams answer.

local testing = require "perigee._core.testing"

local world = {
    gateways = {}, ---@type table[] those that are open
    failures = {}, -- errors raised by fake upstreams
    file = nil, ---@type string|nil spec file that runs
    test = "", -- name of the test that runs
    status = nil, ---@type string|nil how it ended
    is_used = false, -- something of the kit was used in this test
}

local MAX_TURNS = 1000000
local MAX_ERRORS = 10

local function turn()
    local has_more = testing.turn()
    for i = 1, #world.gateways do
        has_more = world.gateways[i]:_serve() or has_more
    end
    return has_more
end

local function raise_failures()
    local failure = world.failures[1]
    if failure ~= nil then
        world.failures = {}
        error(failure, 0)
    end
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
---@param seconds number
function world.advance(seconds)
    if type(seconds) ~= "number" or seconds < 0 then
        error("advance expects a number of seconds, 0 or more", 3)
    end
    local left = math.floor(seconds * 1000 + 0.5)
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

--- The first use of the kit in a test.
function world.begin()
    if not world.is_used then
        world.is_used = true
        testing.reset()
    end
end

-- ---------------------------------------------------------------- the end of a test

local function count_text(count, what)
    return count .. " " .. what .. (count == 1 and "" or "s")
end

-- What must be gone once all gateways are closed, and how it is called.
local LEAKS = {
    { "exchanges", "exchange" }, { "streams", "connection" }, { "coroutines", "coroutine" }, { "tasks", "task" },
    { "timers", "timer" },
}

local function close_all(leaks)
    local gateways = world.gateways
    for _, gateway in ipairs(gateways) do
        gateway:_find_leaks(leaks)
    end
    for _, gateway in ipairs(gateways) do
        gateway:_close_clients()
    end
    run_turns()
    for _, gateway in ipairs(gateways) do
        gateway:_close_fakes()
    end
    run_turns()
    local exchanges = testing.counts().exchanges
    if exchanges > 0 then
        leaks[#leaks + 1] = count_text(exchanges, "exchange") .. " still open after every connection was closed"
    end
    for _, gateway in ipairs(gateways) do
        gateway:_close_server()
    end
    world.gateways = {}
    run_turns()
end

local function find_leftovers(leaks)
    local counts = testing.counts()
    for _, leak in ipairs(LEAKS) do
        local count = counts[leak[1]]
        if count > 0 then
            leaks[#leaks + 1] = count_text(count, leak[2]) .. " left after the gateway was closed"
        end
    end
end

--- Closes what the test opened; raises an error that names what it left behind.
function world.finish()
    if not world.is_used then
        return
    end
    local leaks = {}
    close_all(leaks)
    testing.reset()
    world.is_used = false
    find_leftovers(leaks)
    if world.status ~= "success" then
        world.failures = {} -- the test has failed already
    elseif #leaks > 0 then
        world.failures = {}
        error("left behind by '" .. world.test .. "':\n  " .. table.concat(leaks, "\n  "), 0)
    end
    raise_failures()
end

return world
