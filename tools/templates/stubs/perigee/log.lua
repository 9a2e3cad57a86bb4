---@meta
-- Made by tools/stubs.py from the annotations in lua/perigee/. Editors read it; it is never run.
--
-- perigee.log: messages of policies in the runtime's log, with the policy's name in front. Fields follow the message as
-- name=value, in the order of their names; texts are quoted. Control bytes are escaped by the log itself, so a value from a
-- request cannot begin a line of its own. Never log a secret.


---@class perigee.log.module
local log = {}

--- For whoever looks for a fault; off by default.
---@param message string
---@param fields? table<string, any>
function log.debug(message, fields) end

--- What an operator may want to know.
---@param message string
---@param fields? table<string, any>
function log.info(message, fields) end

--- What an operator should look at.
---@param message string
---@param fields? table<string, any>
function log.warn(message, fields) end

--- What does not work.
---@param message string
---@param fields? table<string, any>
function log.error(message, fields) end

return log
