-- SPDX-License-Identifier: MIT
--
-- A request that a test expects a fake upstream to be asked: by method, path, headers and body, as often as the test says.

local json = require "perigee.json"
local misuse = require "perigee.test._core.misuse"

local expectation = {}

local SHOWN_MAX = 10

---@class perigee.test.Wanted
---@field method? string
---@field path? string without query
---@field query? string
---@field headers? table<string, string>
---@field body? string|table a table is compared with the JSON of the body
---@field times? integer exactly so often; at least once by default, 0 for never

local KNOWN = {
    method = { "string" }, path = { "string" }, query = { "string" }, headers = { "table" }, times = { "number" },
    body = { "string", "table" },
}

local function check(wanted)
    misuse.check("expect is given a table such as { method = \"POST\", path = \"/pay\" }", wanted, "table")
    for name, value in pairs(wanted) do
        local kinds = KNOWN[name] or misuse.raise("expect: '" .. tostring(name) .. "' is nothing that can be expected")
        if type(value) ~= kinds[1] and type(value) ~= kinds[2] then
            misuse.raise("expect: '" .. name .. "' is a " .. table.concat(kinds, " or a ") .. ", not a " .. type(value))
        end
    end
end

---@class perigee.test.Expectation
local Expectation = {}
Expectation.__index = Expectation

--- An expectation.
---@param wanted perigee.test.Wanted
---@param place string|nil "file:line" of the spec
---@return perigee.test.Expectation
function expectation.new(wanted, place)
    check(wanted)
    return setmetatable({ wanted = wanted, place = place }, Expectation)
end

local function is_body(wanted, body)
    if type(wanted) == "string" then
        return wanted == body
    end
    local value = json.decode(body)
    return value ~= nil and require("luassert.util").deepcompare(value, wanted, true)
end

local function is_met(wanted, request)
    for _, name in ipairs { "method", "path", "query" } do
        if wanted[name] and wanted[name] ~= request[name] then
            return false
        end
    end
    for name, value in pairs(wanted.headers or {}) do
        if request.headers[name] ~= value then
            return false
        end
    end
    return wanted.body == nil or is_body(wanted.body, request.body)
end

local function text_of(wanted)
    local query = wanted.query and "?" .. wanted.query or ""
    local parts = { (wanted.method or "any method") .. " " .. (wanted.path or "any path") .. query }
    local names = {}
    for name in pairs(wanted.headers or {}) do
        names[#names + 1] = name
    end
    table.sort(names)
    for _, name in ipairs(names) do
        parts[#parts + 1] = name .. ": " .. wanted.headers[name]
    end
    if wanted.body then
        local body = type(wanted.body) == "table" and json.encode(wanted.body) or ("%q"):format(wanted.body)
        parts[#parts + 1] = "body " .. body
    end
    return table.concat(parts, ", ")
end

local function seen_text(seen)
    local lines = {}
    for i = 1, math.min(#seen, SHOWN_MAX) do
        local body = seen[i].body ~= "" and ", body " .. ("%q"):format(seen[i].body:sub(1, 200)) or ""
        lines[i] = "\n    " .. seen[i].method .. " " .. seen[i].target .. body
    end
    if #seen > SHOWN_MAX then
        lines[#lines + 1] = "\n    and " .. #seen - SHOWN_MAX .. " more"
    end
    return #seen > 0 and "; it was asked" .. table.concat(lines) or "; it was asked nothing"
end

local function often(count)
    return count == 1 and "once" or count .. " times"
end

--- What is wrong when all is over; nil when the requests are as expected.
---@param name string of the fake
---@param seen perigee.test.Seen[]
---@return string|nil
function Expectation:problem(name, seen)
    local count, times = 0, self.wanted.times
    for _, request in ipairs(seen) do
        count = count + (is_met(self.wanted, request) and 1 or 0)
    end
    if count == times or (times == nil and count > 0) then
        return nil
    end
    local place = self.place and " (" .. self.place .. ")" or ""
    return ("fake upstream '%s' was asked %s %s, not %s%s%s"):format(name, text_of(self.wanted), often(count),
        times and often(times) or "at least once", place, seen_text(seen))
end

return expectation
