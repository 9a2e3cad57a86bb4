-- SPDX-License-Identifier: MIT
--
-- What several machines count together through Redis: a script on the server, and the setting `redis` of policies that use it.
-- Every trouble with the server is answered by nil, so that the caller does without; the log is told once when that begins and
-- once when it ends.

local log = require "perigee.log"
local redis = require "perigee.redis"

local type = type

local remote = {}

local function check_address(text)
    local ok, message = pcall(redis, { address = text })
    return not ok and message:gsub("^.*'address': ", "") or nil
end

--- Fields of the setting `redis`.
---@return table<string, table>
function remote.fields()
    return {
        address = {
            type = "string", required = true, check = check_address, doc = "`\"host:port\"` or `\"unix:/path\"`.",
        },
        user = { type = "string", min = 1, max = 1024, doc = "Name for `AUTH`. Without it: the default user." },
        password = { type = "string", min = 1, max = 1024, secret = true, doc = "For `AUTH`." },
        database = { type = "integer", min = 0, max = 65535, default = 0, doc = "Number of the database." },
        timeout = {
            type = "duration", min = "1ms", max = "10s", default = "100ms",
            doc = "How long a request waits for Redis before it does without.",
        },
        prefix = { type = "string", default = "perigee:", max = 100, doc = "What keys in Redis begin with." },
    }
end

---@class perigee.RemoteOptions
---@field settings table the setting `redis`
---@field prefix string what keys begin with, behind the prefix of the setting
---@field script string
---@field read fun(reply: any): any a boolean and up to three numbers that a reply of the script says; nil when it is none
---@field limit string name of the limit in the log and in metrics
---@field without perigee.Counter counts the requests that did without the server, by limit
---@field meanwhile string what happens to them, for the log

--- A script on a server.
---@param options perigee.RemoteOptions
---@return table
function remote.new(options)
    local settings = options.settings
    return {
        client = redis {
            address = settings.address, user = settings.user, password = settings.password,
            database = settings.database, timeout = settings.timeout,
        },
        prefix = settings.prefix .. options.prefix, script = options.script, read = options.read,
        labels = { options.limit }, without = options.without, meanwhile = options.meanwhile, is_away = false,
    }
end

local function note(self, is_away, message)
    if is_away then
        self.without:inc(1, self.labels)
    end
    if self.is_away == is_away then
        return
    end
    self.is_away = is_away
    if is_away then
        log.warn("Redis is away: " .. self.meanwhile, { limit = self.labels[1], reason = message })
    else
        log.info("Redis is back", { limit = self.labels[1] })
    end
end

-- Is it a number to count with, or nothing? "nan" and "inf" are numbers to tonumber, and admit everybody or nobody.
local function is_fine(value)
    return value == nil or type(value) == "number" and value - value == 0
end

--- Runs the script on one key and gives what `read` makes of the reply: whether, and up to three finite numbers.
---@param self table
---@param key string
---@param arguments string[]
---@return boolean|nil first nil: the server is away
---@return number|nil second
---@return number|nil third
---@return number|nil fourth
function remote.ask(self, key, arguments)
    local reply, message = self.client:eval(self.script, { self.prefix .. key }, arguments)
    local first, second, third, fourth = self.read(reply)
    if not (is_fine(second) and is_fine(third) and is_fine(fourth)) then
        first, second, third, fourth = nil, nil, nil, nil
    end
    note(self, first == nil, message or "it answered something else")
    return first, second, third, fourth
end

return remote
