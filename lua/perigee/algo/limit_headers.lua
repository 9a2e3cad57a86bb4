-- SPDX-License-Identifier: MIT
--
-- What clients are told of a limit: `RateLimit` and `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers), the older
-- `X-RateLimit-*`, or nothing, and with a refusal always `Retry-After`.

local try_later = require "perigee.algo.try_later"

local ceil, floor = math.ceil, math.floor
local tobit = bit.tobit

local limit_headers = {}

-- A whole number as LuaJIT writes it quickly: most of them are small.
local function whole(number)
    return number < 2147483648 and tobit(number) or number
end

--- What is wrong with the name of a limit; nil when nothing is.
---@param name string
---@return string|nil message
function limit_headers.check_name(name)
    if not name:find("^[%w ._:/-]+$") then
        return "a name has letters, digits, spaces and ._:/-"
    end
end

--- What does not change from request to request.
---@param style "ietf"|"x"|"off"
---@param name string
---@param limit integer
---@param window number seconds; is told when they are whole
---@return table
function limit_headers.new(style, name, limit, window)
    return {
        style = style, limit = limit .. "", item = '"' .. name .. '";r=',
        policy = '"' .. name .. '";q=' .. limit .. (window % 1 == 0 and ";w=" .. window or ""),
    }
end

--- Adds them to a response.
---@param self table
---@param headers perigee.Headers
---@param remaining number requests that may come now; fractions are not told
---@param reset number seconds until it is all again
function limit_headers.add(self, headers, remaining, reset)
    if self.style == "ietf" then
        headers:add("ratelimit-policy", self.policy)
        headers:add("ratelimit", self.item .. whole(floor(remaining)) .. ";t=" .. whole(ceil(reset)))
    elseif self.style == "x" then
        headers:set("x-ratelimit-limit", self.limit)
        headers:set("x-ratelimit-remaining", whole(floor(remaining)))
        headers:set("x-ratelimit-reset", whole(ceil(reset)))
    end
end

--- Header fields of a refusal with a problem document.
---@param self table
---@param remaining number
---@param reset number
---@param wait number seconds until it is worth another try
---@return table<string, string|number>
function limit_headers.refusal(self, remaining, reset, wait)
    local headers = try_later.headers(wait)
    if self.style == "ietf" then
        headers["ratelimit-policy"] = self.policy
        headers["ratelimit"] = self.item .. floor(remaining) .. ";t=" .. ceil(reset)
    elseif self.style == "x" then
        headers["x-ratelimit-limit"], headers["x-ratelimit-remaining"] = self.limit, floor(remaining)
        headers["x-ratelimit-reset"] = ceil(reset)
    end
    return headers
end

return limit_headers
