-- SPDX-License-Identifier: MIT
--
-- The results of --coverage: for people, and as lcov reads them.

local coverage_report = {}

local WIDTH_MAX = 60

local function range(first, last)
    return first == last and tostring(first) or first .. "-" .. last
end

-- Lines that did not run, as ranges; a range goes on over lines that cannot run.
local function missing(result)
    local ranges, first, last = {}, nil, nil
    for _, line in ipairs(result.lines) do
        if result.counts[line] == 0 then
            first, last = first or line, line
        elseif first then
            ranges[#ranges + 1], first = range(first, last), nil
        end
    end
    if first then
        ranges[#ranges + 1] = range(first, last)
    end
    return table.concat(ranges, ", ")
end

local function per_cent(covered, lines)
    return lines == 0 and 100 or covered / lines * 100
end

local function totals(results)
    local covered, lines = 0, 0
    for _, result in ipairs(results) do
        covered, lines = covered + result.covered, lines + #result.lines
    end
    return covered, lines
end

--- Per cent of the lines of all files that ran; nil when there are no files.
---@param results perigee.test.Coverage[]
---@return number|nil
function coverage_report.total(results)
    if #results > 0 then
        return per_cent(totals(results))
    end
end

local function width_of(results)
    local width = #"total"
    for _, result in ipairs(results) do
        width = math.max(width, #result.path)
    end
    return math.min(width, WIDTH_MAX)
end

--- A line for each file, with the lines that did not run, and the total.
---@param results perigee.test.Coverage[]
---@return string[] lines
function coverage_report.summary(results)
    if #results == 0 then
        return { "Coverage: no policy and no configuration was read from disk" }
    end
    local lines = { "Coverage of lines" }
    local form = "  %-" .. width_of(results) .. "s  %5.1f%%  %d of %d%s"
    for _, result in ipairs(results) do
        local rest = missing(result)
        lines[#lines + 1] = form:format(result.path, per_cent(result.covered, #result.lines), result.covered,
            #result.lines, rest ~= "" and "; not run: " .. rest or "")
    end
    local covered, all = totals(results)
    lines[#lines + 1] = form:format("total", per_cent(covered, all), covered, all, "")
    return lines
end

--- The results as a trace file of lcov.
---@param results perigee.test.Coverage[]
---@return string
function coverage_report.lcov(results)
    local lines = {}
    for _, result in ipairs(results) do
        lines[#lines + 1] = "TN:\nSF:" .. result.path
        for _, line in ipairs(result.lines) do
            lines[#lines + 1] = ("DA:%d,%d"):format(line, result.counts[line])
        end
        lines[#lines + 1] = ("LF:%d\nLH:%d\nend_of_record"):format(#result.lines, result.covered)
    end
    return table.concat(lines, "\n") .. "\n"
end

return coverage_report
