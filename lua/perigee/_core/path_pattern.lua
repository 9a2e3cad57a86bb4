-- SPDX-License-Identifier: MIT
--
-- The grammar of path patterns: "/a" (exact), "/a/*" (the segment prefix: /a and all below), "/a/{name}/b" (captures one
-- segment). Patterns are compared with normalised paths, so a pattern must be normal itself.

local readable = require "perigee._core.readable"

local path_pattern = {}

local CAPTURES_MAX = 16

---@class perigee.PathPattern
---@field segments { text: string|nil, capture: string|nil }[] what stands between the slashes
---@field is_prefix boolean ends in "/*"
---@field captures string[] names in order

local function parse_segment(text, captures)
    if not text:find("[{}*]") then
        return { text = text }
    end
    local name = text:match("^{(.*)}$")
    if not name or not name:find("^[%a_][%w_]*$") then
        if text:find("*", 1, true) then
            return nil, "'*' stands only alone at the end: /a/*"
        end
        return nil, "a capture is a whole segment with a name in braces: /users/{id}"
    end
    for _, other in ipairs(captures) do
        if other == name then
            return nil, "captures " .. readable.quote(name) .. " twice"
        end
    end
    if #captures == CAPTURES_MAX then
        return nil, "captures more than " .. CAPTURES_MAX .. " segments"
    end
    captures[#captures + 1] = name
    return { capture = name }
end

local function problem_of_text(pattern)
    if pattern:sub(1, 1) ~= "/" then
        return "must begin with '/'"
    elseif pattern:find("[%z\1-\32\127]") then
        return "must not have spaces or control characters"
    elseif pattern:find("[?#\\]") then
        return "must be a path alone, without '?', '#' or '\\'"
    elseif pattern:find("//", 1, true) then
        return "must not have '//': paths are normalised before they are compared"
    elseif (pattern .. "/"):find("/%.%.?/") then
        return "must not have '.' or '..' segments: paths are normalised before they are compared"
    elseif pattern:find("%%%l") or pattern:find("%%%x%l") then
        return "must have its percent-escapes in upper case: paths are normalised before they are compared"
    end
    return nil
end

--- Takes a pattern apart.
---@param pattern string
---@return perigee.PathPattern|nil
---@return string|nil message what is wrong with it
function path_pattern.parse(pattern)
    local message = problem_of_text(pattern)
    if message then
        return nil, message
    end
    local is_prefix = pattern:sub(-2) == "/*"
    local rest = is_prefix and pattern:sub(1, -3) or pattern
    local segments, captures = {}, {}
    for text in rest:gmatch("/([^/]*)") do
        local segment
        segment, message = parse_segment(text, captures)
        if not segment then
            return nil, message
        end
        segments[#segments + 1] = segment
    end
    return { segments = segments, is_prefix = is_prefix, captures = captures }
end

--- What is wrong with a path pattern, or nil.
---@param pattern string
---@return string|nil message
function path_pattern.problem(pattern)
    local _, message = path_pattern.parse(pattern)
    return message
end

--- Names in braces of a path template such as "/v2/{id}".
---@param template string
---@return string[]
function path_pattern.names(template)
    local names = {}
    for name in template:gmatch("{([^{}]*)}") do
        names[#names + 1] = name
    end
    return names
end

return path_pattern
