---@meta
-- Made by tools/stubs.py from the annotations in lua/perigee/. Editors read it; it is never run.
--
-- perigee.regex: PCRE2 expressions, compiled once (in a module or in init) and matched with limits. A search that reaches a
-- limit is a failure with a message, never "no match": what guards something must not open because a subject is costly.

---@class perigee.Regex
---@field pattern string
---@field groups integer number of groups, without the whole match
local Regex = {}

--- First match: a table with the whole match at [0], group n at [n] and named groups by name too. Groups without part in the
--- match are nil. Nothing when nothing matches; nil and a message when the search cost too much.
---@param subject string
---@param from? integer first position to look at, 1 by default
---@return table<integer|string, string>|nil captures
---@return string|nil message
function Regex:match(subject, from) end

--- First and last position of the first match, as string.find gives them; makes no table.
---@param subject string
---@param from? integer first position to look at, 1 by default
---@return integer|nil first
---@return integer|string|nil last or message
function Regex:find(subject, from) end

--- Does anything match? Raises an error when the search cost too much.
---@param subject string
---@return boolean
function Regex:test(subject) end

--- Replaces every match. In the replacement `$1` … `$9` stand for groups, `$0` for the whole match, `$$` for a dollar.
---@param subject string
---@param replacement string
---@return string|nil replaced
---@return integer|string count of replacements, or message
function Regex:replace(subject, replacement) end

---@class perigee.regex.module
local regex = {}

--- Compiles a PCRE2 pattern. Flags: `i` letters in either case, `m` ^ and $ at every line, `s` a dot matches newlines, `x` white
--- space and comments in the pattern are ignored, `u` UTF-8. At most 63 groups.
---@param pattern string
---@param flags? string
---@return perigee.Regex|nil
---@return string|nil message why the pattern is refused
function regex.compile(pattern, flags) end

return regex
