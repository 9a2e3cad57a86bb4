---@meta
-- Made by tools/stubs.py from the annotations in lua/perigee/. Editors read it; it is never run.
--
-- perigee.uri: URLs, paths and queries, read by the code that reads requests, so that a policy and the proxy never understand
-- the same text differently.

---@class perigee.Uri
---@field scheme string|nil lower case; nil for a bare path
---@field host string|nil lower case; nil for a bare path
---@field port integer|nil when given
---@field path string normalised
---@field query string|nil raw, without the question mark
local Uri = {}

---@class perigee.uri.module
local uri = {}

--- Percent-encodes everything but unreserved characters: fit for a path segment or a query value.
---@param text string
---@return string
function uri.encode(text) end

--- Percent-decodes; with `plus_is_space` a plus becomes a space, as in queries and forms.
---@param text string
---@param plus_is_space? boolean
---@return string|nil
---@return string|nil message
function uri.decode(text, plus_is_space) end

--- The path as routing, policies and upstreams see it: slashes merged, dot segments gone, escapes in one form. Refuses what
--- can be read in two ways (`%2F`, `%5C`, backslash, control bytes, a `..` above the root).
---@param path string
---@return string|nil
---@return string|nil message
function uri.normalize_path(path) end

--- Takes an absolute URL, or a path with an optional query, apart. Fragments and user names are refused.
---@param text string
---@return perigee.Uri|nil
---@return string|nil message
function uri.parse(text) end

--- The pairs of a query in their order, decoded: `{ { "a", "1" }, { "b", "" } }`. Empty pairs are skipped.
---@param query string without the question mark
---@return string[][]|nil
---@return string|nil message
function uri.parse_query(query) end

--- A query from pairs in their order (`{ { "a", "1" } }`) or from a table by name, sorted. Values may be strings, numbers or
--- booleans.
---@param query table
---@return string without the question mark
function uri.format_query(query) end

return uri
