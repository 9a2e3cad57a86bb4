-- SPDX-License-Identifier: MIT
--
-- Says what a replay found: for people, as one line for each exchange that differs, or as JSON.

local json = require "perigee.json"

local report = {}

local NO_ROUTE = "no route"
local VALUE_MAX = 60

-- ---------------------------------------------------------------- counting

-- Numbers by name, with the names in order of their number, largest first.
local function counter()
    return { counts = {}, names = {} }
end

local function count(self, name)
    if not self.counts[name] then
        self.counts[name] = 0
        self.names[#self.names + 1] = name
    end
    self.counts[name] = self.counts[name] + 1
end

local function sorted(self)
    table.sort(self.names, function(a, b)
        if self.counts[a] ~= self.counts[b] then
            return self.counts[a] > self.counts[b]
        end
        return a < b
    end)
    return self.names
end

local function count_kinds(kinds, differences)
    local seen = {}
    for _, difference in ipairs(differences) do
        if not seen[difference.kind] then
            seen[difference.kind] = true
            count(kinds, difference.kind)
        end
    end
end

local function has_changed(result)
    return result.differences ~= nil and #result.differences > 0
end

--- Counts by kind, route and reason.
---@param results perigee.test.replay.Result[]
---@return table summary
function report.summarize(results)
    local self = { total = #results, same = 0, changed = 0, skipped = 0, kinds = counter(), routes = counter(),
        reasons = counter() }
    for _, result in ipairs(results) do
        if result.skipped then
            self.skipped = self.skipped + 1
            count(self.reasons, result.skipped)
        elseif #result.differences == 0 then
            self.same = self.same + 1
        else
            self.changed = self.changed + 1
            count(self.routes, result.route or NO_ROUTE)
            count_kinds(self.kinds, result.differences)
        end
    end
    return self
end

-- ---------------------------------------------------------------- text

-- Bytes of peers do not reach a terminal as they are.
local function plain(text)
    return (text:gsub("[%c\127-\255]", function(byte) return ("\\x%02x"):format(byte:byte()) end))
end

local function show(value)
    if not value then
        return "none"
    end
    value = plain(value)
    return #value > VALUE_MAX and value:sub(1, VALUE_MAX) .. "…" or value
end

local function show_difference(difference)
    local name = difference.name and " " .. plain(difference.name) or ""
    return difference.kind .. name .. ": " .. show(difference.old) .. " → " .. show(difference.new)
end

local function show_result(write, indent, result)
    write(("%sline %-5d %s\n"):format(indent, result.line, show(result.request)))
    for _, difference in ipairs(result.differences) do
        write(indent, "    ", show_difference(difference), "\n")
    end
    if result.is_assumed then
        write(indent, "    (an upstream was asked whose answer is not recorded: 200 stood for it)\n")
    end
    if result.has_mask then
        write(indent, "    (the request holds masked values, which may be the reason)\n")
    end
end

local function plural(number, what)
    return number .. " " .. what .. (number == 1 and "" or "s")
end

local function write_counts(write, title, counted)
    if #counted.names == 0 then
        return
    end
    write("\n", title, "\n")
    for _, name in ipairs(sorted(counted)) do
        write(("  %7d  %s\n"):format(counted.counts[name], plain(name)))
    end
end

local function write_examples(write, results, summary, limit)
    for _, route in ipairs(sorted(summary.routes)) do
        local total, shown = summary.routes.counts[route], 0
        write("\n", route == NO_ROUTE and route or "route " .. plain(route), ": ", total, " changed\n")
        for _, result in ipairs(results) do
            if shown < limit and has_changed(result) and (result.route or NO_ROUTE) == route then
                show_result(write, "  ", result)
                shown = shown + 1
            end
        end
        if total > shown then
            write("  … ", total - shown, " more\n")
        end
    end
end

--- The summary and some examples, for people.
---@param write fun(...: string|integer)
---@param results perigee.test.replay.Result[]
---@param options { config: string, against: string|nil, examples: integer }
function report.text(write, results, options)
    local summary = report.summarize(results)
    write(plural(summary.total, "exchange"), ", ", options.config, " compared with ",
        options.against or "what was recorded", "\n\n")
    local rows = { { "same", summary.same }, { "changed", summary.changed }, { "not replayable", summary.skipped } }
    for _, row in ipairs(rows) do
        write(("  %7d  %s\n"):format(row[2], row[1]))
    end
    write_counts(write, "What changed (exchanges)", summary.kinds)
    write_examples(write, results, summary, options.examples)
    write_counts(write, "Not replayable", summary.reasons)
end

--- Every exchange that differs, and nothing else.
---@param write fun(...: string|integer)
---@param results perigee.test.replay.Result[]
function report.changed(write, results)
    for _, result in ipairs(results) do
        if has_changed(result) then
            show_result(write, "", result)
        end
    end
end

-- ---------------------------------------------------------------- JSON

-- JSON holds characters: a byte that is not ASCII becomes the character of its number, as in recordings.
local function encodable(text)
    return text and (text:gsub("[\128-\255]", function(byte)
        local number = byte:byte()
        return number < 192 and "\194" .. byte or "\195" .. string.char(number - 64)
    end))
end

local function exchange_value(result)
    local differences = json.array()
    for i, difference in ipairs(result.differences or {}) do
        differences[i] = {
            kind = difference.kind, name = encodable(difference.name), old = encodable(difference.old),
            new = encodable(difference.new),
        }
    end
    return {
        line = result.line, request = encodable(result.request), route = result.route, skipped = result.skipped,
        assumed = result.is_assumed, masked = result.has_mask, differences = differences,
    }
end

--- Everything as JSON.
---@param results perigee.test.replay.Result[]
---@param options { config: string, against: string|nil, only_changed: boolean }
---@return string
function report.json(results, options)
    local summary, list = report.summarize(results), json.array()
    for _, result in ipairs(results) do
        if not options.only_changed or has_changed(result) then
            list[#list + 1] = exchange_value(result)
        end
    end
    return assert(json.encode {
        config = encodable(options.config), against = encodable(options.against), total = summary.total,
        same = summary.same, changed = summary.changed, skipped = summary.skipped, kinds = summary.kinds.counts,
        reasons = summary.reasons.counts, exchanges = list,
    })
end

return report
