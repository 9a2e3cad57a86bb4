---@meta
-- Made by tools/stubs.py from the annotations in lua/perigee/. Editors read it; it is never run.
--
-- perigee.redis: commands to a Redis server that others wait for, not the worker:
--
-- local redis = perigee.redis { address = "127.0.0.1:6379", timeout = "100ms" }
-- local name, message = redis:call("GET", "user:7")
--
-- Make the object once, at the top of a module or in init(); it connects when it is first used. In each worker, objects with
-- the same settings share one connection, on which commands follow one another without waiting for replies. So commands that
-- change the connection or block it (SELECT, SUBSCRIBE, MULTI, BLPOP, …) are refused: what must happen at once belongs in a
-- script (`eval`).
--
-- A call takes `timeout` at most. While the server is known to be away, calls fail at once; it is tried again after 100 ms, later
-- after 2 s.

---@class perigee.Redis
local Redis = {}

--- Sends a command and waits for its reply; other requests go on meanwhile. Strings and states are strings, integers
--- numbers, arrays lists; nil is nil, and false inside a list. An error inside a list is a table { error = message }.
---@param name string such as "GET"
---@param ... string|number arguments
---@return string|number|table|nil reply nil without a message: Redis said nil
---@return string|nil message
---@return string|nil code of Redis ("WRONGTYPE"), or "unavailable", "timeout", "closed", "refused", "overflow", …
function Redis:call(name, ...) end

--- Runs a Lua script on the server, in one step that nobody else's commands interrupt. It is sent by its digest, and as a
--- whole only when the server does not know it.
---@param script string constant text; what changes belongs in `keys` and `args`
---@param keys? string[] KEYS of the script
---@param args? (string|number)[] ARGV of the script
---@return string|number|table|nil reply as from `call`
---@return string|nil message
---@return string|nil code
function Redis:eval(script, keys, args) end

---@class perigee.RedisOptions
---@field address string "host:port" or "unix:/path"
---@field user? string name for AUTH; without it the default user
---@field password? string
---@field database? integer 0 by default
---@field timeout? string|number of each call, connecting included: "100ms", or seconds; 100 ms by default
local RedisOptions = {}

---@class perigee.redis.module
local redis = {}

--- A server. Also `perigee.redis { … }`.
---@param options perigee.RedisOptions
---@return perigee.Redis
function redis.new(options) end

return redis
