-- SPDX-License-Identifier: MIT
--
-- How policies refuse what may well pass in a moment: 429 or 503 with `Retry-After`, a problem document and a flag in the access
-- log. Refusals are many when they matter, so the document is ready but for the id of the request.

local json = require "perigee.json"
local reply = require "perigee.reply"

local ceil, max = math.ceil, math.max
local encode = json.encode
local TITLES = { [429] = "Too Many Requests", [503] = "Service Unavailable" }

local try_later = {}

---@class perigee.Refusal
---@field status integer
---@field text string the document up to the id
---@field flag string|nil of the access log

--- What does not change from request to request.
---@param status 429|503
---@param kind string `type` of the problem, a URN
---@param detail string a sentence for the client
---@param flag? "RLSE"|"UO" why, in the letters of `req:flag`; 429 says it by itself
---@return perigee.Refusal
function try_later.new(status, kind, detail, flag)
    local text = '{"type":' .. encode(kind) .. ',"title":"' .. TITLES[status] .. '","status":' .. status
    return { status = status, text = text .. ',"detail":' .. encode(detail), flag = flag }
end

--- Header fields of a refusal.
---@param wait number seconds until it is worth another try; at least 1 is told
---@return table<string, string|number>
function try_later.headers(wait)
    return { ["content-type"] = "application/problem+json", ["retry-after"] = max(1, ceil(wait)) }
end

local SOON = try_later.headers(1)

--- The refusal of a request.
---@param refusal perigee.Refusal
---@param req perigee.Request
---@param headers? table<string, string|number> those of try_later.headers and more; without it: try again in a second
---@return perigee.Reply
function try_later.refuse(refusal, req, headers)
    local id, flag = req.id, refusal.flag
    if flag then
        req:flag(flag)
    end
    local member = id and ',"request_id":' .. (encode(id) or "null") or ""
    return reply.new(refusal.status, refusal.text .. member .. "}\n", headers or SOON)
end

return try_later
