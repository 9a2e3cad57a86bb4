---@meta
-- Made by tools/stubs.py from the annotations in lua/perigee/. Editors read it; it is never run.
--
-- The grammar of names in HTTP: of header fields, methods and cookies.


---@class perigee.algo.token.module
local token = {}

--- Is `text` a token (RFC 9110 5.6.2)?
---@param text string
---@return boolean
function token.is(text) end

return token
