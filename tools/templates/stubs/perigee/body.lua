---@meta
-- Made by tools/stubs.py from the annotations in lua/perigee/. Editors read it; it is never run.
--
-- The body of a request or a response. It streams past unless a script reads the whole (`read` waits until it is there) or
-- replaces it.

---@class perigee.Body
local Body = {}

--- The whole body; waits until it has arrived.
---@param limit? integer most bytes; 1 MiB by default
---@return string|nil body nil when it is larger or cannot be had
---@return string|nil message
function Body:read(limit) end

--- The whole body, decoded as JSON.
---@param limit? integer most bytes; 1 MiB by default
---@return any value nil when it cannot be had or is no JSON
---@return string|nil message
function Body:json(limit) end

--- Replaces the body. Content-Length follows by itself.
---@param text string
function Body:set(text) end

--- Lowers the limit of the request body: beyond it the client gets 413.
---@param bytes integer
function Body:limit(bytes) end
