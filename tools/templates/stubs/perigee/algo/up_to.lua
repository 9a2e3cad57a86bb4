---@meta
-- Made by tools/stubs.py from the annotations in lua/perigee/. Editors read it; it is never run.
--
-- Counting up to a bound in a shared dictionary: what would go beyond is not counted. Exact among all workers.


---@class perigee.algo.up_to.module
local up_to = {}

--- Adds to the number at `key`, unless it would be more than `most` then.
---@param dict perigee.Dict
---@param key string
---@param by number
---@param most number
---@param ttl number seconds for which the number lives from now on
---@return boolean|nil is_counted nil when it cannot be said
---@return number|string value what the number is now, or a message
function up_to.count(dict, key, by, most, ttl) end

return up_to
