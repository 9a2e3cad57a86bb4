---@meta
-- Made by tools/stubs.py from the annotations in lua/perigee/. Editors read it; it is never run.
--
-- Header fields of a request or a response, by name in any case. `headers["x-a"]` reads the first value, assigning sets or
-- (nil) removes. The names of the methods below are reached with `get`.

---@class perigee.Headers
---@field [string] string|nil
local Headers = {}

--- First value of a header.
---@param name string in any case
---@return string|nil
function Headers:get(name) end

--- All values of a header, in order.
---@param name string
---@return string[]
function Headers:all(name) end

--- Credentials of a header such as Authorization: what follows the scheme (RFC 9110 11.4).
---@param name string
---@param scheme string in any case, such as "bearer"
---@return string|nil credentials
---@return string|nil problem "absent", "scheme" (it is another one) or "repeated" (more than one header of this name)
function Headers:credentials(name, scheme) end

--- Makes a header occur once, with this value; nil removes it.
---@param name string
---@param value string|number|nil
function Headers:set(name, value) end

--- Appends a header, beside those of the same name.
---@param name string
---@param value string|number
function Headers:add(name, value) end

--- Removes all headers of a name.
---@param name string
function Headers:remove(name) end

--- Walks all fields in order: `for name, value in req.headers:iterate() do … end`. Names are in lower case.
---@return fun(): string|nil, string|nil
function Headers:iterate() end
