-- SPDX-License-Identifier: MIT
--
-- The functions of `string` and `table` that scripts get in the place of those that can run long inside one call, where
-- nothing can interrupt them: searches have a limit on their steps, results one on their bytes. What they do within the limits
-- is what the originals do, down to the messages: they end in a tail call, so that an error names the script's line.
--
-- The methods of strings are these too, for scripts and the SDK alike; what the SDK takes from `string` itself are the
-- originals, for input that is bounded already (a head, a token, a date).

local native = require "perigee._core.search_native"

local error, getmetatable, rawget, rawset, select = error, getmetatable, rawget, rawset, select
local tonumber, type = tonumber, type
local string_find, string_format, string_rep = string.find, string.format, string.rep
local table_concat, table_insert, table_remove, table_sort = table.concat, table.insert, table.remove, table.sort
local search, check_stack = native.find, native.check_stack

local RESULT_MAX = 16 * 1024 * 1024 -- bytes of a result
local PLAIN_WORK = 16 * 1024 * 1024 -- bytes that a plain search may compare
local MOVES_MAX = 100000            -- elements that one table.insert may move in C
local SORT_MAX = 1000               -- elements that table.sort may compare in C
local PATTERNS = 1000               -- patterns that are remembered

local bounded = {}

local function copy(library)
    local names = {}
    for name, value in pairs(library) do
        names[name] = value
    end
    return names
end

local function refuse_result(name, level)
    error("the result of " .. name .. " has more than 16 MiB", level + 1)
end

-- ---------------------------------------------------------------- string

local strings = copy(string)
strings.dump = nil -- bytecode
strings.match, strings.gmatch, strings.gsub = native.match, native.gmatch, native.gsub

-- Has a pattern no special characters? By pattern; forgotten when there are many.
local plain_patterns, pattern_count = {}, 0

local function is_plain(pattern)
    local known = plain_patterns[pattern]
    if known == nil then
        if pattern_count == PATTERNS then
            plain_patterns, pattern_count = {}, 0
        end
        pattern_count = pattern_count + 1
        known = not string_find(pattern, "[%^%$%*%+%?%.%(%[%%%-]")
        plain_patterns[pattern] = known
    end
    return known
end

-- A plain search stays the original, which LuaJIT compiles.
function strings.find(s, pattern, init, plain)
    if type(s) == "string" and type(pattern) == "string" and #s * #pattern <= PLAIN_WORK
        and (plain or is_plain(pattern)) then
        return string_find(s, pattern, init, true)
    end
    return search(s, pattern, init, plain)
end

function strings.rep(s, n, separator)
    local count, size = tonumber(n), type(s) == "number" and 32 or type(s) == "string" and #s
    if type(separator) == "string" then
        size = size and size + #separator
    end
    if count and size and count * size > RESULT_MAX then
        refuse_result("string.rep", 2)
    end
    return string_rep(s, n, separator)
end

function strings.format(form, ...)
    local size = type(form) == "string" and #form or 0
    for i = 1, select("#", ...) do
        local value = select(i, ...)
        if type(value) == "string" then
            size = size + #value
        elseif type(value) == "table" then
            check_stack() -- its __tostring may format, and so on
        end
    end
    if size > RESULT_MAX then
        refuse_result("string.format", 2)
    end
    return string_format(form, ...)
end

-- ---------------------------------------------------------------- table

local tables = copy(table)

-- These functions write past metatables, so they look whose table it is. What json.array marks stays the script's own.
local function check_target(target)
    local meta = getmetatable(target)
    if type(meta) == "string" and (meta == "read-only" or string_find(meta, "perigee.", 1, true) == 1) then
        error("this table is read-only", 3)
    end
end

function tables.insert(target, ...)
    if type(target) == "table" then
        check_target(target)
        local at, value = ...
        if select("#", ...) == 2 and type(at) == "number" and #target - at > MOVES_MAX then
            for i = #target, at, -1 do
                rawset(target, i + 1, rawget(target, i))
            end
            rawset(target, at, value)
            return
        end
    end
    return table_insert(target, ...)
end

function tables.remove(target, ...)
    if type(target) == "table" then
        check_target(target)
    end
    return table_remove(target, ...)
end

local function ascending(a, b)
    return a < b
end

function tables.sort(target, before)
    if type(target) == "table" then
        check_target(target)
        check_stack() -- a comparison may sort, and so on
        if before == nil and #target > SORT_MAX then
            before = ascending -- a function of Lua, which the watchdog can stop
        end
    end
    return table_sort(target, before)
end

function tables.concat(list, separator, first, last)
    local from, to = first or 1, last or type(list) == "table" and #list
    if type(list) == "table" and type(from) == "number" and type(to) == "number" then
        local size, width = 0, type(separator) == "string" and #separator or 0
        for i = from, to do
            local item = rawget(list, i)
            if type(item) == "string" then
                size = size + #item + width
            elseif type(item) == "number" then
                size = size + 32 + width
            else
                break -- the original says what is wrong
            end
        end
        if size > RESULT_MAX then
            refuse_result("table.concat", 2)
        end
    end
    return table_concat(list, separator, first, last)
end

bounded.string, bounded.table = strings, tables

return bounded
