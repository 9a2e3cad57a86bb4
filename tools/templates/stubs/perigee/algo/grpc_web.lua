---@meta
-- Made by tools/stubs.py from the annotations in lua/perigee/. Editors read it; it is never run.
--
-- The parts of gRPC-Web that are no header (gRPC's PROTOCOL-WEB): base64 that comes in pieces, each of which may end with
-- padding, and trailers as the last frame of a body. Pure: what is left of a piece is handed back to the caller.


---@class perigee.algo.grpc_web.module
local grpc_web = {}

--- The bytes of base64 that arrives in pieces.
---@param rest string what the call before left: at most three letters; "" at first
---@param piece string
---@return string|nil data nil when this is no base64
---@return string rest
function grpc_web.decode(rest, piece) end

--- A frame with these trailers: "name: value" lines in order.
---@param lines string[]
---@return string
function grpc_web.frame(lines) end

return grpc_web
