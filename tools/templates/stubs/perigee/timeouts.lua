---@meta
-- Made by tools/stubs.py from the annotations in lua/perigee/. Editors read it; it is never run.
--
-- How long one exchange may take, in the place of what the configuration says: `req.timeouts.request = 2`. Seconds; 0 is no
-- limit. They are set before the request is sent on, and are not read: what holds may be the upstream's.

---@class perigee.Timeouts
---@field request number from the complete request to the response, over all attempts
---@field per_try number the same, for each attempt
---@field idle number without a byte of the response
---@field stream number for the whole exchange or tunnel
---@field hedge number after which the request is sent a second time, where the upstream has `hedge` or `retries`
local Timeouts = {}
