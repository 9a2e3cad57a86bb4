-- SPDX-License-Identifier: MIT
--
-- perigee.redis: commands to a Redis server that others wait for, not the worker:
--
--   local redis = perigee.redis { address = "127.0.0.1:6379", timeout = "100ms" }
--   local name, message = redis:call("GET", "user:7")
--
-- Make the object once, at the top of a module or in init(); it connects when it is first used. In each worker, objects with
-- the same settings share one connection, on which commands follow one another without waiting for replies. So commands that
-- change the connection or block it (SELECT, SUBSCRIBE, MULTI, BLPOP, …) are refused: what must happen at once belongs in a
-- script (`eval`).
--
-- A call takes `timeout` at most. While the server is known to be away, calls fail at once; it is tried again after 100 ms, later
-- after 2 s.

local ffi = require "ffi"
local address = require "perigee._core.address"
local async = require "perigee._core.async"
local duration = require "perigee._core.duration"
local object = require "perigee._core.object"

local C, type, error, tostring, select, pairs = ffi.C, type, error, tostring, select, pairs
local ffi_string, ffi_new, inside = ffi.string, ffi.new, object.inside

local STRING, INTEGER, ERROR, ARRAY =
    C.PERI_FFI_REDIS_STRING, C.PERI_FFI_REDIS_INTEGER, C.PERI_FFI_REDIS_ERROR, C.PERI_FFI_REDIS_ARRAY
local ARGS_MAX, BYTES_MAX, HASHES_MAX = 1024, 1024 * 1024, 64
local TEXT_MAX = 1024 -- bytes of names and passwords

local REFUSED = {}
for name in ([[AUTH BLMOVE BLMPOP BLPOP BRPOP BRPOPLPUSH BZMPOP BZPOPMAX BZPOPMIN CLIENT DISCARD EXEC HELLO MONITOR
    MULTI PSUBSCRIBE PSYNC PUNSUBSCRIBE QUIT READONLY READWRITE REPLICAOF RESET SELECT SHUTDOWN SLAVEOF SSUBSCRIBE
    SUBSCRIBE SUNSUBSCRIBE SYNC UNSUBSCRIBE UNWATCH WAIT WATCH]]):gmatch("%u+") do
    REFUSED[name] = true
end

-- ------------------------------------------------------------------ replies

local value = ffi_new("struct peri_ffi_redis_value")

-- The value at `at` and where the next one begins. Nothing yields in between.
local function read(at)
    C.peri_ffi_redis_value(at, value)
    local kind = value.type
    if kind == STRING then
        return ffi_string(value.text.ptr, value.text.len), at + 1
    elseif kind == INTEGER then
        return value.number, at + 1
    elseif kind == ERROR then
        return { error = ffi_string(value.text.ptr, value.text.len) }, at + 1
    elseif kind ~= ARRAY then
        return false, at + 1
    end
    local list, count = {}, value.count
    at = at + 1
    for i = 1, count do
        list[i], at = read(at)
    end
    return list, at
end

-- nil at the root is nil; an error there is one of the call.
local function read_reply()
    C.peri_ffi_redis_value(0, value)
    if value.type == ERROR then
        local text = ffi_string(value.text.ptr, value.text.len)
        return nil, text, text:match("^%u[%u%d]*") or "ERR"
    elseif value.type == C.PERI_FFI_REDIS_NIL then
        return nil
    end
    return (read(0))
end

-- Message and code of what goes wrong between here and the server.
local FAILURES = {
    connect_failed = { "Redis cannot be reached", "unavailable" },
    resolve_failed = { "the name of the Redis server cannot be resolved", "unavailable" },
    connect_timeout = { "Redis cannot be reached in time", "timeout" },
    upstream_timeout = { "Redis did not answer in time", "timeout" },
    upstream_reset = { "Redis closed the connection", "closed" },
    upstream_protocol = { "Redis answered what is no reply", "protocol" },
    response_too_large = { "the reply of Redis is too large", "too_large" },
    upstream_overflow = { "too many commands wait for Redis", "overflow" },
    out_of_memory = { "there is no memory", "no_memory" },
}

