-- SPDX-License-Identifier: MIT
--
-- What the fake Redis can do. A command is a function of the database and its arguments; replies are values as Redis' own
-- Lua scripts see them: strings, integers, false for nil, { ok = text }, { err = text }, lists.

local clock = require "perigee.test._core.clock"
local testing = require "perigee._core.testing"

local commands = {}

local OK = { ok = "OK" }
local WRONG_TYPE = { err = "WRONGTYPE Operation against a key holding the wrong kind of value" }
local NO_INTEGER = { err = "ERR value is not an integer or out of range" }
local SYNTAX = { err = "ERR syntax error" }

--- What a database holds: entries by key, each { value = string or table, expires = ms of the loop or nil }.
---@class perigee.test.RedisDatabase
---@field entries table<string, table>
---@field server perigee.test.Redis

local function find(db, key)
    local entry = db.entries[key]
    if entry and entry.expires and entry.expires <= testing.now_ms() then
        db.entries[key] = nil
        return nil
    end
    return entry
end

local function integer_of(text)
    return text:find("^-?%d+$") and tonumber(text) or nil
end

local function set_expiry(entry, ms)
    entry.expires = testing.now_ms() + ms
end

-- ---------------------------------------------------------------- strings

local calls = {}

function calls.GET(db, key)
    local entry = find(db, key)
    if entry and type(entry.value) ~= "string" then
        return WRONG_TYPE
    end
    return entry and entry.value or false
end

local UNITS = { EX = 1000, PX = 1 }

local function set_options(list)
    local options, at = {}, 1
    while list[at] do
        local name = list[at]:upper()
        if UNITS[name] then
            local count = integer_of(list[at + 1] or "")
            if not count or count <= 0 then
                return nil
            end
            options.ms, at = count * UNITS[name], at + 1
        elseif name == "NX" or name == "XX" or name == "KEEPTTL" then
            options[name] = true
        else
            return nil
        end
        at = at + 1
    end
    return options
end

function calls.SET(db, key, value, ...)
    local options, entry = set_options { ... }, find(db, key)
    if not options then
        return SYNTAX
    elseif options.NX and entry or options.XX and not entry then
        return false
    end
    db.entries[key] = { value = value, expires = options.KEEPTTL and entry and entry.expires or nil }
    if options.ms then
        set_expiry(db.entries[key], options.ms)
    end
    return OK
end

function calls.DEL(db, ...)
    local count = 0
    for _, key in ipairs { ... } do
        count = count + (find(db, key) and 1 or 0)
        db.entries[key] = nil
    end
    return count
end

function calls.EXISTS(db, ...)
    local count = 0
    for _, key in ipairs { ... } do
        count = count + (find(db, key) and 1 or 0)
    end
    return count
end

function calls.INCRBY(db, key, by)
    local entry = find(db, key)
    if entry and type(entry.value) ~= "string" then
        return WRONG_TYPE
    end
    local old, step = integer_of(entry and entry.value or "0"), integer_of(by)
    if not old or not step then
        return NO_INTEGER
    end
    entry = entry or {}
    entry.value, db.entries[key] = ("%d"):format(old + step), entry
    return old + step
end

function calls.INCR(db, key)
    return calls.INCRBY(db, key, "1")
end

function calls.DECR(db, key)
    return calls.INCRBY(db, key, "-1")
end

-- ---------------------------------------------------------------- times to live

function calls.PEXPIRE(db, key, ms)
    local entry, count = find(db, key), integer_of(ms)
    if not count then
        return NO_INTEGER
    elseif entry then
        set_expiry(entry, count)
    end
    return entry and 1 or 0
end

function calls.EXPIRE(db, key, seconds)
    local count = integer_of(seconds)
    return count and calls.PEXPIRE(db, key, count * 1000 .. "") or NO_INTEGER
end

function calls.PTTL(db, key)
    local entry = find(db, key)
    return entry and (entry.expires and entry.expires - testing.now_ms() or -1) or -2
end

function calls.TTL(db, key)
    local ms = calls.PTTL(db, key)
    return ms < 0 and ms or math.floor((ms + 500) / 1000)
end

function calls.TIME()
    local now = clock.now()
    return { ("%d"):format(now), ("%d"):format(now % 1 * 1e6 + 0.5) }
end

-- ---------------------------------------------------------------- hashes

local function hash_of(db, key)
    local entry = find(db, key)
    if entry and type(entry.value) ~= "table" then
        return nil, WRONG_TYPE
    end
    return entry and entry.value or {}
end

function calls.HGET(db, key, field)
    local hash, problem = hash_of(db, key)
    return problem or hash[field] or false
end

