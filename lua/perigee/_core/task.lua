-- SPDX-License-Identifier: MIT
--
-- Functions that the loop runs later: perigee.spawn, perigee.timer. The runtime keeps the time and the owner (an exchange or a
-- generation) under the id of the task; here are the function and its results.

local ffi = require "ffi"
local async = require "perigee._core.async"
local current = require "perigee._core.current"
local outcome = require "perigee._core.outcome"
local shadow = require "perigee._core.shadow"
local watch = require "perigee._core.watch"

local C, xpcall, error, type, setmetatable, unpack = ffi.C, xpcall, error, type, setmetatable, unpack
local ffi_string = ffi.string
local pack = async.pack
local clock = watch.clock

local task = {}

--- Jobs by task id; the runtime takes one out when its task is over.
task.jobs = {}

local jobs = task.jobs

---@class perigee.Task
local methods = {}
local Task = { __index = methods, __metatable = "perigee.Task" }

-- Job of a task object: { id, call, arguments, is_repeated, policy, dry, is_done, results }. What a policy in a dry run starts
-- is in its shadow too: `dry` is that shadow.
local job_of = setmetatable({}, { __mode = "k" })

local function check(self)
    return job_of[self] or error("expected a task that perigee.spawn or perigee.timer returned", 3)
end

--- Starts a task.
---@param what string name of the caller, for messages
---@param delay number
---@param interval number
---@param is_exchange boolean
---@param call function
---@return perigee.Task
function task.start(what, delay, interval, is_exchange, call, ...)
    if type(call) ~= "function" then
        error(what .. " expects a function, not a " .. type(call), 3)
    elseif type(delay) ~= "number" or type(interval) ~= "number" then
        error(what .. " expects a number of seconds", 3)
    end
    local id = C.peri_ffi_task_start(delay, interval, is_exchange and 1 or 0)
    if id == -2 then
        error(what .. ": too many tasks: 256 for an exchange, 1024 for a generation", 3)
    elseif id <= 0 then
        error(what .. " cannot be used here: only hooks, init(), timers and spawned functions can", 3)
    end
    local object = setmetatable({}, Task)
    local job = {
        id = id, call = call, arguments = pack(...), is_repeated = interval > 0, policy = current.policy,
        budget = current.task_budget or clock.budget, dry = current.shadow,
    }
    jobs[id], job_of[object] = job, job
    return object
end

--- Runs a task; the runtime calls this in a coroutine of its own.
---@param id integer
function task.run(id)
    local job = jobs[id]
    current.policy, clock.budget = job.policy, job.budget
    local results
    if job.dry and not shadow.reenter(job.dry) then
        results = pack(false, "not enough memory for a dry run")
    else
        results = pack(xpcall(job.call, outcome.trap, unpack(job.arguments, 1, job.arguments.n)))
        shadow.abandon()
    end
    if not results[1] then
        local text = "task failed: " .. tostring(results[2])
        C.peri_ffi_log(2, text, #text)
    end
    if not job.is_repeated then
        job.is_done, job.results = true, results
    end
end

local function results_of(job)
    local results = job.results
    if results[1] then
        return unpack(results, 2, results.n)
    end
    return nil, (tostring(results[2]):match("^[^\n]*"))
end

--- Waits for the end of the task.
---@param seconds? number at most so long
---@return any ... what the function returned; nil and a message when it failed, was cancelled or takes too long
function methods:wait(seconds)
    local job = check(self)
    if job.is_done then
        return results_of(job)
    elseif seconds ~= nil and type(seconds) ~= "number" then
        error("the time to wait is a number of seconds", 2)
    elseif jobs[job.id] ~= job then
        return nil, "cancelled"
    end
    local code = async.wait(C.peri_ffi_task_wait(job.id, seconds or -1), "waiting for a task")
    if job.is_done then
        return results_of(job)
    end
    return nil, code == 0 and "cancelled" or ffi_string(C.peri_ffi_error_text(code))
end

--- Stops the task: it is not run again, and a run that waits is dropped.
function methods:cancel()
    local job = check(self)
    if jobs[job.id] == job then
        C.peri_ffi_task_stop(job.id)
    end
end

--- Starts a function beside the caller; it ends with the exchange, if there is one.
---@param call function
---@param ... any its arguments
---@return perigee.Task
function task.spawn(call, ...)
    return task.start("perigee.spawn", 0, 0, true, call, ...)
end

--- Waits for the end of a task; as task:wait(seconds).
---@param object perigee.Task
---@param seconds? number
---@return any ... as task:wait(seconds)
function task.wait(object, seconds)
    check(object)
    return object:wait(seconds)
end

return task
