-- SPDX-License-Identifier: MIT
--
-- The parts of gRPC-Web that are no header (gRPC's PROTOCOL-WEB): base64 that comes in pieces, each of which may end with
-- padding, and trailers as the last frame of a body. Pure: what is left of a piece is handed back to the caller.

local base64 = require "perigee.base64"

local char, concat, floor = string.char, table.concat, math.floor

local grpc_web = {}

local TRAILERS = "\128" -- flags of a frame of trailers that are not compressed

--- The bytes of base64 that arrives in pieces.
---@param rest string what the call before left: at most three letters; "" at first
---@param piece string
---@return string|nil data nil when this is no base64
---@return string rest
function grpc_web.decode(rest, piece)
    local text = rest == "" and piece or rest .. piece
    local whole = #text - #text % 4
    local out, at = {}, 1
    while at <= whole do
        local padding, last = text:find("=", at, true), whole
        if padding and padding <= whole then
            last = padding + (4 - padding % 4) % 4 -- the end of its group
        end
        local data = base64.decode(text:sub(at, last))
        if not data then
            return nil, ""
        end
        out[#out + 1] = data
        at = last + 1
    end
    return concat(out), text:sub(whole + 1)
end

--- A frame with these trailers: "name: value" lines in order.
---@param lines string[]
---@return string
function grpc_web.frame(lines)
    local text = concat(lines, "\r\n") .. (#lines > 0 and "\r\n" or "")
    local len = #text
    local high, low = floor(len / 65536), len % 65536
    return TRAILERS .. char(floor(high / 256) % 256, high % 256, floor(low / 256), low % 256) .. text
end

return grpc_web
