-- SPDX-License-Identifier: MIT
--
-- Turns a validated match table (host, path, path_regex, methods, headers, query) into a predicate over the request
-- object, for the `when` of a policy. Routes are matched in C by the same rules (runtime/route/table.h). Predicates run
-- per exchange: they use neither pairs nor patterns, and make closures only here.

local path_pattern = require "perigee._core.path_pattern"

local match = {}

local byte, find, sub = string.byte, string.find, string.sub
local SLASH = 47

-- ---------------------------------------------------------------- host

local function host_is(host)
    host = host:lower()
    local suffix = host:match("^%*(%..+)$")
    if not suffix then
        return function(req) return req.host == host end
    end
    local length = #suffix
    return function(req)
        local name = req.host
        return name ~= nil and #name > length and sub(name, -length) == suffix
    end
end

-- ---------------------------------------------------------------- path

--- Walks the segments of a path; true when every segment of the pattern fits and, but for a prefix, nothing is left.
local function fits(path, texts, count, is_prefix)
    local at = 1
    for i = 1, count do
        if byte(path, at) ~= SLASH then
            return false
        end
        local slash = find(path, "/", at + 1, true)
        local last = slash and slash - 1 or #path
        local text = texts[i]
        if text then
            if last - at ~= #text or sub(path, at + 1, last) ~= text then
                return false
            end
        elseif last == at then
            return false -- a capture takes at least one byte
        end
        at = last + 1
    end
    return at > #path or is_prefix and byte(path, at) == SLASH
end

local function path_fits(pattern)
    local parsed = assert(path_pattern.parse(pattern))
    if #parsed.captures == 0 and not parsed.is_prefix then
        return function(req) return req.path == pattern end
    end
    local texts, count, is_prefix = {}, #parsed.segments, parsed.is_prefix
    for i, segment in ipairs(parsed.segments) do
        texts[i] = segment.text or false
    end
    return function(req) return fits(req.path, texts, count, is_prefix) end
end

-- ---------------------------------------------------------------- method, headers, query

local function method_is_one_of(methods)
    local set = {}
    for _, method in ipairs(methods) do
        set[method] = true
    end
    return function(req) return set[req.method] == true end
end

local function value_fits(condition, compile_regex)
    if condition.regex then
        local matches, message = compile_regex(condition.regex)
        if not matches then
            return nil, message
        end
        return function(value) return value ~= nil and matches(value) end
    elseif condition.value then
        local wanted = condition.value
        return function(value) return value == wanted end
    end
    return function(value) return value ~= nil end
end

local function header_fits(name, fits_value)
    name = name:lower()
    return function(req) return fits_value(req.headers[name]) end
end

local function query_fits(name, fits_value)
    return function(req) return fits_value(req.query:get(name)) end
end

local function add_fields(predicates, fields, make, compile_regex)
    for name, condition in pairs(fields or {}) do
        local fits_value, message = value_fits(condition, compile_regex)
        if not fits_value then
            return message
        end
        predicates[#predicates + 1] = make(name, fits_value)
    end
    return nil
end

-- ---------------------------------------------------------------- the whole

local function both(first, second)
    return function(req) return first(req) and second(req) end
end

local function always()
    return true
end

local function add_path_regex(predicates, pattern, compile_regex)
    local matches, message = compile_regex(pattern)
    if not matches then
        return message
    end
    predicates[#predicates + 1] = function(req) return matches(req.path) end
    return nil
end

--- Compiles a match table that the schema (_core/settings.lua) has accepted.
---@param conditions table
---@param compile_regex fun(pattern: string): (fun(subject: string): boolean)|nil, string|nil
---@return (fun(req: table): boolean)|nil predicate
---@return string|nil message when a regular expression is malformed
function match.compile(conditions, compile_regex)
    local predicates = {}
    if conditions.methods then
        predicates[#predicates + 1] = method_is_one_of(conditions.methods)
    end
    if conditions.host then
        predicates[#predicates + 1] = host_is(conditions.host)
    end
    if conditions.path then
        predicates[#predicates + 1] = path_fits(conditions.path)
    end
    local message = conditions.path_regex and add_path_regex(predicates, conditions.path_regex, compile_regex)
        or add_fields(predicates, conditions.headers, header_fits, compile_regex)
        or add_fields(predicates, conditions.query, query_fits, compile_regex)
    if message then
        return nil, message
    end
    local predicate = predicates[1] or always
    for i = 2, #predicates do
        predicate = both(predicate, predicates[i])
    end
    return predicate
end

return match
