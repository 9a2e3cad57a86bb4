-- SPDX-License-Identifier: MIT
--
-- A report as JUnit XML, in the form that CI servers read: a suite per spec file, a case per test with file, line and time.

local clock = require "perigee.test._core.clock"
local plain = require "perigee.test._core.plain"

local junit = {}

local ENTITIES = {
    ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;", ["\n"] = "&#10;", ["\t"] = "&#9;",
}

local function attribute(text)
    return (plain.text(tostring(text)):gsub('[&<>"\n\t]', ENTITIES))
end

local function content(text)
    return (plain.text(text):gsub("[&<>]", ENTITIES))
end

local function tag(name, attributes, tail)
    local parts = { "<", name }
    for _, pair in ipairs(attributes) do
        if pair[2] ~= nil then
            parts[#parts + 1] = (' %s="%s"'):format(pair[1], attribute(pair[2]))
        end
    end
    return table.concat(parts) .. tail
end

local function seconds(value)
    return ("%.6f"):format(value)
end

-- Counts of cases, as the attributes of a suite.
local function totals(cases)
    local counts, time = { failure = 0, error = 0, skipped = 0, success = 0 }, 0
    for _, case in ipairs(cases) do
        counts[case.status] = counts[case.status] + 1
        time = time + case.seconds
    end
    return {
        { "tests", #cases }, { "failures", counts.failure }, { "errors", counts.error }, { "skipped", counts.skipped },
        { "time", seconds(time) },
    }
end

local function join(first, rest)
    local list = { unpack(first) }
    for _, value in ipairs(rest) do
        list[#list + 1] = value
    end
    return list
end

local function problem_text(case)
    local texts = {}
    for i, problem in ipairs(case.problems) do
        local has_place = problem.place == nil or problem.message:sub(1, #problem.place) == problem.place
        texts[i] = (has_place and "" or problem.place .. ": ") .. problem.message
    end
    return table.concat(texts, "\n\n")
end

local function write_case(lines, case)
    local class = case.file:gsub("%.lua$", ""):gsub("^%./", ""):gsub("/", ".")
    local head = {
        { "classname", class }, { "name", case.name }, { "file", case.file }, { "line", case.line },
        { "time", seconds(case.seconds) },
    }
    if case.status == "success" then
        lines[#lines + 1] = "    " .. tag("testcase", head, "/>")
        return
    end
    local text = problem_text(case)
    local first = { { "message", text:match("^[^\n]*") } }
    lines[#lines + 1] = "    " .. tag("testcase", head, ">")
    if case.status == "skipped" then
        lines[#lines + 1] = "      " .. tag("skipped", first, "/>")
    else
        lines[#lines + 1] = "      " .. tag(case.status, join(first, { { "type", case.status } }), ">")
            .. content(text) .. "</" .. case.status .. ">"
    end
    lines[#lines + 1] = "    </testcase>"
end

local function by_file(cases)
    local names, groups = {}, {}
    for _, case in ipairs(cases) do
        if not groups[case.file] then
            groups[case.file], names[#names + 1] = {}, case.file
        end
        table.insert(groups[case.file], case)
    end
    return names, groups
end

--- The report as XML.
---@param report perigee.test.Report
---@return string
function junit.format(report)
    local lines = { '<?xml version="1.0" encoding="UTF-8"?>' }
    lines[2] = tag("testsuites", join({ { "name", "perigee test" } }, totals(report.cases)), ">")
    local names, groups = by_file(report.cases)
    for _, name in ipairs(names) do
        local head = join({ { "name", name }, { "timestamp", clock.machine_date() } }, totals(groups[name]))
        lines[#lines + 1] = "  " .. tag("testsuite", head, ">")
        for _, case in ipairs(groups[name]) do
            write_case(lines, case)
        end
        lines[#lines + 1] = "  </testsuite>"
    end
    lines[#lines + 1] = "</testsuites>\n"
    return table.concat(lines, "\n")
end

return junit