local function failure(this, code)
    local name = ffi_string(C.peri_ffi_error_name(code))
    if name == "closed" then
        local text = ffi_new("struct peri_ffi_str[1]")
        C.peri_ffi_redis_refusal(this.target, text)
        return nil, "Redis refuses the connection: " .. ffi_string(text[0].ptr, text[0].len), "refused"
    end
    local known = FAILURES[name]
    return nil, known and known[1] or ffi_string(C.peri_ffi_error_text(code)), known and known[2] or name
end

-- ------------------------------------------------------------------ calls

---@class perigee.Redis
local Redis, new_redis = object.class "perigee.Redis"

-- Another object of the SDK has no server.
local function own(self)
    local this = inside(self)
    return this.target and this or error("this is a method of perigee.redis { … }", 3)
end

local function check_command(args, count)
    local name = args[1]
    if type(name) ~= "string" then
        error("redis:call expects the name of a command, not a " .. type(name), 3)
    elseif REFUSED[name:upper()] then
        error("redis:call: " .. name:upper() .. " would change or block a connection that others share", 3)
    elseif count > ARGS_MAX then
        error("redis:call: a command has at most " .. ARGS_MAX .. " arguments", 3)
    end
end

-- The arguments as the runtime takes them. What is no string is written into `args`, which keeps it alive.
local function to_array(args, count)
    local array, bytes = ffi_new("struct peri_ffi_str[?]", count), 0
    for i = 1, count do
        local arg = args[i]
        if type(arg) == "number" then
            arg = arg % 1 == 0 and arg > -1e15 and arg < 1e15 and ("%d"):format(arg) or ("%.17g"):format(arg)
            args[i] = arg
        elseif type(arg) ~= "string" then
            error("redis:call: argument " .. i - 1 .. " is a " .. type(arg) .. ", not a string or a number", 3)
        end
        array[i - 1].ptr, array[i - 1].len = arg, #arg
        bytes = bytes + #arg
    end
    return bytes <= BYTES_MAX and array or nil
end

local function send(this, args, count)
    check_command(args, count)
    local array = to_array(args, count)
    if not array then
        return nil, "the command is larger than " .. BYTES_MAX .. " bytes", "too_large"
    end
    local code = C.peri_ffi_redis_call(this.target, array, count)
    if code ~= 0 and C.peri_ffi_can_wait() ~= 0 then
        return failure(this, code)
    end
    code = async.wait(code, "redis:call")
    if code ~= 0 then
        return failure(this, code)
    end
    return read_reply()
end

--- Sends a command and waits for its reply; other requests go on meanwhile. Strings and states are strings, integers
--- numbers, arrays lists; nil is nil, and false inside a list. An error inside a list is a table { error = message }.
---@param name string such as "GET"
---@param ... string|number arguments
---@return string|number|table|nil reply nil without a message: Redis said nil
---@return string|nil message
---@return string|nil code of Redis ("WRONGTYPE"), or "unavailable", "timeout", "closed", "refused", "overflow", …
function Redis:call(name, ...)
    return send(own(self), { name, ... }, select("#", ...) + 1)
end

-- The digest of a script; scripts are few and constant, and forgotten when they are not.
local function digest_of(this, script)
    local digest = this.digests[script]
    if not digest then
        local crypto = require "perigee.crypto"
        digest = crypto.to_hex(crypto.hash("sha1", script))
        this.count = this.count + 1
        if this.count > HASHES_MAX then
            this.digests, this.count = {}, 1
        end
        this.digests[script] = digest
    end
    return digest
end

