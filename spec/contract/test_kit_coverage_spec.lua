-- SPDX-License-Identifier: MIT

local bytecode_lines = require "perigee.test._core.bytecode_lines"
local coverage_report = require "perigee.test._core.coverage_report"

local function lines_of(text)
    local list = {}
    for line in pairs(assert(bytecode_lines.of(text))) do
        list[#list + 1] = line
    end
    table.sort(list)
    return table.concat(list, " ")
end

describe("lines that can run", function()
    it("are those with code", function()
        assert.equal("2 5", lines_of "-- comment\nlocal a = 1\n\n--[[ long\n]] a = 2\n")
    end)

    it("are those of functions too, however deep", function()
        assert.equal("2 3 4 5 6", lines_of [[--
            local function outer() f()
                local inner = f() return function()
                    return 1 end
            end
            return outer]])
    end)

    it("leave out what no path reaches", function()
        assert.equal("1 2 4 6", lines_of [[local function f(a) if a then
                return 1
            else
                return 2
            end
        end return f]])
        assert.equal("1 2 3 4", lines_of "while true do\n local a = f()\n if a then break end\nend")
    end)

    it("reach through every kind of loop and jump", function()
        assert.equal("1 2 3 4 5 7 8 9 10 11 12 13", lines_of [[for i = 1, 3 do
                f(i) end
            for _, v in ipairs(t) do
                f(v) end
            for k in pairs(t) do
                --
                f(k) end
            repeat local x = f()
                local function g() return x end
            until g()
            goto out
            ::out:: local a = f() and g() or h()
            return a]])
    end)

    it("are none of a text that does not compile", function()
        assert.is_nil(bytecode_lines.of "local = 1")
    end)
end)

describe("a report of coverage", function()
    local results

    before_each(function()
        results = {
            { path = "policies/a/init.lua", lines = { 1, 3, 4, 6, 7, 9 }, covered = 2,
                counts = { 5, 0, 0, 0, 0, 0, 1, 0, 0 } },
            { path = "b.lua", lines = { 1, 2 }, covered = 2, counts = { 1, 70 } },
            { path = "empty.lua", lines = {}, covered = 0, counts = {} },
        }
    end)

    it("joins lines into ranges over lines that cannot run", function()
        assert.same({
            "Coverage of lines",
            "  policies/a/init.lua   33.3%  2 of 6; not run: 3-6, 9",
            "  b.lua                100.0%  2 of 2",
            "  empty.lua            100.0%  0 of 0",
            "  total                 50.0%  4 of 8",
        }, coverage_report.summary(results))
        assert.equal(50, coverage_report.total(results))
    end)

    it("says so when there is nothing", function()
        assert.same({ "Coverage: no policy and no configuration was read from disk" }, coverage_report.summary {})
        assert.is_nil(coverage_report.total {})
    end)

    it("is a trace file of lcov", function()
        assert.equal("TN:\nSF:b.lua\nDA:1,1\nDA:2,70\nLF:2\nLH:2\nend_of_record\n", coverage_report.lcov { results[2] })
    end)
end)
