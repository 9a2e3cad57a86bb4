-- SPDX-License-Identifier: MIT
--
-- perigee.uri: URLs, paths and queries, read by the code that reads requests, so that a policy and the proxy never understand
-- the same text differently.

local ffi = require "ffi"
local buffer = require "string.buffer"

local C, ffi_string, byte, find, sub = ffi.C, ffi.string, string.byte, string.find, string.sub

local uri = {}

local parsed = ffi.new("struct peri_ffi_uri")
local part = ffi.new("struct peri_ffi_str")

-- What each byte becomes in encode: itself when unreserved (RFC 3986 2.3), otherwise its escape.
local escapes = {}
for code = 0, 255 do
    local char = string.char(code)
    escapes[code] = char:find("^[%w%-._~]$") and char or string.format("%%%02X", code)
end

local function text_of(str)
    return ffi_string(str.ptr, str.len)
end

--- Percent-encodes everything but unreserved characters: fit for a path segment or a query value.
---@param text string
---@return string
function uri.encode(text)
    local out = buffer.new(#text)
    for i = 1, #text do
        out:put(escapes[byte(text, i)])
    end
    return out:tostring()
end

--- Percent-decodes; with `plus_is_space` a plus becomes a space, as in queries and forms.
---@param text string
---@param plus_is_space? boolean
---@return string|nil
---@return string|nil message
function uri.decode(text, plus_is_space)
    if C.peri_ffi_uri_decode(text, #text, plus_is_space and 1 or 0, part) ~= 0 then
        return nil, "a percent sign is not followed by two hex digits"
    end
    return text_of(part)
end

--- The path as routing, policies and upstreams see it: slashes merged, dot segments gone, escapes in one form. Refuses what
--- can be read in two ways (`%2F`, `%5C`, backslash, control bytes, a `..` above the root).
---@param path string
---@return string|nil
---@return string|nil message
function uri.normalize_path(path)
    if C.peri_ffi_uri_normalize_path(path, #path, part) ~= 0 then
        return nil, "the path is malformed or ambiguous"
    end
    return text_of(part)
end

---@class perigee.Uri
---@field scheme string|nil lower case; nil for a bare path
---@field host string|nil lower case; nil for a bare path
---@field port integer|nil when given
---@field path string normalised
---@field query string|nil raw, without the question mark

local function text_or_nil(str)
    return str.len > 0 and text_of(str) or nil
end

--- Takes an absolute URL, or a path with an optional query, apart. Fragments and user names are refused.
---@param text string
---@return perigee.Uri|nil
---@return string|nil message
function uri.parse(text)
    if C.peri_ffi_uri_parse(text, #text, parsed) ~= 0 then
        return nil, "not an absolute URL or a path"
    end
    return {
        scheme = text_or_nil(parsed.scheme),
        host = text_or_nil(parsed.host),
        port = parsed.port > 0 and parsed.port or nil,
        path = text_of(parsed.path),
        query = text_or_nil(parsed.query),
    }
end

--- The pairs of a query in their order, decoded: `{ { "a", "1" }, { "b", "" } }`. Empty pairs are skipped.
---@param query string without the question mark
---@return string[][]|nil
---@return string|nil message
function uri.parse_query(query)
    local pairs_found, at = {}, 1
    while at <= #query do
        local stop = find(query, "&", at, true) or #query + 1
        local equals = find(query, "=", at, true)
        equals = equals and equals < stop and equals or stop
        if stop > at then
            local name, refusal = uri.decode(sub(query, at, equals - 1), true)
            local value, value_refusal = uri.decode(sub(query, equals + 1, stop - 1), true)
            if not name or not value then
                return nil, refusal or value_refusal
            end
            pairs_found[#pairs_found + 1] = { name, value }
        end
        at = stop + 1
    end
    return pairs_found
end

--- A query from pairs in their order (`{ { "a", "1" } }`) or from a table by name, sorted. Values may be strings, numbers or
--- booleans.
---@param query table
---@return string without the question mark
function uri.format_query(query)
    local list = query
    if #query == 0 then
        list = {}
        for name, value in pairs(query) do
            list[#list + 1] = { name, value }
        end
        table.sort(list, function(a, b) return a[1] < b[1] end)
    end
    local out = buffer.new()
    for i = 1, #list do
        out:put(i > 1 and "&" or "", uri.encode(list[i][1]), "=", uri.encode(tostring(list[i][2])))
    end
    return out:tostring()
end

return uri
