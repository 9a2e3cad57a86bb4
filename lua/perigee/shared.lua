-- SPDX-License-Identifier: MIT
--
-- perigee.shared: dictionaries that all workers see and that outlive reloads: `local hits = perigee.shared "hits"`. Keys are
-- strings of at most 256 bytes; values are strings of at most 64 KiB, numbers or booleans. Each operation is atomic among all
-- workers. Times to live are in seconds. When the memory is full the entries used least recently give way, so this is a place for
-- counters, sessions and caches, not for what must never be lost.
--
-- An operation that cannot be done for its data (a key from a request that is too long, a counter on a string) gives nil, a
-- message and a code; one that is called wrongly raises an error.

local ffi = require "ffi"

local C, error, type, setmetatable, tostring = ffi.C, error, type, setmetatable, tostring
local ffi_string, ffi_new, huge = ffi.string, ffi.new, math.huge

local KEY_MAX, VALUE_MAX, KEYS_MAX, KEYS_DEFAULT = 256, 65536, 4096, 1000
local NONE, STRING, NUMBER, BOOLEAN = C.PERI_FFI_NONE, C.PERI_FFI_STRING, C.PERI_FFI_NUMBER, C.PERI_FFI_BOOLEAN
local SET, ADD, REPLACE = C.PERI_FFI_SHARED_SET, C.PERI_FFI_SHARED_ADD, C.PERI_FFI_SHARED_REPLACE
local WRONG_TYPE, NO_MEMORY = C.PERI_FFI_SHARED_TYPE, C.PERI_FFI_SHARED_NOMEM

-- Filled and read at once: nothing can yield in between.
local value = ffi_new("struct peri_ffi_value")
local expected = ffi_new("struct peri_ffi_value")
local number = ffi_new("double[1]")
local bucket = ffi_new("struct peri_ffi_bucket")
local key_length = ffi_new("uint16_t[1]")

---@class perigee.Dict
local Dict = {}

-- What every policy shares holds nothing that a policy could change: number and name by object are kept here.
local ids, names = {}, {}

local meta = { __index = Dict, __metatable = "perigee.Dict" }

function meta.__newindex(_, key)
    error("a shared dictionary has no '" .. tostring(key) .. "' to set; its entries are set by :set", 2)
end

function meta.__tostring(self)
    return "perigee.shared " .. names[self]
end

-- ------------------------------------------------------------------ between the two sides

local function check_key(key)
    if type(key) ~= "string" then
        error("a key is a string, not a " .. type(key), 3)
    end
end

-- Times to live: nil is for ever, which the runtime calls 0.
local function check_ttl(ttl)
    if ttl == nil then
        return 0
    elseif type(ttl) ~= "number" or not (ttl > 0 and ttl <= huge) then
        error("a time to live is a number of seconds above 0, not " .. tostring(ttl), 3)
    end
    return ttl
end

local function fill(slot, content)
    local kind = type(content)
    if kind == "string" then
        slot.type, slot.ptr, slot.len = STRING, content, #content
    elseif kind == "number" then
        slot.type, slot.number = NUMBER, content
    elseif kind == "boolean" then
        slot.type, slot.number = BOOLEAN, content and 1 or 0
    elseif content == nil then
        slot.type = NONE
    else
        error("a value is a string, a number or a boolean, not a " .. kind, 3)
    end
end

-- Why an operation gave the negative `code`.
local function refusal(code, key, content)
    if code == WRONG_TYPE then
        return nil, "the entry is no number", "type"
    elseif code == NO_MEMORY then
        return nil, "there is no memory", "no_memory"
    elseif #key > KEY_MAX then
        return nil, "the key is longer than " .. KEY_MAX .. " bytes", "too_long"
    elseif type(content) == "string" and #content > VALUE_MAX then
        return nil, "the value is longer than " .. VALUE_MAX .. " bytes", "too_long"
    end
    return nil, "the entry is of another kind", "type"
end

-- ------------------------------------------------------------------ entries

