-- SPDX-License-Identifier: MIT
--
-- How policies refuse what may well pass in a moment: 503 with `Retry-After: 1` and a problem document.

local reply = require "perigee.reply"

local HEADERS = { ["content-type"] = "application/problem+json", ["retry-after"] = 1 }

local try_later = {}

--- The refusal of a request.
---@param req perigee.Request
---@param kind string `type` of the problem, a URN
---@param detail string a sentence for the client
---@return perigee.Reply
function try_later.refuse(req, kind, detail)
    return reply.new(503, {
        type = kind, title = "Service Unavailable", status = 503, detail = detail, request_id = req.id,
    }, HEADERS)
end

return try_later
