---@meta
-- Made by tools/stubs.py from the annotations in lua/perigee/. Editors read it; it is never run.
--
-- Functions that the loop runs later: perigee.spawn, perigee.timer. The runtime keeps the time and the owner (an exchange or a
-- generation) under the id of the task; here are the function and its results.

---@class perigee.Task
local Task = {}

--- Waits for the end of the task.
---@param seconds? number at most so long
---@return any ... what the function returned; nil and a message when it failed, was cancelled or takes too long
function Task:wait(seconds) end

--- Stops the task: it is not run again, and a run that waits is dropped.
function Task:cancel() end
