---@meta
-- Made by tools/stubs.py from the annotations in lua/perigee/. Editors read it; it is never run.
--
-- How policies refuse what may well pass in a moment: 429 or 503 with `Retry-After`, a problem document and a flag in the access
-- log. Refusals are many when they matter, so the document is ready but for the id of the request.

---@class perigee.Refusal
---@field status integer
---@field text string the document up to the id
---@field flag string|nil of the access log
local Refusal = {}

---@class perigee.algo.try_later.module
local try_later = {}

--- What does not change from request to request.
---@param status 429|503
---@param kind string `type` of the problem, a URN
---@param detail string a sentence for the client
---@param flag? "RLSE"|"UO" why, in the letters of `req:flag`; 429 says it by itself
---@return perigee.Refusal
function try_later.new(status, kind, detail, flag) end

--- Header fields of a refusal.
---@param wait number seconds until it is worth another try; at least 1 is told
---@return table<string, string|number>
function try_later.headers(wait) end

--- The refusal of a request.
---@param refusal perigee.Refusal
---@param req perigee.Request
---@param headers? table<string, string|number> those of try_later.headers and more; without it: try again in a second
---@return perigee.Reply
function try_later.refuse(refusal, req, headers) end

return try_later
