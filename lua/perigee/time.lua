-- SPDX-License-Identifier: MIT
--
-- perigee.time: clocks, and dates as HTTP (RFC 9110 5.6.7) and ISO 8601 (RFC 3339) write them. A time is a number: seconds
-- since 1970 in UTC. The clocks are the event loop's, so a test that drives the loop drives them too.

local ffi = require "ffi"

local C, floor, format = ffi.C, math.floor, string.format
local tonumber = tonumber

local time = {}

local DAYS = { "Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed" } -- 1970 began on a Thursday
local MONTHS = { "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec" }
local MONTH_NUMBERS = {}
for number, name in ipairs(MONTHS) do
    MONTH_NUMBERS[name] = number
end
local MONTH_LENGTHS = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 }

--- Seconds since 1970, with fractions.
---@return number
function time.now()
    return C.peri_ffi_now()
end

--- Seconds since some moment in the past, with fractions: never jumps, for measuring.
---@return number
function time.monotonic()
    return C.peri_ffi_monotonic()
end

-- Days since 1970-01-01 of a date in the proleptic Gregorian calendar. Years begin in March, so that the leap day is the last.
local function days_from_date(year, month, day)
    if month <= 2 then
        year = year - 1
    end
    local era = floor(year / 400)
    local year_of_era = year - era * 400
    local day_of_year = floor((153 * ((month + 9) % 12) + 2) / 5) + day - 1
    local day_of_era = year_of_era * 365 + floor(year_of_era / 4) - floor(year_of_era / 100) + day_of_year
    return era * 146097 + day_of_era - 719468
end

-- The other way round: year, month, day.
local function date_from_days(days)
    days = days + 719468
    local era = floor(days / 146097)
    local day_of_era = days - era * 146097
    local year_of_era = floor(
        (day_of_era - floor(day_of_era / 1460) + floor(day_of_era / 36524) - floor(day_of_era / 146096)) / 365)
    local day_of_year = day_of_era - (365 * year_of_era + floor(year_of_era / 4) - floor(year_of_era / 100))
    local shifted = floor((5 * day_of_year + 2) / 153)
    local month = shifted < 10 and shifted + 3 or shifted - 9
    local year = year_of_era + era * 400 + (month <= 2 and 1 or 0)
    return year, month, day_of_year - floor((153 * shifted + 2) / 5) + 1
end

local function is_leap(year)
    return year % 4 == 0 and (year % 100 ~= 0 or year % 400 == 0)
end

local function from_fields(year, month, day, hour, minute, second)
    local length = MONTH_LENGTHS[month]
    if month == 2 and is_leap(year) then
        length = 29
    end
    if not length or day < 1 or day > length or hour > 23 or minute > 59 or second > 60 then
        return nil
    end
    return days_from_date(year, month, day) * 86400 + hour * 3600 + minute * 60 + second
end

--- "Sun, 06 Nov 1994 08:49:37 GMT".
---@param seconds number
---@return string
function time.format_http(seconds)
    seconds = floor(seconds)
    local days = floor(seconds / 86400)
    local rest = seconds - days * 86400
    local year, month, day = date_from_days(days)
    return format("%s, %02d %s %04d %02d:%02d:%02d GMT", DAYS[days % 7 + 1], day, MONTHS[month], year,
        floor(rest / 3600), floor(rest / 60) % 60, rest % 60)
end

--- "1994-11-06T08:49:37Z", with `digits` digits of fraction.
---@param seconds number
---@param digits? integer 0 to 6, 0 by default
---@return string
function time.format_iso(seconds, digits)
    local fraction, whole = "", floor(seconds)
    if digits and digits > 0 then
        local scale = 10 ^ digits
        local scaled = floor((seconds - whole) * scale)
        fraction = format(".%0" .. digits .. "d", scaled)
    end
    local days = floor(whole / 86400)
    local rest = whole - days * 86400
    local year, month, day = date_from_days(days)
    return format("%04d-%02d-%02dT%02d:%02d:%02d%sZ", year, month, day,
        floor(rest / 3600), floor(rest / 60) % 60, rest % 60, fraction)
end

-- The three forms that a recipient must read: IMF-fixdate, RFC 850, asctime. Each gives day, month, year, h, m, s.
local function match_http(text)
    local day, month, year, h, m, s = text:match("^%a%a%a, (%d%d) (%a%a%a) (%d%d%d%d) (%d%d):(%d%d):(%d%d) GMT$")
    if day then
        return day, month, tonumber(year), h, m, s
    end
    day, month, year, h, m, s = text:match("^%a+, (%d%d)%-(%a%a%a)%-(%d%d) (%d%d):(%d%d):(%d%d) GMT$")
    if day then
        return day, month, tonumber(year), h, m, s, true
    end
    month, day, h, m, s, year = text:match("^%a%a%a (%a%a%a) ([ %d]%d) (%d%d):(%d%d):(%d%d) (%d%d%d%d)$")
    return day, month, tonumber(year), h, m, s
end

--- Seconds of an HTTP date, in any of the three forms of RFC 9110.
---@param text string
---@return number|nil
---@return string|nil message
function time.parse_http(text)
    local day, month, year, h, m, s, has_short_year = match_http(text)
    if has_short_year then -- more than 50 years ahead means the century before (RFC 9110 5.6.7)
        local this_year = date_from_days(floor(time.now() / 86400))
        year = year + this_year - this_year % 100
        year = year > this_year + 50 and year - 100 or year
    end
    local number = day and MONTH_NUMBERS[month]
    local seconds = number and from_fields(year, number, tonumber(day), tonumber(h), tonumber(m), tonumber(s))
    if not seconds then
        return nil, "not an HTTP date"
    end
    return seconds
end

-- Seconds that a zone is ahead of UTC.
local function parse_zone(zone)
    if zone == "Z" or zone == "z" then
        return 0
    end
    local sign, hours, minutes = zone:match("^([+-])(%d%d):(%d%d)$")
    if not sign or tonumber(hours) > 23 or tonumber(minutes) > 59 then
        return nil
    end
    local ahead = tonumber(hours) * 3600 + tonumber(minutes) * 60
    return sign == "-" and -ahead or ahead
end

--- Seconds of an RFC 3339 date and time ("1994-11-06T08:49:37.5Z", "…+01:00"), or of a date alone (midnight UTC).
---@param text string
---@return number|nil
---@return string|nil message
function time.parse_iso(text)
    local year, month, day, rest = text:match("^(%d%d%d%d)%-(%d%d)%-(%d%d)(.*)$")
    local h, m, s, fraction, ahead = 0, 0, 0, 0, 0
    if rest and rest ~= "" then
        local dots, zone
        h, m, s, dots, zone = rest:match("^[Tt ](%d%d):(%d%d):(%d%d)(%.?%d*)([Zz+-].*)$")
        fraction = dots and (dots == "" and 0 or dots:find("^%.%d+$") and tonumber("0" .. dots))
        ahead = zone and parse_zone(zone)
    end
    local seconds = year and fraction and ahead
        and from_fields(tonumber(year), tonumber(month), tonumber(day), tonumber(h), tonumber(m), tonumber(s))
    if not seconds then
        return nil, "not an RFC 3339 date"
    end
    return seconds + fraction - ahead
end

return time
