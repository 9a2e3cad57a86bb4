-- SPDX-License-Identifier: MIT
--
-- Timers and tasks that requests started and that are still there when a test ends. Those that init() started belong to the
-- policy, and end with the gateway.

local ffi = require "ffi"
local task = require "perigee._core.task"
local testing = require "perigee._core.testing"

local C = ffi.C
local leaks = {}

local expected = setmetatable({}, { __mode = "k" }) -- jobs that may stay

--- "1 timer", "2 timers".
---@param count integer
---@param what string
---@return string
function leaks.count_text(count, what)
    return count .. " " .. what .. (count == 1 and "" or "s")
end

--- The jobs that there are.
---@return table<table, integer> id by job
local function jobs()
    local list = {}
    for id, job in pairs(task.jobs) do
        list[job] = id
    end
    return list
end

--- Calls a function; what it starts is expected to stay.
---@param build function
---@return any what the function returned
function leaks.expect_tasks(build)
    local before = jobs()
    local result = build()
    for job in pairs(jobs()) do
        if not before[job] then
            expected[job] = true
        end
    end
    return result
end

local function unexpected()
    local list = {}
    for job, id in pairs(jobs()) do
        if not expected[job] then
            list[#list + 1] = { job = job, id = id }
        end
    end
    table.sort(list, function(a, b) return a.id < b.id end)
    return list
end

local function describe(job)
    local info = debug.getinfo(job.call, "S")
    local owner = job.policy and "policy '" .. job.policy .. "'" or "a handler"
    local place = info.what == "C" and "" or " (" .. info.source:gsub("^@", "") .. ":" .. info.linedefined .. ")"
    if job.is_repeated then
        return "a timer of " .. owner .. place .. " still runs: it was started by a request, and nothing cancelled it"
    end
    return "a task of " .. owner .. place .. " has not ended: advance the clock until it has, or cancel it"
end

--- Adds what is left.
---@param list string[]
function leaks.find_tasks(list)
    for _, left in ipairs(unexpected()) do
        list[#list + 1] = describe(left.job)
    end
end

--- Ends what is left.
function leaks.drop_tasks()
    for _, left in ipairs(unexpected()) do
        testing.spawn(function() C.peri_ffi_task_stop(left.id) end) -- only coroutines of the runtime may
    end
end

return leaks
