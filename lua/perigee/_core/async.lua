-- SPDX-License-Identifier: MIT
--
-- Waiting. A function that waits arms a wake-up in the runtime and yields a private mark. The mark travels out through the
-- coroutines that the script itself made (their resume and wrap pass it on), up to the runtime, and the wake-up comes back in
-- the same way: so a script may wait anywhere.

local ffi = require "ffi"
local current = require "perigee._core.current"
local native = require "perigee._core.search_native"
local shadow = require "perigee._core.shadow"

local C, select, error, type, setmetatable = ffi.C, select, error, type, setmetatable
local ffi_string = ffi.string
local create, resume, yield = coroutine.create, coroutine.resume, coroutine.yield
local running, status = coroutine.running, coroutine.status
local check_stack = native.check_stack

local async = {}

local MARK = {}
local READY, WAITS = 1, 2
local own = setmetatable({}, { __mode = "k" }) -- READY or WAITS by coroutine that a script made

--- Yields to the runtime; a wake-up is armed.
---@return integer code why it goes on: 0 or an error code
function async.pause()
    local policy, dry = current.policy, current.shadow
    if dry then
        shadow.pause(dry)
    end
    yield(MARK)
    current.policy = policy
    if dry then
        shadow.resume(dry)
    end
    return C.peri_ffi_woken()
end

--- Yields after a wake-up was armed with result `code`, or raises an error that names `what` when it was not.
---@param code integer
---@param what string
---@return integer code as pause
function async.wait(code, what)
    if code ~= 0 then
        if C.peri_ffi_can_wait() == 0 then
            error(what .. " cannot wait here: only hooks, handlers, timers and spawned functions can", 3)
        end
        error(what .. ": " .. ffi_string(C.peri_ffi_error_text(code)), 3)
    end
    return async.pause()
end

--- Waits for `seconds`; other requests go on meanwhile.
---@param seconds number
function async.sleep(seconds)
    if type(seconds) ~= "number" then
        error("perigee.sleep expects a number of seconds, not a " .. type(seconds), 2)
    end
    async.wait(C.peri_ffi_sleep(seconds), "perigee.sleep")
end

-- ---------------------------------------------------------------- coroutines of scripts

-- The runtime's own coroutines are not for scripts: resumed out of turn they would go on in another's exchange. Nor is one
-- whose wait is under way, except for the wake-up.
local function problem_of(co)
    if type(co) ~= "thread" then
        return "a coroutine is expected, not a " .. type(co)
    elseif not own[co] then
        return "cannot resume a coroutine that no script made"
    elseif own[co] == WAITS then
        return "cannot resume a coroutine that waits"
    end
    check_stack() -- each takes a piece of the C stack
end

local function pass(co, ok, first, ...)
    if ok and first == MARK then
        own[co] = WAITS
        yield(MARK)
        own[co] = READY
        return pass(co, resume(co))
    end
    return ok, first, ...
end

local function unwrap(ok, ...)
    if not ok then
        error((...), 0)
    end
    return ...
end

--- What scripts get as `coroutine`.
async.coroutine = { status = status }

--- The coroutine that runs, when a script made it.
function async.coroutine.running()
    local co = running()
    return co and own[co] and co or nil
end

function async.coroutine.create(f)
    local co = create(f)
    own[co] = READY
    return co
end

function async.coroutine.resume(co, ...)
    local problem = problem_of(co)
    if problem then
        return false, problem
    end
    return pass(co, resume(co, ...))
end

function async.coroutine.wrap(f)
    local co = async.coroutine.create(f)
    return function(...)
        local problem = problem_of(co)
        if problem then
            error(problem, 2)
        end
        return unwrap(pass(co, resume(co, ...)))
    end
end

function async.coroutine.yield(...)
    local co = running()
    if not co or not own[co] then
        error("coroutine.yield outside of a coroutine that this script made", 2)
    end
    return yield(...)
end

--- Packs values with their number.
function async.pack(...)
    return { n = select("#", ...), ... }
end

return async
