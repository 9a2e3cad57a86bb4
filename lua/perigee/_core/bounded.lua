-- SPDX-License-Identifier: MIT
--
-- The functions of `string` and `table` that scripts get in the place of those that can run long inside one call, where
-- nothing can interrupt them: searches have a limit on their steps, results one on their bytes. What they do within the limits
-- is what the originals do, down to the messages: they end in a tail call, so that an error names the script's line.
--
-- The methods of strings are these too, for scripts and the SDK alike; what the SDK takes from `string` itself are the
-- originals, for input that is bounded already (a head, a token, a date).

local ffi = require "ffi"
local native = require "perigee._core.search_native"

local C, ffi_string = ffi.C, ffi.string
local error, getmetatable, rawget, rawset, select = error, getmetatable, rawget, rawset, select
local tonumber, type = tonumber, type
local string_format, string_rep = string.format, string.rep
local table_concat, table_insert, table_remove, table_sort = table.concat, table.insert, table.remove, table.sort
local search, check_stack, sub = native.find, native.check_stack, string.sub

local RESULT_MAX = 16 * 1024 * 1024 -- bytes of a result
local MOVES_MAX = 100000            -- elements that one table.insert may move in C
local SORT_MAX = 1000               -- elements that table.sort may compare in C

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

local found = ffi.new("struct peri_ffi_found")

-- By FFI, which LuaJIT compiles, for what has no captures.
function strings.find(s, pattern, init, plain)
    local start = init or 1
    if type(s) == "string" and type(pattern) == "string" and type(start) == "number"
        and start > -1e9 and start < 1e9 then
        if C.peri_ffi_find(s, #s, pattern, #pattern, start, plain and 1 or 0, found) == 0 then
            if found.problem ~= nil then
                error(ffi_string(found.problem), 2)
            end
            return nil
        elseif found.captures == 0 then
            return found.first, found.last
        end
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

-- Bytes that an argument of string.format adds.
local function weight(value)
    local kind = type(value)
    if kind == "table" then
        check_stack() -- its __tostring may format, and so on
    end
    return kind == "string" and #value or 0
end

function strings.format(form, ...)
    local a, b, c = ...
    local size = (type(form) == "string" and #form or 0) + weight(a) + weight(b) + weight(c)
    for i = 4, select("#", ...) do -- not entered for most calls, so that what formats compiles as one trace
        size = size + weight((select(i, ...)))
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
    if type(meta) == "string" and (meta == "read-only" or sub(meta, 1, 8) == "perigee.") then
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

-- Bytes of item `i` of a list that is joined up to `to`.
local function item_size(list, i, to)
    local item = i <= to and rawget(list, i) or nil
    return type(item) == "string" and #item or 0
end

-- Bytes of the items from … to; numbers count as nothing.
local function size_of(list, from, to)
    local size = item_size(list, from, to) + item_size(list, from + 1, to) + item_size(list, from + 2, to)
    for i = from + 3, to do -- not entered for a few, so that what joins them compiles as one trace
        local item = rawget(list, i)
        if item == nil then
            break -- the original says what is wrong
        end
        size = size + (type(item) == "string" and #item or 0)
    end
    return size
end

function tables.concat(list, separator, first, last)
    local from, to = first or 1, last or type(list) == "table" and #list
    if type(list) == "table" and type(from) == "number" and type(to) == "number" then
        local between = type(separator) == "string" and to > from and #separator * (to - from) or 0
        if size_of(list, from, to) + between > RESULT_MAX then
            refuse_result("table.concat", 2)
        end
    end
    return table_concat(list, separator, first, last)
end

bounded.string, bounded.table = strings, tables

return bounded
