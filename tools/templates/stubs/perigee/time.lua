---@meta
-- Made by tools/stubs.py from the annotations in lua/perigee/. Editors read it; it is never run.
--
-- perigee.time: clocks, and dates as HTTP (RFC 9110 5.6.7) and ISO 8601 (RFC 3339) write them. A time is a number: seconds
-- since 1970 in UTC. The clocks are the event loop's, so a test that drives the loop drives them too.


---@class perigee.time.module
local time = {}

--- Seconds since 1970, with fractions.
---@return number
function time.now() end

--- Seconds since some moment in the past, with fractions: never jumps, for measuring.
---@return number
function time.monotonic() end

--- "Sun, 06 Nov 1994 08:49:37 GMT".
---@param seconds number
---@return string
function time.format_http(seconds) end

--- "1994-11-06T08:49:37Z", with `digits` digits of fraction.
---@param seconds number
---@param digits? integer 0 to 6, 0 by default
---@return string
function time.format_iso(seconds, digits) end

--- Seconds of an HTTP date, in any of the three forms of RFC 9110.
---@param text string
---@return number|nil
---@return string|nil message
function time.parse_http(text) end

--- Seconds of an RFC 3339 date and time ("1994-11-06T08:49:37.5Z", "…+01:00"), or of a date alone (midnight UTC).
---@param text string
---@return number|nil
---@return string|nil message
function time.parse_iso(text) end

return time
