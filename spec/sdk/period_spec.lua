-- SPDX-License-Identifier: MIT

local period = require "perigee.algo.period"
local time = require "perigee.time"

local DAY = 86400

local function at(kind, when)
    local begins, ends, name = period.at(kind, time.parse_iso(when))
    return { time.format_iso(begins), time.format_iso(ends), name }
end

describe("a period", function()
    it("is a day of UTC", function()
        local day = { "2026-11-23T00:00:00Z", "2026-11-24T00:00:00Z", "2026-11-23" }
        assert.same(day, at("day", "2026-11-23T00:00:00Z"))
        assert.same(day, at("day", "2026-11-23T23:59:59.999Z"))
        assert.same("2026-11-24", at("day", "2026-11-24T00:00:00Z")[3])
        assert.same("2024-02-29", at("day", "2024-02-29T12:00:00Z")[3])
    end)

    it("is a month of UTC, as long as it is", function()
        local lengths = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 }
        for month, length in ipairs(lengths) do
            local begins, ends, name = period.at("month", time.parse_iso(("2026-%02d-15T12:00:00Z"):format(month)))
            assert.equal(length * DAY, ends - begins)
            assert.equal(("2026-%02d"):format(month), name)
            assert.equal(("2026-%02d"):format(month), select(3, period.at("month", ends - 0.001)))
            assert.equal(ends, (period.at("month", ends)))
        end
    end)

    it("knows leap years, centuries and the end of a year", function()
        for year, days in pairs { [2024] = 29, [2026] = 28, [2000] = 29, [2100] = 28 } do
            local begins, ends = period.at("month", time.parse_iso(year .. "-02-28T23:59:59Z"))
            assert.equal(days * DAY, ends - begins)
        end
        assert.same({ "2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z", "2026-12" }, at("month", "2026-12-31T23:59:59Z"))
    end)

    it("is a stretch that begins at a multiple of itself", function()
        local hour, day = at(3600, "2026-11-23T07:59:59Z"), at(DAY, "2026-11-23T07:59:59Z")
        assert.same({ "2026-11-23T07:00:00Z", "2026-11-23T08:00:00Z" }, { hour[1], hour[2] })
        assert.same({ "2026-11-23T00:00:00Z", "2026-11-24T00:00:00Z" }, { day[1], day[2] })
    end)

    it("has a name of its own, also beside one that begins with it", function()
        local names, count = {}, 0
        for _, kind in ipairs { "day", "month", 3600, 7200, DAY, 1.5 } do
            for _, when in ipairs { "2026-11-01T00:00:00Z", "2026-12-02T03:00:00Z" } do
                local name = at(kind, when)[3]
                assert.is_nil(names[name])
                names[name], count = true, count + 1
            end
        end
        assert.equal(12, count)
    end)
end)
