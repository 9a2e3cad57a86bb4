-- SPDX-License-Identifier: MIT
--
-- The clock of the tests. While `perigee test` runs, nothing that tells the time looks at the machine's clock: the SDK's clocks
-- are those of the loop, and Lua's own (os.time, os.date, os.clock) are put in line with them, for specs too.

local duration = require "perigee._core.duration"
local misuse = require "perigee.test._core.misuse"
local testing = require "perigee._core.testing"
local time = require "perigee.time"

local clock = {}

local real_time, real_date = os.time, os.date

--- The wall clock in seconds since 1970.
---@return number
function clock.now()
    return testing.wall_ms() / 1000
end

--- Date and time of the machine, for reports: "2026-01-01T00:00:00".
---@return string
function clock.machine_date()
    return real_date("!%Y-%m-%dT%H:%M:%S")
end

local function virtual_time(parts)
    return parts and real_time(parts) or math.floor(clock.now())
end

local function virtual_date(form, at)
    return real_date(form or "%c", at or virtual_time())
end

local function virtual_clock()
    return testing.now_ms() / 1000
end

--- Puts Lua's clocks in line with the virtual one.
function clock.install()
    rawset(os, "time", virtual_time)
    rawset(os, "date", virtual_date)
    rawset(os, "clock", virtual_clock)
end

--- Seconds of what a test gave: a number, or a duration such as "90s".
---@param what string name of the caller, for messages
---@param span number|string
---@return number
function clock.seconds(what, span)
    local seconds = type(span) == "string" and duration.parse(span) or span
    if type(seconds) ~= "number" or not (seconds >= 0 and seconds < math.huge) then
        local shown = type(span) == "number" and span or type(span) == "string" and ("%q"):format(span)
            or "a " .. type(span)
        misuse.raise(what .. " expects a number of seconds, 0 or more, or " .. duration.example .. ", not " .. shown)
    end
    return seconds
end

--- Sets the wall clock, as an administrator does: timers and what else measures time do not notice.
---@param moment number|string seconds since 1970, or a date as RFC 3339 or HTTP write it
function clock.set(moment)
    local seconds = moment
    if type(moment) == "string" then
        seconds = time.parse_iso(moment) or time.parse_http(moment)
    end
    if type(seconds) ~= "number" or not (seconds >= 0 and seconds < 1e12) then
        misuse.raise 'set_time expects seconds since 1970 or a date such as "2026-03-01T12:00:00Z"'
    end
    testing.set_wall_ms(math.floor(seconds * 1000 + 0.5))
end

return clock
