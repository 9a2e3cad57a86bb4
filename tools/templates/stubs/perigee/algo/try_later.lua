---@meta
-- Made by tools/stubs.py from the annotations in lua/perigee/. Editors read it; it is never run.
--
-- How policies refuse what may well pass in a moment: 503 with `Retry-After: 1` and a problem document.


---@class perigee.algo.try_later.module
local try_later = {}

--- The refusal of a request.
---@param req perigee.Request
---@param kind string `type` of the problem, a URN
---@param detail string a sentence for the client
---@return perigee.Reply
function try_later.refuse(req, kind, detail) end

return try_later
