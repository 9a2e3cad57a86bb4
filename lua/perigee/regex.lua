-- SPDX-License-Identifier: MIT
--
-- perigee.regex: PCRE2 expressions, compiled once (in a module or in init) and matched with limits. A search that reaches a
-- limit is a failure with a message, never "no match": what guards something must not open because a subject is costly.

local ffi = require "ffi"
local bit = require "bit"
local buffer = require "string.buffer"
local object = require "perigee._core.object"

local inside = object.inside
local C, ffi_string, sub, byte, find = ffi.C, ffi.string, string.sub, string.byte, string.find

local FLAGS = {
    i = C.PERI_FFI_REGEX_CASELESS,
    m = C.PERI_FFI_REGEX_MULTILINE,
    s = C.PERI_FFI_REGEX_DOTALL,
    x = C.PERI_FFI_REGEX_EXTENDED,
    u = C.PERI_FFI_REGEX_UTF,
}
local COSTLY = "the search reached its limit"

local regex = {}

---@class perigee.Regex
---@field pattern string
---@field groups integer number of groups, without the whole match
local Regex, new_regex = object.class "perigee.Regex"

-- Filled by every match and read at once: nothing can yield in between.
local spans = ffi.new("struct peri_ffi_span[?]", C.PERI_FFI_REGEX_SPANS)
local name = ffi.new("struct peri_ffi_str")
local message = ffi.new("char[256]")

local function parse_flags(flags)
    local bits = 0
    for i = 1, #flags do
        local flag = FLAGS[sub(flags, i, i)]
        if not flag then
            return nil, "unknown flag '" .. sub(flags, i, i) .. "'; the flags are i, m, s, u and x"
        end
        bits = bit.bor(bits, flag)
    end
    return bits
end

--- Compiles a PCRE2 pattern. Flags: `i` letters in either case, `m` ^ and $ at every line, `s` a dot matches newlines, `x` white
--- space and comments in the pattern are ignored, `u` UTF-8. At most 63 groups.
---@param pattern string
---@param flags? string
---@return perigee.Regex|nil
---@return string|nil message why the pattern is refused
function regex.compile(pattern, flags)
    local bits, refusal = parse_flags(flags or "")
    if not bits then
        return nil, refusal
    end
    local handle = C.peri_ffi_regex_new(pattern, #pattern, bits, message, ffi.sizeof(message))
    if handle == nil then
        return nil, ffi_string(message)
    end
    local made = { groups = C.peri_ffi_regex_groups(handle), names = {} }
    made.handle = ffi.gc(handle, C.peri_ffi_regex_free)
    made.public = { pattern = pattern, groups = made.groups }
    for group = 1, made.groups do
        C.peri_ffi_regex_group_name(handle, group, name)
        if name.len > 0 then
            made.names[group] = ffi_string(name.ptr, name.len)
        end
    end
    return new_regex(made)
end

local function search(this, subject, from)
    if not (from >= 0 and from <= #subject) then
        return 0
    end
    return C.peri_ffi_regex_match(this.handle, subject, #subject, from, spans)
end

local function group_text(subject, group)
    local span = spans[group]
    if span.start < 0 then
        return nil
    end
    return sub(subject, span.start + 1, span["end"])
end

--- First match: a table with the whole match at [0], group n at [n] and named groups by name too. Groups without part in the
--- match are nil. Nothing when nothing matches; nil and a message when the search cost too much.
---@param subject string
---@param from? integer first position to look at, 1 by default
---@return table<integer|string, string>|nil captures
---@return string|nil message
function Regex:match(subject, from)
    local this = inside(self)
    local found = search(this, subject, (from or 1) - 1)
    if found <= 0 then
        return nil, found < 0 and COSTLY or nil
    end
    local captures, names = { [0] = group_text(subject, 0) }, this.names
    for group = 1, this.groups do
        local text = group_text(subject, group)
        captures[group] = text
        if names[group] then
            captures[names[group]] = text
        end
    end
    return captures
end

--- First and last position of the first match, as string.find gives them; makes no table.
---@param subject string
---@param from? integer first position to look at, 1 by default
---@return integer|nil first
---@return integer|string|nil last or message
function Regex:find(subject, from)
    local found = search(inside(self), subject, (from or 1) - 1)
    if found <= 0 then
        return nil, found < 0 and COSTLY or nil
    end
    return spans[0].start + 1, spans[0]["end"]
end

--- Does anything match? Raises an error when the search cost too much.
---@param subject string
---@return boolean
function Regex:test(subject)
    local found = search(inside(self), subject, 0)
    if found < 0 then
        error(COSTLY, 2)
    end
    return found > 0
end

-- The replacement as a list: strings stand for themselves, numbers for groups.
local function parse_template(this, template)
    local parts, at = {}, 1
    while at <= #template do
        local dollar = find(template, "$", at, true)
        parts[#parts + 1] = sub(template, at, (dollar or 0) - 1)
        if not dollar then
            break
        end
        local next_byte = byte(template, dollar + 1)
        if next_byte == 36 then -- "$$"
            parts[#parts + 1] = "$"
        elseif next_byte and next_byte >= 48 and next_byte <= 57 and next_byte - 48 <= this.groups then
            parts[#parts + 1] = next_byte - 48
        else
            error("a replacement has '$' only as $$ or $0 to $9, and no more groups than the pattern", 3)
        end
        at = dollar + 2
    end
    return parts
end

local function put_replacement(out, subject, parts)
    for i = 1, #parts do
        local part = parts[i]
        out:put(type(part) == "number" and (group_text(subject, part) or "") or part)
    end
end

--- Replaces every match. In the replacement `$1` … `$9` stand for groups, `$0` for the whole match, `$$` for a dollar.
---@param subject string
---@param replacement string
---@return string|nil replaced
---@return integer|string count of replacements, or message
function Regex:replace(subject, replacement)
    local this = inside(self)
    local parts, out = parse_template(this, replacement), buffer.new()
    local at, count = 0, 0
    while at <= #subject do
        local found = search(this, subject, at)
        if found < 0 then
            return nil, COSTLY
        elseif found == 0 then
            break
        end
        local first, last = spans[0].start, spans[0]["end"]
        out:put(sub(subject, at + 1, first))
        put_replacement(out, subject, parts)
        count = count + 1
        at = last
        if last == first then -- an empty match: go on behind the next byte
            out:put(sub(subject, at + 1, at + 1))
            at = at + 1
        end
    end
    if count == 0 then
        return subject, 0
    end
    out:put(sub(subject, at + 1))
    return out:tostring(), count
end

return regex