local function append(args, list, what)
    if list == nil then
        return
    elseif type(list) ~= "table" then
        error("redis:eval: " .. what .. " are a list, not a " .. type(list), 3)
    end
    for i = 1, #list do
        if type(list[i]) ~= "string" and type(list[i]) ~= "number" then
            error("redis:eval: " .. what .. " are strings or numbers, not a " .. type(list[i]), 3)
        end
        args[#args + 1] = list[i]
    end
end

--- Runs a Lua script on the server, in one step that nobody else's commands interrupt. It is sent by its digest, and as a
--- whole only when the server does not know it.
---@param script string constant text; what changes belongs in `keys` and `args`
---@param keys? string[] KEYS of the script
---@param args? (string|number)[] ARGV of the script
---@return string|number|table|nil reply as from `call`
---@return string|nil message
---@return string|nil code
function Redis:eval(script, keys, args)
    local this = own(self)
    if type(script) ~= "string" then
        error("redis:eval expects a script, not a " .. type(script), 2)
    end
    local command = { "EVALSHA", digest_of(this, script), keys and #keys or 0 }
    append(command, keys, "keys")
    append(command, args, "arguments")
    local reply, message, code = send(this, command, #command)
    if code ~= "NOSCRIPT" then
        return reply, message, code
    end
    command[1], command[2] = "EVAL", script
    return send(this, command, #command)
end

-- ------------------------------------------------------------------ settings

---@class perigee.RedisOptions
---@field address string "host:port" or "unix:/path"
---@field user? string name for AUTH; without it the default user
---@field password? string
---@field database? integer 0 by default
---@field timeout? string|number of each call, connecting included: "100ms", or seconds; 100 ms by default

local KNOWN = { address = "string", user = "string", password = "string", database = "number" }

local function check_options(options)
    if type(options) ~= "table" then
        error("perigee.redis expects settings such as { address = \"127.0.0.1:6379\" }", 3)
    end
    for name, setting in pairs(options) do
        local kind = KNOWN[name]
        if name ~= "timeout" and type(setting) ~= kind then
            local problem = kind and "' is a " .. kind .. ", not a " .. type(setting) or "' is no setting"
            error("perigee.redis: '" .. tostring(name) .. problem, 3)
        elseif kind == "string" and (setting == "" or #setting > TEXT_MAX) then
            error("perigee.redis: '" .. name .. "' has 1 to " .. TEXT_MAX .. " bytes", 3)
        end
    end
end

local function check_database(number)
    if number < 0 or number > 65535 or number % 1 ~= 0 then
        error("perigee.redis: 'database' is a whole number from 0", 3)
    end
    return number
end

local function check_timeout(timeout)
    local seconds = type(timeout) == "string" and duration.parse(timeout) or timeout
    if type(seconds) ~= "number" or not (seconds >= 0.001 and seconds <= 3600) then
        error("perigee.redis: 'timeout' is " .. duration.example .. " or a number of seconds, 1ms to 1h", 3)
    end
    return seconds
end

local function check_address(text)
    local parts, message = address.parse_remote(text or "")
    if not parts then
        error("perigee.redis: 'address': " .. message, 3)
    end
    local host = parts.kind == "unix" and parts.path or parts.kind == "ipv6" and "[" .. parts.host .. "]" or parts.host
    return host, parts.port or 0
end

local function set(slot, text)
    slot.ptr, slot.len = text, #text
    return text
end

local redis = {}

--- A server. Also `perigee.redis { … }`.
---@param options perigee.RedisOptions
---@return perigee.Redis
function redis.new(options)
    check_options(options)
    local host, port = check_address(options.address)
    local target = ffi_new("struct peri_ffi_redis")
    target.port, target.database = port, check_database(options.database or 0)
    target.timeout = check_timeout(options.timeout or 0.1)
    return new_redis {
        target = target,
        digests = {}, count = 0,
        -- The runtime has pointers to these only.
        host = set(target.host, host),
        user = set(target.user, options.user or ""),
        password = set(target.password, options.password or ""),
    }
end

return setmetatable(redis, {
    __call = function(_, options)
        return redis.new(options)
    end,
    __metatable = "perigee.redis",
})
