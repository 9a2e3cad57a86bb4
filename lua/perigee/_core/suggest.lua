-- SPDX-License-Identifier: MIT
--
-- Finds the known name that a mistyped one was probably meant to be. Used for error messages only.

local suggest = {}

--- True when the list has the value.
---@param list any[]
---@param value any
---@return boolean
function suggest.contains(list, value)
    for _, item in ipairs(list) do
        if item == value then
            return true
        end
    end
    return false
end

--- Distance between two words: inserted, missing, replaced and swapped letters (optimal string alignment).
---@param a string
---@param b string
---@return integer
local function distance(a, b)
    local before, previous, row = {}, {}, {}
    for j = 0, #b do
        previous[j] = j
    end
    for i = 1, #a do
        row[0] = i
        for j = 1, #b do
            local cost = a:byte(i) == b:byte(j) and 0 or 1
            local best = math.min(previous[j] + 1, row[j - 1] + 1, previous[j - 1] + cost)
            if i > 1 and j > 1 and a:byte(i) == b:byte(j - 1) and a:byte(i - 1) == b:byte(j) then
                best = math.min(best, before[j - 2] + 1)
            end
            row[j] = best
        end
        before, previous, row = previous, row, before
    end
    return previous[#b]
end

--- The candidate nearest to `name`, or nil when none is near enough to be meant. Case does not count; of equally near
--- candidates the first in the list wins.
---@param name string
---@param candidates string[]
---@return string|nil
function suggest.nearest(name, candidates)
    if #name > 64 then
        return nil
    end
    local wanted = name:lower()
    local limit = math.max(1, math.floor(#name / 3))
    local found
    for _, candidate in ipairs(candidates) do
        if math.abs(#candidate - #name) <= limit then
            local apart = distance(wanted, candidate:lower())
            if apart <= limit and apart < #candidate then
                found, limit = candidate, apart - 1
            end
        end
    end
    return found
end

--- The tail of an error message about an unknown name: the nearest known one, or all of them when they are few.
---@param name string
---@param candidates string[] in the order to show
---@param label string what the candidates are, e.g. "settings"
---@return string # begins with "; ", or is empty
function suggest.tail(name, candidates, label)
    local nearest = suggest.nearest(name, candidates)
    if nearest then
        return "; did you mean '" .. nearest .. "'?"
    end
    if #candidates > 0 and #candidates <= 12 then
        return "; the " .. label .. " here are " .. table.concat(candidates, ", ")
    end
    return ""
end

return suggest
