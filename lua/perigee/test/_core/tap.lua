-- SPDX-License-Identifier: MIT
--
-- A report as TAP (Test Anything Protocol, version 13) on standard output: one line a test as soon as it is over, and what went
-- wrong as a YAML block, whose texts are JSON strings.

local json = require "perigee.json"
local plain = require "perigee.test._core.plain"

local tap = {}

local function quote(text)
    return assert(json.encode(plain.text(text)))
end

local function write_problems(case)
    local lines = { "  ---" }
    if case.line then
        lines[#lines + 1] = "  at: " .. quote(case.file .. ":" .. case.line)
    end
    lines[#lines + 1] = ("  duration_ms: %.3f"):format(case.seconds * 1000)
    lines[#lines + 1] = "  severity: " .. (case.status == "failure" and "fail" or "error")
    lines[#lines + 1] = "  problems:"
    for _, problem in ipairs(case.problems) do
        lines[#lines + 1] = "    - message: " .. quote(problem.message)
        if problem.place then
            lines[#lines + 1] = "      at: " .. quote(problem.place)
        end
    end
    lines[#lines + 1] = "  ..."
    io.write(table.concat(lines, "\n"), "\n")
end

-- "#" begins a directive, and "\" escapes it.
local function description(case)
    return (plain.line(case.name):gsub("[\\#]", "\\%0"))
end

--- Writes what comes of each test from now on.
---@param report perigee.test.Report
function tap.begin(report)
    local count = 0
    io.write("TAP version 13\n")
    report.on_case = function(case)
        count = count + 1
        local is_ok = case.status == "success" or case.status == "skipped"
        local reason = case.problems[1] and plain.line(case.problems[1].message) or ""
        io.write(is_ok and "ok " or "not ok ", count, " - ", description(case),
            case.status == "skipped" and " # SKIP " .. reason or "", "\n")
        if not is_ok then
            write_problems(case)
        end
        io.flush()
    end
    report.on_end = function()
        io.write("1..", count, "\n")
    end
end

return tap
