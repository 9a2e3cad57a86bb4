---@meta
-- Made by tools/stubs.py from the annotations in lua/perigee/. Editors read it; it is never run.
--
-- perigee.reply(status, body, headers): an answer of the proxy itself, as a value. A hook or a handler returns it; only then
-- does it take effect. A table as body becomes JSON.

---@class perigee.Reply
---@field status integer
---@field body string|table|nil
---@field headers table<string, string|number|(string|number)[]>|nil
local Reply = {}
