-- SPDX-License-Identifier: MIT
--
-- Splits the text of a configuration into tokens with their lines. The text has been read by the real parser before, so it
-- is well formed; what is not understood ends the list.

local tokens = {}

---@class perigee.Tokens
---@field kind string[] "name", "string", "number" or "symbol" (keywords are names)
---@field text (string|false)[] the token; of a string its value, or false when it has escapes
---@field line integer[]
---@field count integer

local LONG_SYMBOLS = {}
for symbol in ("... .. == ~= <= >= ::"):gmatch("%S+") do
    LONG_SYMBOLS[symbol] = true
end

local function add(list, kind, text, line)
    local count = list.count + 1
    list.count, list.kind[count], list.text[count], list.line[count] = count, kind, text, line
end

local function count_lines(text)
    local _, lines = text:gsub("\n", "")
    return lines
end

--- End of a long bracket that begins at `at`, and what is between; nil when none begins there.
local function long_bracket(text, at)
    local level = text:match("^%[(=*)%[", at)
    if not level then
        return nil
    end
    local from = at + #level + 2
    local to, last = text:find("]" .. level .. "]", from, true)
    if not to then
        return nil
    end
    return last, text:sub(from, to - 1)
end

--- End of a quoted string that begins at `at`.
local function quoted(text, at)
    local quote, from = text:sub(at, at), at + 1
    while true do
        local to = text:find('["\'\\]', from)
        if not to then
            return nil
        end
        local char = text:sub(to, to)
        if char == quote then
            return to, text:sub(at + 1, to - 1)
        end
        from = char == "\\" and to + 2 or to + 1
    end
end

local function skip_comment(text, at)
    local last = long_bracket(text, at + 2)
    return last or (text:find("\n", at, true) or #text + 1) - 1
end

--- One token at `at`: its end; nil when the text is not understood.
local function read_token(list, text, at, line, is_json)
    local _, last = text:find("^[%a_][%w_]*", at)
    if last then
        add(list, "name", text:sub(at, last), line)
        return last
    end
    _, last = text:find("^%d[%w.]*", at)
    if last then
        add(list, "number", text:sub(at, last), line)
        return last
    end
    local char = text:sub(at, at)
    local value
    if char == '"' or char == "'" then
        last, value = quoted(text, at)
        if last then
            add(list, "string", not value:find("\\", 1, true) and value, line)
        end
        return last
    end
    if not is_json then
        last, value = long_bracket(text, at)
        if last then
            add(list, "string", value:gsub("^\r?\n", ""), line)
            return last
        end
    end
    local length = LONG_SYMBOLS[text:sub(at, at + 2)] and 3 or LONG_SYMBOLS[text:sub(at, at + 1)] and 2 or 1
    add(list, "symbol", text:sub(at, at + length - 1), line)
    return at + length - 1
end

--- Tokens of a Lua or JSON text.
---@param text string
---@param is_json boolean
---@return perigee.Tokens
function tokens.read(text, is_json)
    local list = { kind = {}, text = {}, line = {}, count = 0 }
    local at, line = 1, 1
    if text:sub(1, 1) == "#" then
        at = text:find("\n", 1, true) or #text + 1
    end
    while at <= #text do
        local last
        local _, blank = text:find("^%s+", at)
        if blank then
            last = blank
        elseif not is_json and text:sub(at, at + 1) == "--" then
            last = skip_comment(text, at)
        else
            last = read_token(list, text, at, line, is_json)
            if not last then
                break
            end
        end
        line = line + count_lines(text:sub(at, last))
        at = last + 1
    end
    return list
end

return tokens
