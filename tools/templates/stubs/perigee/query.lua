---@meta
-- Made by tools/stubs.py from the annotations in lua/perigee/. Editors read it; it is never run.
--
-- Query parameters of a request. Names and values are given and returned decoded; `tostring(req.query)` is the text as it
-- stands, without '?'.

---@class perigee.Query
local Query = {}

--- First value of a parameter; "" when it is written without '='.
---@param name string
---@return string|nil
function Query:get(name) end

--- Walks all parameters in order: `for name, value in req.query:iterate() do … end`.
---@return fun(): string|nil, string|nil
function Query:iterate() end

--- All values of a parameter, in order.
---@param name string
---@return string[]
function Query:all(name) end

--- Makes a parameter occur once, at the end, with this value; nil removes it.
---@param name string
---@param value string|number|nil
function Query:set(name, value) end

--- Removes all parameters of a name.
---@param name string
function Query:remove(name) end
