---@meta
-- Made by tools/stubs.py from the annotations in lua/perigee/. Editors read it; it is never run.
--
-- Who sent a request: `req.client.ip` (behind the trusted hops) and `req.client.port` of the connection.

---@class perigee.Client
---@field ip string
---@field port integer 0 for unix sockets
local Client = {}
