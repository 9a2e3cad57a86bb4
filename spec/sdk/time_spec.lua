-- SPDX-License-Identifier: MIT

local time = require "perigee.time"

local BIRTH = 784111777 -- the example of RFC 9110 5.6.7

describe("perigee.time", function()
    it("writes HTTP dates", function()
        assert.equal("Sun, 06 Nov 1994 08:49:37 GMT", time.format_http(BIRTH))
        assert.equal("Thu, 01 Jan 1970 00:00:00 GMT", time.format_http(0))
        assert.equal("Thu, 29 Feb 2024 23:59:59 GMT", time.format_http(1709251199.9))
        assert.equal("Wed, 31 Dec 1969 23:59:59 GMT", time.format_http(-1))
        assert.equal("Tue, 19 Jan 2038 03:14:08 GMT", time.format_http(2 ^ 31))
    end)

    it("reads HTTP dates in all three forms", function()
        assert.equal(BIRTH, time.parse_http "Sun, 06 Nov 1994 08:49:37 GMT")
        assert.equal(BIRTH, time.parse_http "Sunday, 06-Nov-94 08:49:37 GMT")
        assert.equal(BIRTH, time.parse_http "Sun Nov  6 08:49:37 1994")
    end)

    it("refuses other HTTP dates", function()
        local texts = {
            "", "Sun, 06 Nov 1994 08:49:37", "Sun, 06 Nov 1994 08:49:37 UTC", "Sun, 31 Feb 1994 08:49:37 GMT",
            "Sun, 06 Foo 1994 08:49:37 GMT", "Sun, 06 Nov 1994 24:00:00 GMT", "Sun, 00 Nov 1994 00:00:00 GMT",
        }
        for _, text in ipairs(texts) do
            local seconds, message = time.parse_http(text)
            assert.is_nil(seconds, text)
            assert.equal("not an HTTP date", message)
        end
    end)

    it("writes ISO 8601, with as many digits of fraction as asked", function()
        assert.equal("1994-11-06T08:49:37Z", time.format_iso(BIRTH))
        assert.equal("1994-11-06T08:49:37.500Z", time.format_iso(BIRTH + 0.5, 3))
        assert.equal("1994-11-06T08:49:37.002Z", time.format_iso(BIRTH + 0.0025, 3))
    end)

    it("reads RFC 3339, with fractions and zones", function()
        assert.equal(BIRTH, time.parse_iso "1994-11-06T08:49:37Z")
        assert.equal(BIRTH + 0.25, time.parse_iso "1994-11-06t08:49:37.25z")
        assert.equal(BIRTH, time.parse_iso "1994-11-06T09:49:37+01:00")
        assert.equal(BIRTH, time.parse_iso "1994-11-05 19:19:37-13:30")
        assert.equal(784080000, time.parse_iso "1994-11-06")
    end)

    it("refuses other ISO 8601 texts", function()
        for _, text in ipairs { "", "1994", "1994-13-01", "1994-02-29", "1994-11-06T08:49", "1994-11-06T08:49:37",
            "1994-11-06T08:49:37.Z", "1994-11-06T08:49:37+1:00", "1994-11-06T08:49:37+24:00", "1994-11-06T08:49:37Zx",
            "1994-11-06Z", " 1994-11-06" } do
            local seconds, message = time.parse_iso(text)
            assert.is_nil(seconds, text)
            assert.equal("not an RFC 3339 date", message)
        end
    end)

    it("agrees with itself over four centuries of days", function()
        for day = -36524, 109573, 97 do
            local seconds = day * 86400 + day % 86400
            assert.equal(seconds, time.parse_iso(time.format_iso(seconds)))
        end
    end)

    it("agrees with the C library", function()
        for seconds = 0, 4e9, 12345678 do
            assert.equal(os.date("!%Y-%m-%dT%H:%M:%SZ", seconds), time.format_iso(seconds))
            assert.equal(os.date("!%a, %d %b %Y %H:%M:%S GMT", seconds), time.format_http(seconds))
        end
    end)

    it("gives clocks that do not go back", function()
        assert.is_true(time.now() >= 1767225600) -- where the clock of a test begins
        local before = time.monotonic()
        assert.is_true(time.monotonic() >= before)
    end)
end)
