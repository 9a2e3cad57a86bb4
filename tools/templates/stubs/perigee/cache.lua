---@meta
-- Made by tools/stubs.py from the annotations in lua/perigee/. Editors read it; it is never run.
--
-- perigee.cache: a bounded table of one worker: any values (tables too), the least recently used give way, and each may have
-- a time to live. For what is costly to make and may be forgotten; what workers share is in perigee.shared.
--
-- local keys = perigee.cache.new { size = 1000, ttl = 60 }

---@class perigee.Cache
---@field size integer most entries
---@field ttl number seconds
local Cache = {}

--- The value of an entry, now the one used last; nil when there is none.
---@param key any but nil
---@return any
function Cache:get(key) end

--- Stores a value; nil removes the entry.
---@param key any but nil
---@param value any
---@param ttl? number seconds to live; that of the cache by default
function Cache:set(key, value, ttl) end

--- Removes an entry.
---@param key any but nil
function Cache:delete(key) end

--- Number of entries, expired ones that nobody has met yet included.
---@return integer
function Cache:count() end

---@class perigee.CacheOptions
---@field size integer most entries
---@field ttl? number seconds to live; for ever by default
---@field clock? fun(): number seconds that only grow; the loop's by default
local CacheOptions = {}

---@class perigee.cache.module
local cache = {}

--- A new, empty cache.
---@param options perigee.CacheOptions
---@return perigee.Cache
function cache.new(options) end

return cache
