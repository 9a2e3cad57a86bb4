---@meta
-- Made by tools/stubs.py from the annotations in lua/perigee/. Editors read it; it is never run.
--
-- The response as policies see it: the upstream's, or the proxy's own answer.

---@class perigee.Response
---@field status integer may be set
---@field headers perigee.Headers
---@field trailers perigee.Headers
---@field body perigee.Body
---@field upstream string|nil name of the upstream that was chosen, also when it gave no answer
---@field endpoint string|nil address of its endpoint; nil when none could be used
local Response = {}
