-- SPDX-License-Identifier: MIT
--
-- Counting up to a bound in a shared dictionary: what would go beyond is not counted. Exact among all workers.

local up_to = {}

--- Adds to the number at `key`, unless it would be more than `most` then.
---@param dict perigee.Dict
---@param key string
---@param by number
---@param most number
---@param ttl number seconds for which the number lives from now on
---@return boolean|nil is_counted nil when it cannot be said
---@return number|string value what the number is now, or a message
function up_to.count(dict, key, by, most, ttl)
    local old = dict:get(key)
    local value = old == nil and 0 or old
    if type(value) ~= "number" then
        return nil, "the entry is no number"
    elseif value + by > most then
        return false, value
    end
    local is_counted, message = dict:cas(key, old, value + by, ttl)
    if is_counted then
        return true, value + by
    elseif is_counted == nil then
        return nil, message
    end
    return up_to.count(dict, key, by, most, ttl) -- another worker counted meanwhile; no loop, which would not be compiled
end

return up_to
