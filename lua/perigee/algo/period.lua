-- SPDX-License-Identifier: MIT
--
-- Periods in which something is counted: days and months of the calendar in UTC, or stretches of any length since 1970. Pure: the
-- time is passed in.

local time = require "perigee.time"

local floor = math.floor

local period = {}

local DAY = 86400

-- When the month of this time begins.
local function first_of_month(seconds)
    return time.parse_iso(time.format_iso(seconds):sub(1, 7) .. "-01")
end

--- The period that a time is in.
---@param kind "day"|"month"|number a number: seconds
---@param now number seconds since 1970
---@return number begins
---@return number ends the first moment that is not in it
---@return string name "2026-11-23", "2026-11", or the beginning and the length
function period.at(kind, now)
    if kind == "month" then
        local begins = first_of_month(now)
        return begins, first_of_month(begins + 32 * DAY), time.format_iso(begins):sub(1, 7)
    elseif kind == "day" then
        local begins = floor(now / DAY) * DAY
        return begins, begins + DAY, time.format_iso(begins):sub(1, 10)
    end
    local begins = floor(now / kind) * kind
    return begins, begins + kind, begins .. "+" .. kind
end

return period
