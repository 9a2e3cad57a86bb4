-- SPDX-License-Identifier: MIT
--
-- perigee.base64: the standard alphabet with padding, and the URL alphabet without (RFC 4648). Decoding is strict: only what
-- encoding writes is accepted, so two texts never mean the same bytes.

local ffi = require "ffi"
local scratch = require "perigee._core.scratch"

local C, ffi_string, tonumber = ffi.C, ffi.string, tonumber

local base64 = {}

local function encode(data, is_url)
    local out = scratch(#data * 4 / 3 + 4)
    return ffi_string(out, C.peri_ffi_base64_encode(data, #data, is_url, out))
end

local function decode(text, is_url)
    local out = scratch(#text)
    local len = tonumber(C.peri_ffi_base64_decode(text, #text, is_url, out))
    if len < 0 then
        return nil, "not base64"
    end
    return ffi_string(out, len)
end

--- Base64 with the standard alphabet and padding.
---@param data string
---@return string
function base64.encode(data)
    return encode(data, 0)
end

--- The bytes of standard base64; padding is required, white space refused.
---@param text string
---@return string|nil data
---@return string|nil message
function base64.decode(text)
    return decode(text, 0)
end

--- Base64 with the URL alphabet (`-` and `_`) and without padding, as in JOSE.
---@param data string
---@return string
function base64.encode_url(data)
    return encode(data, 1)
end

--- The bytes of base64 in the URL alphabet; padding is refused.
---@param text string
---@return string|nil data
---@return string|nil message
function base64.decode_url(text)
    return decode(text, 1)
end

return base64
