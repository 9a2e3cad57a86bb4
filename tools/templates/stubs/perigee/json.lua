---@meta
-- Made by tools/stubs.py from the annotations in lua/perigee/. Editors read it; it is never run.
--
-- perigee.json: JSON text and Lua values. Decoding is jansson's: valid UTF-8 only, no name twice in an object, at most 128
-- levels. Encoding is deterministic (names sorted) and refuses what JSON cannot say instead of guessing. Null is json.null;
-- arrays know that they are arrays, so an empty one comes back as one.


---@class perigee.json.module
local json = {}

--- The value of a JSON text: tables, strings, numbers, booleans, json.null. Numbers are doubles, as in Lua.
---@param text string
---@param max? integer most bytes of text; 16 MiB by default
---@return any value nil when refused
---@return string|nil message
function json.decode(text, max) end

--- Marks a table as an array, so that it is encoded as one even when empty.
---@param list? table
---@return table list
function json.array(list) end

--- Is the value a decoded array, or one marked by json.array?
---@param value any
---@return boolean
function json.is_array(value) end

--- JSON text of a value: names sorted, no white space. A table with positions from 1 on is an array, one with names an object;
--- an empty one is an object unless json.array marked it. Nil and a message for what JSON cannot say: functions, NaN, infinity,
--- sparse or mixed tables, tables that contain themselves, strings that are not UTF-8.
---@param value any
---@return string|nil text
---@return string|nil message
function json.encode(value) end

return json