--- The value of an entry; nil when there is none.
---@param key string
---@return string|number|boolean|nil value
---@return string|nil message
---@return string|nil code
function Dict:get(key)
    check_key(key)
    local code = C.peri_ffi_shared_get(ids[self], key, #key, value)
    if code < 0 then
        return refusal(code, key)
    end
    local kind = value.type
    if kind == NUMBER then
        return value.number
    elseif kind == STRING then
        return ffi_string(value.ptr, value.len)
    elseif kind == BOOLEAN then
        return value.number ~= 0
    end
    return nil
end

local function put(self, key, content, ttl, mode)
    local code = C.peri_ffi_shared_put(ids[self], key, #key, value, mode, ttl)
    if code < 0 then
        return refusal(code, key, content)
    end
    return code == 1
end

--- Stores a value, whatever was there; nil removes the entry.
---@param key string
---@param content string|number|boolean|nil
---@param ttl? number seconds to live; for ever by default
---@return boolean|nil is_stored
---@return string|nil message
---@return string|nil code
function Dict:set(key, content, ttl)
    check_key(key)
    ttl = check_ttl(ttl)
    fill(value, content)
    if content == nil then
        C.peri_ffi_shared_remove(ids[self], key, #key)
        return true
    end
    return put(self, key, content, ttl, SET)
end

--- Stores a value when there is no entry; false when there is one.
---@param key string
---@param content string|number|boolean
---@param ttl? number seconds to live; for ever by default
---@return boolean|nil is_stored
---@return string|nil message
---@return string|nil code
function Dict:add(key, content, ttl)
    check_key(key)
    ttl = check_ttl(ttl)
    fill(value, content)
    if content == nil then
        error("there is no value to store", 2)
    end
    return put(self, key, content, ttl, ADD)
end

--- Stores a value when there is an entry; false when there is none.
---@param key string
---@param content string|number|boolean
---@param ttl? number seconds to live; for ever by default
---@return boolean|nil is_stored
---@return string|nil message
---@return string|nil code
function Dict:replace(key, content, ttl)
    check_key(key)
    ttl = check_ttl(ttl)
    fill(value, content)
    if content == nil then
        error("there is no value to store", 2)
    end
    return put(self, key, content, ttl, REPLACE)
end

--- Stores a value when the entry is what the caller thinks it is; false when it is not. nil stands for no entry on both sides.
---@param key string
---@param old string|number|boolean|nil
---@param new string|number|boolean|nil
---@param ttl? number seconds to live; for ever by default
---@return boolean|nil is_stored
---@return string|nil message
---@return string|nil code
function Dict:cas(key, old, new, ttl)
    check_key(key)
    ttl = check_ttl(ttl)
    fill(expected, old)
    fill(value, new)
    local code = C.peri_ffi_shared_swap(ids[self], key, #key, expected, value, ttl)
    if code < 0 then
        return refusal(code, key, new)
    end
    return code == 1
end

--- Adds to a number and gives the sum. An absent entry begins as `init`, and lives for `ttl`; one that is there keeps its time,
--- which makes a counter with a time to live a fixed window.
---@param key string
---@param by? number 1 by default
---@param init? number 0 by default
---@param ttl? number seconds to live; for ever by default
---@return number|nil sum
---@return string|nil message
---@return string|nil code
function Dict:incr(key, by, init, ttl)
    check_key(key)
    ttl = check_ttl(ttl)
    by, init = by or 1, init or 0
    if type(by) ~= "number" or type(init) ~= "number" then
        error("what is counted is a number", 2)
    end
    local code = C.peri_ffi_shared_incr(ids[self], key, #key, by, init, ttl, number)
    if code < 0 then
        return refusal(code, key)
    end
    return number[0]
end

--- Removes an entry; false when there was none.
---@param key string
---@return boolean was_there
function Dict:delete(key)
    check_key(key)
    return C.peri_ffi_shared_remove(ids[self], key, #key) == 1
end

-- ------------------------------------------------------------------ time

--- Seconds that an entry has to live; math.huge when for ever, nil when there is no entry.
---@param key string
---@return number|nil seconds
function Dict:ttl(key)
    check_key(key)
    if C.peri_ffi_shared_ttl(ids[self], key, #key, number) == 0 then
        return nil
    end
    return number[0]
end

--- Gives an entry another time to live, from now; false when there is no entry.
---@param key string
---@param ttl? number seconds; for ever by default
---@return boolean was_there
function Dict:expire(key, ttl)
    check_key(key)
    return C.peri_ffi_shared_expire(ids[self], key, #key, check_ttl(ttl)) == 1
end

-- ------------------------------------------------------------------ token buckets

---@class perigee.BucketLimit
---@field rate number tokens a second
---@field burst? number tokens that the bucket holds; by default those of one second, and at least 1
---@field cost? number tokens of one take; 1 by default

--- Takes from the token bucket at `key`, which begins full; all workers share it, exactly. Makes no garbage.
---@param key string
---@param limit perigee.BucketLimit keep it: it is read, not stored
---@return boolean|nil is_admitted nil when it cannot be said
---@return number|string remaining tokens left, or a message
---@return number|string retry_after seconds until the same take can succeed (0 when it did, math.huge for never), or a code
---@return number|nil reset seconds until the bucket is full
function Dict:take(key, limit)
    check_key(key)
    local rate, burst, cost = limit.rate, limit.burst, limit.cost or 1
    if type(rate) ~= "number" or not (rate > 0 and rate < huge) then
        error("limit.rate is a number of tokens a second above 0, not " .. tostring(rate), 2)
    end
    burst = burst or (rate > 1 and rate or 1)
    if type(burst) ~= "number" or not (burst > 0 and burst < huge) then
        error("limit.burst is a number of tokens above 0, not " .. tostring(burst), 2)
    end
    if type(cost) ~= "number" or not (cost >= 0 and cost < huge) then
        error("limit.cost is a number of tokens, not " .. tostring(cost), 2)
    end
    local code = C.peri_ffi_shared_take(ids[self], key, #key, rate, burst, cost, bucket)
    if code < 0 then
        return refusal(code, key)
    end
    return code == 1, bucket.remaining, bucket.retry_after, bucket.reset
end

-- ------------------------------------------------------------------ the whole dictionary

--- Keys of live entries, in no order. It visits everything: for people and tests, not for requests.
---@param limit? integer most keys; 1000 by default, at most 4096
---@return string[] keys
function Dict:keys(limit)
    limit = limit or KEYS_DEFAULT
    if type(limit) ~= "number" or not (limit >= 1 and limit <= KEYS_MAX) then
        error("the limit is a number from 1 to " .. KEYS_MAX .. ", not " .. tostring(limit), 2)
    end
    local size = limit * (KEY_MAX + 2)
    local out = ffi_new("char[?]", size)
    local keys, at = {}, 0
    for i = 1, C.peri_ffi_shared_keys(ids[self], limit, out, size) do
        ffi.copy(key_length, out + at, 2)
        keys[i] = ffi_string(out + at + 2, key_length[0])
        at = at + 2 + key_length[0]
    end
    return keys
end

--- Removes every entry.
function Dict:flush()
    C.peri_ffi_shared_flush(ids[self])
end

-- ------------------------------------------------------------------ the module

local shared = {}
local dicts = {} -- by name; as many as the memory has names for

--- The dictionary of this name, the same for every policy, worker and generation. Also `perigee.shared "name"`.
---@param name string 1 to 64 bytes; those that begin with "perigee:" are the runtime's own
---@return perigee.Dict
function shared.open(name)
    local dict = dicts[name]
    if dict then
        return dict
    end
    if type(name) ~= "string" or #name < 1 or #name > 64 then
        error("the name of a shared dictionary is a string of 1 to 64 bytes", 2)
    elseif name:find("perigee:", 1, true) == 1 then
        error("shared dictionaries whose names begin with 'perigee:' are the runtime's own", 2)
    end
    local id = C.peri_ffi_shared_open(name, #name)
    if id < 0 then
        error("there are too many shared dictionaries: '" .. name .. "' would be one more than 256", 2)
    end
    dict = setmetatable({}, meta)
    ids[dict], names[dict], dicts[name] = id, name, dict
    return dict
end

return setmetatable(shared, {
    __call = function(_, name)
        return shared.open(name)
    end,
    __metatable = "perigee.shared",
})
