---@meta
-- Made by tools/stubs.py from the annotations in lua/perigee/. Editors read it; it is never run.
--
-- What `require "perigee"` gives to policies and configurations.

---@class perigee
---@field worker integer number of this worker, from 0
---@field base64 perigee.base64.module
---@field cache perigee.cache.module
---@field crypto perigee.crypto.module
---@field http perigee.http.module
---@field ip perigee.ip.module
---@field json perigee.json.module
---@field jwt perigee.jwt.module
---@field log perigee.log.module
---@field metrics perigee.metrics.module
---@field redis perigee.redis.module
---@field regex perigee.regex.module
---@field shared perigee.shared.module
---@field time perigee.time.module
---@field timer perigee.timer.module
---@field upstream perigee.upstream.module
---@field uri perigee.uri.module
local perigee = {}

--- Makes an answer that says what went wrong, in the form of the proxy's own errors: a problem document (RFC 9457).
---@param status integer 400 to 599
---@param detail? string a sentence for the client about this very case
---@param extra? table<string, any> further members of the document; `type` and `title` replace the defaults
---@return perigee.Reply
function perigee.problem(status, detail, extra) end

--- Makes an answer.
---@param status integer 200 to 599
---@param body? string|table
---@param headers? table<string, string|number|(string|number)[]>
---@return perigee.Reply
function perigee.reply(status, body, headers) end

--- Waits for `seconds`; other requests go on meanwhile.
---@param seconds number
function perigee.sleep(seconds) end

--- Starts a function beside the caller; it ends with the exchange, if there is one.
---@param call function
---@param ... any its arguments
---@return perigee.Task
function perigee.spawn(call, ...) end

--- Waits for the end of a task; as task:wait(seconds).
---@param object perigee.Task
---@param seconds? number
---@return any ... as task:wait(seconds)
function perigee.wait(object, seconds) end

--- Declares a policy; see perigee/policy.lua.
---@param declared perigee.Declaration
---@return perigee.Policy
function perigee.policy(declared) end

return perigee
