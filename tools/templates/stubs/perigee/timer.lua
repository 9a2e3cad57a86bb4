---@meta
-- Made by tools/stubs.py from the annotations in lua/perigee/. Editors read it; it is never run.
--
-- perigee.timer: functions that run later, apart from any request. They belong to the generation that started them and end
-- with it. May be used in init() and in every hook.


---@class perigee.timer.module
local timer = {}

--- Runs a function once.
---@param seconds number from now
---@param call function
---@param ... any its arguments
---@return perigee.Task
function timer.after(seconds, call, ...) end

--- Runs a function again and again, the first time after `seconds`, then `seconds` after each end. cancel() ends it.
---@param seconds number
---@param call function
---@param ... any its arguments
---@return perigee.Task
function timer.every(seconds, call, ...) end

return timer
