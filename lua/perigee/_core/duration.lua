-- SPDX-License-Identifier: MIT
--
-- Durations as they are written in configurations: a number and a unit, "500ms", "10s", "1.5m", "1h".

local duration = {}

local SECONDS = { ms = 0.001, s = 1, m = 60, h = 3600 }
local LONGEST = 366 * 24 * 3600

--- What a duration looks like, for messages.
duration.example = 'a duration such as "10s" (units: ms, s, m, h)'

--- Seconds of a written duration; nil when the text is none.
---@param text string
---@return number|nil seconds
function duration.parse(text)
    local digits, unit = text:match("^(%d+%.?%d*)(%a+)$")
    local seconds = digits and #digits <= 15 and SECONDS[unit] and tonumber(digits) * SECONDS[unit]
    return seconds and seconds <= LONGEST and seconds or nil
end

--- Writes seconds with the largest unit that leaves a whole number.
---@param seconds number
---@return string
function duration.format(seconds)
    for _, unit in ipairs { "h", "m", "s" } do
        if seconds >= SECONDS[unit] and seconds % SECONDS[unit] == 0 then
            return string.format("%d%s", seconds / SECONDS[unit], unit)
        end
    end
    return seconds == 0 and "0s" or string.format("%.14gms", seconds * 1000)
end

--- Whole milliseconds of a number of seconds, as the C side wants them. What is not 0 stays at least 1.
---@param seconds number
---@return integer
function duration.milliseconds(seconds)
    local ms = math.floor(seconds * 1000 + 0.5)
    return ms == 0 and seconds > 0 and 1 or ms
end

return duration
