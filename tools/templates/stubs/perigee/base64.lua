---@meta
-- Made by tools/stubs.py from the annotations in lua/perigee/. Editors read it; it is never run.
--
-- perigee.base64: the standard alphabet with padding, and the URL alphabet without (RFC 4648). Decoding is strict: only what
-- encoding writes is accepted, so two texts never mean the same bytes.


---@class perigee.base64.module
local base64 = {}

--- Base64 with the standard alphabet and padding.
---@param data string
---@return string
function base64.encode(data) end

--- The bytes of standard base64; padding is required, white space refused.
---@param text string
---@return string|nil data
---@return string|nil message
function base64.decode(text) end

--- Base64 with the URL alphabet (`-` and `_`) and without padding, as in JOSE.
---@param data string
---@return string
function base64.encode_url(data) end

--- The bytes of base64 in the URL alphabet; padding is refused.
---@param text string
---@return string|nil data
---@return string|nil message
function base64.decode_url(text) end

return base64
