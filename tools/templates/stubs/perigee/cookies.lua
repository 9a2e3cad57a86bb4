---@meta
-- Made by tools/stubs.py from the annotations in lua/perigee/. Editors read it; it is never run.
--
-- Cookies of a request (RFC 6265), read-only: `req.cookies["session"]`. Values are as sent, without quotes around them.

---@class perigee.Cookies
---@field [string] string|nil
local Cookies = {}

--- Value of a cookie.
---@param name string
---@return string|nil
function Cookies:get(name) end

--- Walks all cookies in order: `for name, value in req.cookies:iterate() do … end`.
---@return fun(): string|nil, string|nil
function Cookies:iterate() end
