---@meta
-- Made by tools/stubs.py from the annotations in lua/perigee/. Editors read it; it is never run.
--
-- perigee.shared: dictionaries that all workers see and that outlive reloads: `local hits = perigee.shared "hits"`. Keys are
-- strings of at most 256 bytes; values are strings of at most 64 KiB, numbers or booleans. Each operation is atomic among all
-- workers. Times to live are in seconds. When the memory is full the entries used least recently give way, so this is a place for
-- counters, sessions and caches, not for what must never be lost.
--
-- An operation that cannot be done for its data (a key from a request that is too long, a counter on a string) gives nil, a
-- message and a code; one that is called wrongly raises an error.

---@class perigee.Dict
local Dict = {}

--- The value of an entry; nil when there is none.
---@param key string
---@return string|number|boolean|nil value
---@return string|nil message
---@return string|nil code
function Dict:get(key) end

--- Stores a value, whatever was there; nil removes the entry.
---@param key string
---@param content string|number|boolean|nil
---@param ttl? number seconds to live; for ever by default
---@return boolean|nil is_stored
---@return string|nil message
---@return string|nil code
function Dict:set(key, content, ttl) end

--- Stores a value when there is no entry; false when there is one.
---@param key string
---@param content string|number|boolean
---@param ttl? number seconds to live; for ever by default
---@return boolean|nil is_stored
---@return string|nil message
---@return string|nil code
function Dict:add(key, content, ttl) end

--- Stores a value when there is an entry; false when there is none.
---@param key string
---@param content string|number|boolean
---@param ttl? number seconds to live; for ever by default
---@return boolean|nil is_stored
---@return string|nil message
---@return string|nil code
function Dict:replace(key, content, ttl) end

--- Stores a value when the entry is what the caller thinks it is; false when it is not. nil stands for no entry on both sides.
---@param key string
---@param old string|number|boolean|nil
---@param new string|number|boolean|nil
---@param ttl? number seconds to live; for ever by default
---@return boolean|nil is_stored
---@return string|nil message
---@return string|nil code
function Dict:cas(key, old, new, ttl) end

--- Adds to a number and gives the sum. An absent entry begins as `init`, and lives for `ttl`; one that is there keeps its time,
--- which makes a counter with a time to live a fixed window.
---@param key string
---@param by? number 1 by default
---@param init? number 0 by default
---@param ttl? number seconds to live; for ever by default
---@return number|nil sum
---@return string|nil message
---@return string|nil code
function Dict:incr(key, by, init, ttl) end

--- Removes an entry; false when there was none.
---@param key string
---@return boolean was_there
function Dict:delete(key) end

--- Seconds that an entry has to live; math.huge when for ever, nil when there is no entry.
---@param key string
---@return number|nil seconds
function Dict:ttl(key) end

--- Gives an entry another time to live, from now; false when there is no entry.
---@param key string
---@param ttl? number seconds; for ever by default
---@return boolean was_there
function Dict:expire(key, ttl) end

--- Takes from the token bucket at `key`, which begins full; all workers share it, exactly. Makes no garbage.
---@param key string
---@param limit perigee.BucketLimit keep it: it is read, not stored
---@return boolean|nil is_admitted nil when it cannot be said
---@return number|string remaining tokens left, or a message
---@return number|string retry_after seconds until the same take can succeed (0 when it did, math.huge for never), or a code
---@return number|nil reset seconds until the bucket is full
function Dict:take(key, limit) end

--- Keys of live entries, in no order. It visits everything: for people and tests, not for requests.
---@param limit? integer most keys; 1000 by default, at most 4096
---@return string[] keys
function Dict:keys(limit) end

--- Removes every entry.
function Dict:flush() end

---@class perigee.BucketLimit
---@field rate number tokens a second
---@field burst? number tokens that the bucket holds; by default those of one second, and at least 1
---@field cost? number tokens of one take; 1 by default
local BucketLimit = {}

---@class perigee.shared.module
---@overload fun(name: string): perigee.Dict
local shared = {}

--- The dictionary of this name, the same for every policy, worker and generation. Also `perigee.shared "name"`.
---@param name string 1 to 64 bytes; those that begin with "perigee:" are the runtime's own
---@return perigee.Dict
function shared.open(name) end

return shared
