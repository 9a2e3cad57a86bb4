-- SPDX-License-Identifier: MIT
--
-- perigee.timer: functions that run later, apart from any request. They belong to the generation that started them and end
-- with it. May be used in init() and in every hook.

local task = require "perigee._core.task"

local timer = {}

--- Runs a function once.
---@param seconds number from now
---@param call function
---@param ... any its arguments
---@return perigee.Task
function timer.after(seconds, call, ...)
    return task.start("perigee.timer.after", seconds, 0, false, call, ...)
end

--- Runs a function again and again, the first time after `seconds`, then `seconds` after each end. cancel() ends it.
---@param seconds number
---@param call function
---@param ... any its arguments
---@return perigee.Task
function timer.every(seconds, call, ...)
    if type(seconds) == "number" and seconds < 0.001 then
        error("perigee.timer.every: the interval is at least a millisecond", 2)
    end
    return task.start("perigee.timer.every", seconds, seconds, false, call, ...)
end

return timer
