---@meta
-- Made by tools/stubs.py from the annotations in lua/perigee/. Editors read it; it is never run.
--
-- Periods in which something is counted: days and months of the calendar in UTC, or stretches of any length since 1970. Pure: the
-- time is passed in.


---@class perigee.algo.period.module
local period = {}

--- The period that a time is in.
---@param kind "day"|"month"|number a number: seconds
---@param now number seconds since 1970
---@return number begins
---@return number ends the first moment that is not in it
---@return string name "2026-11-23", "2026-11", or the beginning and the length
function period.at(kind, now) end

return period
