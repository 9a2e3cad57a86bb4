-- SPDX-License-Identifier: MIT
--
-- The grammar of names in HTTP: of header fields, methods and cookies.

local token = {}

--- Is `text` a token (RFC 9110 5.6.2)?
---@param text string
---@return boolean
function token.is(text)
    return text:find("^[%w!#$%%&'*+.^_`|~-]+$") ~= nil
end

return token
