---@meta
-- Made by tools/stubs.py from the annotations in lua/perigee/. Editors read it; it is never run.
--
-- What clients are told of a limit: `RateLimit` and `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers), the older
-- `X-RateLimit-*`, or nothing, and with a refusal always `Retry-After`.


---@class perigee.algo.limit_headers.module
local limit_headers = {}

--- What is wrong with the name of a limit; nil when nothing is.
---@param name string
---@return string|nil message
function limit_headers.check_name(name) end

--- What does not change from request to request.
---@param style "ietf"|"x"|"off"
---@param name string
---@param limit integer
---@param window number seconds; is told when they are whole
---@return table
function limit_headers.new(style, name, limit, window) end

--- Adds them to a response.
---@param self table
---@param headers perigee.Headers
---@param remaining number requests that may come now; fractions are not told
---@param reset number seconds until it is all again
function limit_headers.add(self, headers, remaining, reset) end

--- Header fields of a refusal with a problem document.
---@param self table
---@param remaining number
---@param reset number
---@param wait number seconds until it is worth another try
---@return table<string, string|number>
function limit_headers.refusal(self, remaining, reset, wait) end

return limit_headers
