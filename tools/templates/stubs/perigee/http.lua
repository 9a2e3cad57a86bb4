---@meta
-- Made by tools/stubs.py from the annotations in lua/perigee/. Editors read it; it is never run.
--
-- perigee.http: HTTP requests from policies and handlers, over the same pools as the proxy's own. The host of the URL is an
-- address, or the name of an upstream of the configuration.

---@class perigee.FetchOptions
---@field method? string "GET" by default, "POST" with a body
---@field headers? table<string, string|number>
---@field body? string|table a table becomes JSON
---@field timeout? number seconds for all of it; 10 by default
---@field max_body? integer bytes of the response's body; 1 MiB by default
local FetchOptions = {}

---@class perigee.FetchResponse
---@field status integer
---@field headers table<string, string> by name in any case; fields of one name are joined with ", "
---@field trailers table<string, string>
---@field body string
local FetchResponse = {}

--- The body, decoded as JSON.
---@return any value
---@return string|nil message
function FetchResponse:json() end

---@class perigee.http.module
local http = {}

--- Sends a request and waits for the whole response; other requests go on meanwhile.
---@param url string "http://host:port/path", or "http://NAME/path" with the name of an upstream
---@param options? perigee.FetchOptions
---@return perigee.FetchResponse|nil response whatever its status; nil when there is none
---@return string|nil message
function http.fetch(url, options) end

return http
