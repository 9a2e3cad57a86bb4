---@meta
-- Made by tools/stubs.py from the annotations in lua/perigee/. Editors read it; it is never run.
--
-- One try to send the request to an upstream, as on_upstream sees it: which one it is, and where it goes. Assigning `upstream`
-- or `endpoint` chooses.

---@class perigee.Attempt
---@field number integer 1 for the first
---@field upstream string|nil name; may be set
---@field endpoint string|nil address; may be set to one of the upstream's
local Attempt = {}
