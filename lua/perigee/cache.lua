-- SPDX-License-Identifier: MIT
--
-- perigee.cache: a bounded table of one worker: any values (tables too), the least recently used give way, and each may have
-- a time to live. For what is costly to make and may be forgotten; what workers share is in perigee.shared.
--
--   local keys = perigee.cache.new { size = 1000, ttl = 60 }

local ffi = require "ffi"

local C, error, type, tostring, setmetatable = ffi.C, error, type, tostring, setmetatable
local huge = math.huge

---@class perigee.Cache
---@field size integer most entries
---@field ttl number seconds
local Cache = {}

local meta = { __index = Cache, __metatable = "perigee.Cache" }

-- Entries have places 1 … size in parallel arrays, tied into a ring in order of use: the entry behind place 0 is the newest,
-- the one before it the oldest. Free places are a stack. Nothing is allocated in use.

local function unlink(self, place)
    local newer, older = self._newer[place], self._older[place]
    self._older[newer] = older
    self._newer[older] = newer
end

local function link(self, place)
    local newest = self._older[0]
    self._newer[place], self._older[place] = 0, newest
    self._newer[newest], self._older[0] = place, place
end

local function remove(self, place)
    unlink(self, place)
    self._places[self._keys[place]] = nil
    self._keys[place], self._values[place] = nil, nil
    self._free_count = self._free_count + 1
    self._free[self._free_count] = place
end

local function take_place(self)
    local count = self._free_count
    if count > 0 then
        self._free_count = count - 1
        return self._free[count]
    elseif self._used < self.size then
        self._used = self._used + 1
        return self._used
    end
    remove(self, self._newer[0])
    return take_place(self)
end

local function check_ttl(ttl)
    if type(ttl) ~= "number" or not (ttl > 0 and ttl <= huge) then
        error("a time to live is a number of seconds above 0, not " .. tostring(ttl), 3)
    end
end

--- The value of an entry, now the one used last; nil when there is none.
---@param key any but nil
---@return any
function Cache:get(key)
    local place = self._places[key]
    if not place then
        return nil
    end
    if self._clock() >= self._ends[place] then
        remove(self, place)
        return nil
    end
    if self._older[0] ~= place then
        unlink(self, place)
        link(self, place)
    end
    return self._values[place]
end

--- Stores a value; nil removes the entry.
---@param key any but nil
---@param value any
---@param ttl? number seconds to live; that of the cache by default
function Cache:set(key, value, ttl)
    if key == nil then
        error("there is no key", 2)
    elseif ttl ~= nil then
        check_ttl(ttl)
    end
    local place = self._places[key]
    if value == nil then
        if place then
            remove(self, place)
        end
        return
    end
    if place then
        unlink(self, place)
    else
        place = take_place(self)
        self._places[key], self._keys[place] = place, key
    end
    link(self, place)
    self._values[place] = value
    self._ends[place] = self._clock() + (ttl or self.ttl)
end

--- Removes an entry.
---@param key any but nil
function Cache:delete(key)
    self:set(key, nil)
end

--- Number of entries, expired ones that nobody has met yet included.
---@return integer
function Cache:count()
    return self._used - self._free_count
end

local cache = {}

---@class perigee.CacheOptions
---@field size integer most entries
---@field ttl? number seconds to live; for ever by default
---@field clock? fun(): number seconds that only grow; the loop's by default

local function loop_clock()
    return C.peri_ffi_monotonic()
end

--- A new, empty cache.
---@param options perigee.CacheOptions
---@return perigee.Cache
function cache.new(options)
    local size, ttl = options.size, options.ttl or huge
    if type(size) ~= "number" or not (size >= 1 and size <= 1e6) or size % 1 ~= 0 then
        error("size is a whole number from 1 to 1000000, not " .. tostring(size), 2)
    end
    check_ttl(ttl)
    return setmetatable({
        size = size,
        ttl = ttl,
        _clock = options.clock or loop_clock,
        _places = {},
        _keys = {},
        _values = {},
        _ends = {},
        _newer = { [0] = 0 },
        _older = { [0] = 0 },
        _free = {},
        _free_count = 0,
        _used = 0,
    }, meta)
end

return cache
