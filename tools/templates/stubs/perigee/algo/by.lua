---@meta
-- Made by tools/stubs.py from the annotations in lua/perigee/. Editors read it; it is never run.
--
-- Whose requests are counted together: the setting `by` of policies that count, and the keys of what they count. A key begins
-- with what tells the use of the policy, which its instance has as `address` and `other`.


---@class perigee.algo.by.module
local by = {}

--- Is `text` "client", "consumer", "route" or "header:NAME"?
---@param text string
---@return boolean
function by.is_known(text) end

--- How keys are made: a function of the policy's instance and the request, which finds the other two in the instance.
---@param setting string|function
---@return fun(self: table, req: table): string key_of
---@return function|nil choose
---@return string|nil header
function by.find(setting) end

return by
