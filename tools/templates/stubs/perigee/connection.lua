---@meta
-- Made by tools/stubs.py from the annotations in lua/perigee/. Editors read it; it is never run.
--
-- A connection that a tcp listener is about to pass on, as on_connect(conn) sees it: before the first byte goes anywhere.

---@class perigee.Connection
---@field client { ip: string|nil, port: integer } who connects; without an ip over a unix socket
---@field listener string address of the listener
---@field server_name string|nil name that the client's TLS asks for, where the listener has `sni` or `tls`
---@field alpn string[]|nil protocols that the client's TLS offers, most wanted first, where the listener has `sni` and no `tls`
---@field upstream string|nil set it to the name of the upstream that gets the connection
local Connection = {}
