-- SPDX-License-Identifier: MIT
--
-- What became of each test, as busted tells it, for the reports that machines read (TAP, JUnit). What goes wrong in after_each
-- is the test's own failure; what goes wrong around tests (a file that does not load, a setup) is a case of its own.

local report = {}

---@class perigee.test.Case
---@field file string spec file
---@field line integer|nil line of the test
---@field name string with the blocks around it
---@field status "success"|"failure"|"error"|"skipped"
---@field seconds number
---@field problems { message: string, place: string|nil }[]

---@class perigee.test.Report
---@field cases perigee.test.Case[]
---@field test_count integer tests that were run
---@field seconds number
---@field on_case fun(case: perigee.test.Case)|nil told when nothing more can happen to a case
---@field on_end fun()|nil
local Report = {}
Report.__index = Report

-- ---------------------------------------------------------------- names and places

local function file_of(busted, element)
    while element and element.descriptor ~= "file" do
        element = busted.context.parent(element)
    end
    return element and element.name or nil
end

--- Name of an element and the blocks around it.
---@param busted table busted's core
---@param element table
---@return string
function report.full_name(busted, element)
    local names = {}
    while element and element.descriptor ~= "file" and element.descriptor ~= "suite" do
        table.insert(names, 1, tostring(element.name or element.descriptor))
        element = busted.context.parent(element)
    end
    return table.concat(names, " ")
end

local function place_of(message, trace)
    local file, line = message:match("^([^\n]-):(%d+): ")
    if file then
        return file .. ":" .. line
    elseif trace and trace.short_src and trace.currentline then
        return trace.short_src .. ":" .. trace.currentline
    end
end

-- ---------------------------------------------------------------- events

function Report:_flush()
    local case = self.current
    self.current = nil
    if case and self.on_case then
        self.on_case(case)
    end
end

function Report:_add(case)
    self:_flush()
    case.problems, case.seconds = {}, 0
    self.cases[#self.cases + 1] = case
    self.current = case
    return case
end

function Report:_begin_test(element)
    local trace = element.trace or {}
    self.test_count = self.test_count + 1
    self:_add {
        name = report.full_name(self.busted, element), status = "error", line = trace.currentline,
        file = file_of(self.busted, element) or trace.short_src or "",
    }
end

local STATUS = { success = "success", failure = "failure", error = "error", pending = "skipped" }

function Report:_end_test(element, status)
    local case = self.current
    case.status, case.seconds = STATUS[status] or "error", element.duration or 0
    if type(element.message) == "string" and status == "pending" then
        case.problems[1] = { message = element.message }
    end
end

local OF_TEST = { it = true, pending = true, after_each = true }

-- The case that a problem is told under.
function Report:_case_of(element)
    if self.current and OF_TEST[element.descriptor] then
        return self.current
    end
    local is_file = element.descriptor == "file" or element.descriptor == nil
    local file = is_file and element.name or file_of(self.busted, element)
    return self:_add {
        name = is_file and (file or "perigee test") or report.full_name(self.busted, element),
        file = file or "", line = element.trace and element.trace.currentline, status = "error",
    }
end

function Report:_add_problem(element, message, trace, status)
    local case = self:_case_of(element)
    message = type(message) == "string" and message or tostring(message or "no message")
    case.status = status
    local place = place_of(message, trace)
    case.problems[#case.problems + 1] = { message = message, place = place }
    if place and not case.line and place:sub(1, #case.file + 1) == case.file .. ":" then
        case.line = tonumber(place:match "%d+$")
    end
end

local function on_problem(self, status)
    return function(element, _, message, trace)
        self:_add_problem(element, message, trace, status)
        return nil, true
    end
end

--- Is something told of a spec file?
---@return boolean
function Report:has_files()
    for _, case in ipairs(self.cases) do
        if case.file ~= "" then
            return true
        end
    end
    return false
end

--- Everything has ended.
function Report:finish()
    self:_flush()
    self.seconds = self.busted.monotime() - self.began
    if self.on_end then
        self.on_end()
    end
end

--- A report of what busted does from now on.
---@param busted table busted's core
---@return perigee.test.Report
function report.new(busted)
    local self = setmetatable({
        busted = busted, cases = {}, test_count = 0, seconds = 0, began = busted.monotime(),
    }, Report)
    busted.subscribe({ "test", "start" }, function(element)
        self:_begin_test(element)
        return nil, true
    end)
    busted.subscribe({ "test", "end" }, function(element, _, status)
        self:_end_test(element, status)
        return nil, true
    end)
    busted.subscribe({ "pending" }, function(_, _, message)
        if self.current and message then
            self.current.problems[1] = { message = tostring(message) }
        end
        return nil, true
    end)
    busted.subscribe({ "failure" }, on_problem(self, "failure"))
    busted.subscribe({ "error" }, on_problem(self, "error"))
    return self
end

return report
