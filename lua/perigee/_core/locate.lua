-- SPDX-License-Identifier: MIT
--
-- Finds the line of a setting in the text of the configuration, by walking the table that the file returns. It never
-- guesses: where a value is computed, the walk stops at the last key that is certain, and a file that does not return a
-- table constructor (or a local that is nothing but one) has no lines at all.

local tokens = require "perigee._core.tokens"

local locate = {}

local OPENS = { ["{"] = true, ["("] = true, ["["] = true }
local CLOSES = { ["}"] = true, [")"] = true, ["]"] = true }
-- Every block ends with "end" or "until"; the blocks of while and for begin with their "do".
local BLOCK_OPENS = { ["function"] = true, ["if"] = true, ["do"] = true, ["repeat"] = true }
local BLOCK_CLOSES = { ["end"] = true, ["until"] = true }

---@class perigee.Entry where the value of a key stands
---@field line integer line of the key, or of the value of a list item
---@field from integer first token of the value
---@field to integer last token of the value
---@field key_at integer|nil token of the key

local function depth_step(list, at)
    local kind, text = list.kind[at], list.text[at]
    if kind == "symbol" then
        return OPENS[text] and 1 or CLOSES[text] and -1 or 0
    elseif kind == "name" then
        return BLOCK_OPENS[text] and 1 or BLOCK_CLOSES[text] and -1 or 0
    end
    return 0
end

local function is_symbol(list, at, text)
    return list.kind[at] == "symbol" and list.text[at] == text
end

--- For each token that opens a bracket or a block the one that closes it; and the tokens outside of all of them.
local function match_pairs(list)
    local closing, outer, open = {}, {}, {}
    for at = 1, list.count do
        local step = depth_step(list, at)
        if step < 0 and #open > 0 then
            closing[table.remove(open)] = at
        elseif #open == 0 then
            outer[at] = true
        end
        if step > 0 then
            open[#open + 1] = at
        end
    end
    list.closing, list.outer = closing, outer
end

--- Last token of the expression that begins at `from`: what follows is a separator, a closing bracket or the end.
local function expression_end(list, from)
    local at = from
    while at <= list.count do
        if depth_step(list, at) < 0 or is_symbol(list, at, ",") or is_symbol(list, at, ";") then
            return at - 1
        end
        at = (list.closing[at] or at) + 1
    end
    return list.count
end

-- ---------------------------------------------------------------- one table constructor

--- Key that begins at `at` and the token after its '=' (or ':'): key, position. A computed key is false; a list item has
--- no key at all.
local function read_key(list, at, is_json)
    local assign = is_json and ":" or "="
    local kind = list.kind[at]
    if is_symbol(list, at + 1, assign) and (kind == "name" and not is_json or kind == "string" and is_json) then
        return list.text[at], at + 2
    elseif not is_json and is_symbol(list, at, "[") then
        local close = expression_end(list, at + 1) + 1
        local is_plain = close == at + 2 and (list.kind[at + 1] == "string" or list.kind[at + 1] == "number")
        local key = is_plain and list.text[at + 1]
        return list.kind[at + 1] == "number" and tonumber(key) or key, close + 2
    end
    return nil, at
end

local function add_entry(entries, key, entry)
    if entries.by_key[key] and type(key) == "number" then
        entries.is_computed = true -- "[1] = x" beside list items: which of them wins is not obvious
    end
    entries.by_key[key] = entry
end

--- Entries of the constructor whose opening bracket is token `open`.
local function read_entries(list, open, is_json)
    local entries, index, at = { by_key = {}, is_computed = false }, 0, open + 1
    while at <= list.count and not (list.kind[at] == "symbol" and CLOSES[list.text[at]]) do
        local key, from = read_key(list, at, is_json)
        local to = expression_end(list, from)
        if key == false then
            entries.is_computed = true
        elseif key == nil then
            index = index + 1
            key = index
        end
        if key then
            add_entry(entries, key, { line = list.line[at], from = from, to = to, key_at = from > at and at or nil })
        end
        at = to + 2
    end
    return entries
end

-- ---------------------------------------------------------------- what a value is

local function is_member(list, at)
    return is_symbol(list, at - 1, ".") or is_symbol(list, at - 1, ":")
end

--- First token of the constructor that the local `name` was given, when it is declared once at the top level and used in
--- one place only, so that nothing can have changed it.
local function follow_local(list, name, is_key)
    local uses, declared = 0, nil
    for at = 1, list.count do
        if list.kind[at] == "name" and list.text[at] == name and not is_member(list, at) and not is_key[at] then
            uses = uses + 1
            if list.outer[at] and list.text[at - 1] == "local" and is_symbol(list, at + 1, "=") then
                declared = at + 2
            end
        end
    end
    return uses == 2 and declared or nil
end

--- True when an expression that ends before `at` cannot go on there.
local function begins_statement(list, at)
    local text = list.text[at]
    return is_symbol(list, at, ";") or list.kind[at] == "name" and text ~= "and" and text ~= "or"
end

--- Token that opens the constructor which the expression is; nil for any other expression.
local function constructor(list, from, to, is_json, is_key)
    if is_symbol(list, from, "{") or is_json and is_symbol(list, from, "[") then
        return list.closing[from] == to and from or nil
    elseif not is_json and from == to and list.kind[from] == "name" then
        local start = follow_local(list, list.text[from], is_key)
        local last = start and is_symbol(list, start, "{") and list.closing[start]
        return last and begins_statement(list, last + 1) and start or nil
    end
    return nil
end

-- ---------------------------------------------------------------- the whole file

--- First token of what the file returns.
local function returned(list)
    for at = list.count, 1, -1 do
        if list.outer[at] and list.kind[at] == "name" and list.text[at] == "return" then
            return at + 1
        end
    end
    return nil
end

local Finder = {}
Finder.__index = Finder

local function entries_of(finder, open)
    local entries = finder.entries[open]
    if not entries then
        entries = read_entries(finder.list, open, finder.is_json)
        finder.entries[open] = entries
        for _, entry in pairs(entries.by_key) do
            if entry.key_at then
                finder.is_key[entry.key_at] = true
            end
        end
    end
    return entries
end

--- Line of a setting, or of the innermost one around it that can be told for certain.
---@param segments (string|number|table)[] path of the setting
---@return integer|nil
function Finder:line(segments)
    local from, to, line = self.from, self.to, nil
    for depth = 0, #segments do
        local open = from and constructor(self.list, from, to, self.is_json, self.is_key)
        if not open then
            return line
        end
        line = line or self.list.line[from]
        local entries = entries_of(self, open)
        local entry = depth < #segments and not entries.is_computed and entries.by_key[segments[depth + 1]]
        if not entry then
            return line
        end
        line, from, to = entry.line, entry.from, entry.to
    end
    return line
end

--- Finds lines in the text of a configuration.
---@param text string
---@param is_json boolean
---@return { line: fun(self, segments: table): integer|nil }
function locate.new(text, is_json)
    local list = tokens.read(text, is_json)
    match_pairs(list)
    local from = is_json and 1 or returned(list)
    local finder = { list = list, is_json = is_json, entries = {}, is_key = {} }
    finder.from, finder.to = from, from and expression_end(list, from)
    return setmetatable(finder, Finder)
end

return locate
