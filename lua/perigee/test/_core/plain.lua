-- SPDX-License-Identifier: MIT
--
-- Texts that others parse: what a test or a message holds may be any bytes, and a report must stay readable UTF-8.

local plain = {}

-- Well-formed UTF-8 of two bytes and more (RFC 3629), without U+FFFE and U+FFFF, which XML does not have.
local SEQUENCES = {
    "^[\194-\223][\128-\191]", "^\224[\160-\191][\128-\191]", "^[\225-\236\238][\128-\191][\128-\191]",
    "^\237[\128-\159][\128-\191]", "^\239[\128-\190][\128-\191]", "^\239\191[\128-\189]",
    "^\240[\144-\191][\128-\191][\128-\191]", "^[\241-\243][\128-\191][\128-\191][\128-\191]",
    "^\244[\128-\143][\128-\191][\128-\191]",
}

local function escape_byte(char)
    return ("\\x%02X"):format(char:byte())
end

local function sequence_end(text, at)
    for _, pattern in ipairs(SEQUENCES) do
        local _, last = text:find(pattern, at)
        if last then
            return last
        end
    end
end

local function clean_high(text)
    local parts, at = {}, 1
    while at <= #text do
        local low = text:match("^[%z\1-\127]+", at)
        local last = low and at + #low - 1 or sequence_end(text, at)
        parts[#parts + 1] = last and text:sub(at, last) or escape_byte(text:sub(at, at))
        at = (last or at) + 1
    end
    return table.concat(parts)
end

--- A text as UTF-8 without control characters but tab and newline; what is none of it is written as "\xNN".
---@param text string
---@return string
function plain.text(text)
    text = text:gsub("\r\n", "\n"):gsub("[%z\1-\8\11-\31\127]", escape_byte)
    return text:find("[\128-\255]") and clean_high(text) or text
end

--- The same in one line.
---@param text string
---@return string
function plain.line(text)
    return (plain.text(text):gsub("[\t\n]+", " "))
end

return plain
