---@meta
-- Made by tools/stubs.py from the annotations in lua/perigee/. Editors read it; it is never run.
--
-- What several machines count together through Redis: a script on the server, and the setting `redis` of policies that use it.
-- Every trouble with the server is answered by nil, so that the caller does without; the log is told once when that begins and
-- once when it ends.

---@class perigee.RemoteOptions
---@field settings table the setting `redis`
---@field prefix string what keys begin with, behind the prefix of the setting
---@field script string
---@field read fun(reply: any): any a boolean and up to three numbers that a reply of the script says; nil when it is none
---@field limit string name of the limit in the log and in metrics
---@field without perigee.Counter counts the requests that did without the server, by limit
---@field meanwhile string what happens to them, for the log
local RemoteOptions = {}

---@class perigee.algo.remote.module
local remote = {}

--- Fields of the setting `redis`.
---@return table<string, table>
function remote.fields() end

--- A script on a server.
---@param options perigee.RemoteOptions
---@return table
function remote.new(options) end

--- Runs the script on one key and gives what `read` makes of the reply: whether, and up to three finite numbers.
---@param self table
---@param key string
---@param arguments string[]
---@return boolean|nil first nil: the server is away
---@return number|nil second
---@return number|nil third
---@return number|nil fourth
function remote.ask(self, key, arguments) end

return remote