function calls.HSET(db, key, ...)
    local hash, problem = hash_of(db, key)
    local list, added = { ... }, 0
    if problem or #list == 0 or #list % 2 == 1 then
        return problem or { err = "ERR wrong number of arguments for 'hset' command" }
    end
    for i = 1, #list, 2 do
        added = added + (hash[list[i]] and 0 or 1)
        hash[list[i]] = list[i + 1]
    end
    db.entries[key] = db.entries[key] or { value = hash }
    return added
end

function calls.HGETALL(db, key)
    local hash, problem = hash_of(db, key)
    local names, list = {}, {}
    for name in pairs(hash or {}) do
        names[#names + 1] = name
    end
    table.sort(names)
    for _, name in ipairs(names) do
        list[#list + 1], list[#list + 2] = name, hash[name]
    end
    return problem or list
end

-- ---------------------------------------------------------------- scripts

local LIBRARIES = { "math", "string", "table" }
local FUNCTIONS = {
    "assert", "error", "ipairs", "next", "pairs", "pcall", "select", "tonumber", "tostring", "type", "unpack", "xpcall",
}

-- What a script gets back, and what it gives.
local function to_redis(value)
    local kind = type(value)
    if kind == "number" then
        return value < 0 and math.ceil(value) or math.floor(value)
    elseif kind == "boolean" or kind == "nil" then
        return value and 1 or false
    elseif kind ~= "table" or value.ok or value.err then
        return value
    end
    local list = {}
    for i, item in ipairs(value) do
        list[i] = to_redis(item)
    end
    return list
end

local function environment(db, keys, arguments)
    local env = { KEYS = keys, ARGV = arguments, redis = {} }
    for _, name in ipairs(FUNCTIONS) do
        env[name] = _G[name]
    end
    for _, name in ipairs(LIBRARIES) do
        env[name] = setmetatable({}, { __index = _G[name] })
    end
    function env.redis.pcall(...)
        local args = { ... }
        for i, arg in ipairs(args) do
            args[i] = type(arg) == "number" and ("%.17g"):format(arg) or arg
        end
        return commands.run(db, args)
    end
    function env.redis.call(...)
        local reply = env.redis.pcall(...)
        if type(reply) == "table" and reply.err then
            error(reply, 0)
        end
        return reply
    end
    function env.redis.error_reply(text) return { err = text } end
    function env.redis.status_reply(text) return { ok = text } end
    return env
end

local function run_script(db, script, count, ...)
    local number = integer_of(count or "")
    local chunk, message = loadstring(script, "@user_script")
    if not chunk then
        return { err = "ERR Error compiling script (new function): " .. message }
    elseif not number or number < 0 or number > select("#", ...) then
        return { err = "ERR Number of keys can't be greater than number of args" }
    end
    local list, keys, arguments = { ... }, {}, {}
    for i, text in ipairs(list) do
        if i <= number then
            keys[i] = text
        else
            arguments[i - number] = text
        end
    end
    local ok, value = pcall(setfenv(chunk, environment(db, keys, arguments)))
    if ok then
        return to_redis(value)
    end
    return type(value) == "table" and value or { err = "ERR " .. tostring(value) }
end

local function digest_of(script)
    local crypto = require "perigee.crypto"
    return crypto.to_hex(crypto.hash("sha1", script))
end

function calls.EVAL(db, script, ...)
    db.server.scripts[digest_of(script)] = script
    return run_script(db, script, ...)
end

function calls.EVALSHA(db, digest, ...)
    local script = db.server.scripts[digest:lower()]
    return script and run_script(db, script, ...) or { err = "NOSCRIPT No matching script. Please use EVAL." }
end

function calls.SCRIPT(db, what, script)
    if what:upper() == "FLUSH" then
        db.server.scripts = {}
        return OK
    elseif what:upper() ~= "LOAD" or not script then
        return SYNTAX
    end
    db.server.scripts[digest_of(script)] = script
    return digest_of(script)
end

-- ---------------------------------------------------------------- the server

function calls.PING()
    return { ok = "PONG" }
end

function calls.FLUSHALL(db)
    db.server:_flush()
    return OK
end

local LEAST = {
    GET = 1, SET = 2, DEL = 1, EXISTS = 1, INCR = 1, INCRBY = 2, DECR = 1, EXPIRE = 2, PEXPIRE = 2, TTL = 1, PTTL = 1,
    HGET = 2, HSET = 3, HGETALL = 1, EVAL = 2, EVALSHA = 2, SCRIPT = 1,
}

--- Carries out a command: its name and arguments as a list of strings.
---@param db perigee.test.RedisDatabase
---@param args string[]
---@return any reply
function commands.run(db, args)
    local name = tostring(args[1]):upper()
    local call = calls[name]
    if not call then
        return { err = "ERR unknown command '" .. tostring(args[1]) .. "', which the fake does not know" }
    elseif #args - 1 < (LEAST[name] or 0) then
        return { err = "ERR wrong number of arguments for '" .. name:lower() .. "' command" }
    end
    return call(db, unpack(args, 2))
end

return commands
