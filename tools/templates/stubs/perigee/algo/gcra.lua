---@meta
-- Made by tools/stubs.py from the annotations in lua/perigee/. Editors read it; it is never run.
--
-- The generic cell rate algorithm (ITU-T I.371) as a script for Redis: a token bucket of which only one number is stored, the
-- time at which it is full again. It holds `burst` tokens, begins full and gains `rate` of them a second; a call takes one or
-- nothing. A bucket that got smaller, or was filled by a clock that went back, is empty and gains tokens from then on. Time is
-- that of the Redis server, so the clocks of its clients do not matter. Times are in microseconds.


---@class perigee.algo.gcra.module
local gcra = {}

--- ARGV of the script.
---@param rate number tokens a second; more than 0
---@param burst number tokens that the bucket holds; at least 1
---@return string[]
function gcra.arguments(rate, burst) end

--- What a reply of the script says; nil when it is none.
---@param reply any
---@return boolean|nil is_taken
---@return number|nil remaining tokens left, with fractions
---@return number|nil retry_after seconds until a token is there; 0 when one was taken
function gcra.read(reply) end

return gcra
