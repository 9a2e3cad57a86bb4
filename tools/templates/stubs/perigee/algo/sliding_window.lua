---@meta
-- Made by tools/stubs.py from the annotations in lua/perigee/. Editors read it; it is never run.
--
-- A sliding window as two counters: what came in the window that runs, and in the one before it. Windows follow one another
-- by the clock, and what came in the last one counts with the share of it that a window ending now still covers:
--
-- estimate = floor(previous * (1 - at / window)) + current        one more may come while estimate < limit
--
-- It assumes that requests came evenly in the last window. When they came all at its end, up to twice the limit fits into some
-- stretch of one window; an exact log of times would not allow that, and needs memory for `limit` times per client. Two numbers
-- are enough here. Pure: time and counts are passed in. SCRIPT is the same rule for Redis.


---@class perigee.algo.sliding_window.module
local sliding_window = {}

--- How many requests may come now.
---@param limit integer requests in a window
---@param previous integer requests that were let in during the last window
---@param current integer requests that were let in during this one
---@param at number which part of this window is over, from 0 to 1
---@return integer room 0 when there is none
function sliding_window.room(limit, previous, current, at) end

--- Seconds until there is room for `wanted` requests, if none comes meanwhile; 0 when there is.
---@param limit integer
---@param window number seconds
---@param previous integer
---@param current integer
---@param at number
---@param wanted integer from 1 to `limit`
---@return number seconds
function sliding_window.wait(limit, window, previous, current, at, wanted) end

--- ARGV of the script.
---@param limit integer
---@param window number seconds
---@return string[]
function sliding_window.arguments(limit, window) end

--- What a reply of the script says; nil when it is none.
---@param reply any
---@return boolean|nil is_admitted
---@return integer|nil previous
---@return integer|nil current
---@return number|nil at
function sliding_window.read(reply) end

return sliding_window
