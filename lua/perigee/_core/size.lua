-- SPDX-License-Identifier: MIT
--
-- Sizes as they are written in configurations: "64k", "1m", "1g" (powers of 1024), or a plain number of bytes.

local size = {}

local BYTES = { [""] = 1, k = 1024, m = 1024 * 1024, g = 1024 * 1024 * 1024 }
local LARGEST = 2 ^ 53

--- What a size looks like, for messages.
size.example = 'a size such as "64k" (units: k, m, g; without one: bytes)'

--- Bytes of a written size; nil when it is none.
---@param value string|number
---@return integer|nil bytes
function size.parse(value)
    local bytes
    if type(value) == "number" then
        bytes = value
    else
        local digits, unit = value:match("^(%d+%.?%d*)(%a?)$")
        local factor = digits and #digits <= 16 and BYTES[unit:lower()]
        bytes = factor and tonumber(digits) * factor
    end
    if bytes and bytes >= 0 and bytes <= LARGEST and bytes % 1 == 0 then
        return bytes
    end
    return nil
end

--- Writes bytes with the largest unit that leaves a whole number.
---@param bytes integer
---@return string
function size.format(bytes)
    for _, unit in ipairs { "g", "m", "k" } do
        if bytes >= BYTES[unit] and bytes % BYTES[unit] == 0 then
            return string.format("%d%s", bytes / BYTES[unit], unit)
        end
    end
    return string.format("%d", bytes)
end

return size
