-- SPDX-License-Identifier: MIT
--
-- assert.response(res).has.status(200) and the like, with messages that show the response and what was logged.

local client = require "perigee.test.client"
local difference = require "perigee.test._core.difference"
local misuse = require "perigee.test._core.misuse"
local world = require "perigee.test.world"

local assertions = {}

local RESPONSE = "perigee_response" -- where luassert's state keeps the response
local LINES_MAX = 20
local BODY_MAX = 2000

local function response_of(state, name)
    local response = rawget(state, RESPONSE)
    if not response then
        misuse.raise("has." .. name .. " comes after assert.response(res)")
    end
    return response
end

-- The response and the last lines of the log.
local function picture(response)
    local text = tostring(response)
    local parts = { "The response:", #text > BODY_MAX and text:sub(1, BODY_MAX) .. "…" or text }
    local lines = world.log()
    if #lines > 0 then
        parts[#parts + 1] = "\nThe log:"
    end
    for i = math.max(1, #lines - LINES_MAX + 1), #lines do
        parts[#parts + 1] = lines[i].level .. " " .. lines[i].message
    end
    return table.concat(parts, "\n")
end

local SHOWN_MAX = 300

local function show(value)
    if type(value) ~= "string" then
        return tostring(value)
    elseif #value > SHOWN_MAX then
        return string.format("%q… (%d bytes)", value:sub(1, SHOWN_MAX), #value)
    end
    return string.format("%q", value)
end

local function decode(response)
    return require("perigee.json").decode(response.body)
end

-- What the proxy itself says about an answer that it made (RFC 9457); "" for others.
local function reason(response)
    local value = response.headers["content-type"] == "application/problem+json" and decode(response)
    if type(value) ~= "table" then
        return ""
    end
    return " (" .. tostring(value.title) .. (value.detail and ": " .. tostring(value.detail) or "") .. ")"
end

-- Makes the arguments of an assertion its message.
local function explain(arguments, response, ...)
    arguments[1] = table.concat({ ... }) .. "\n" .. picture(response)
    arguments.n, arguments.nofmt = 1, { true }
end

local function show_json(text)
    return text and #text > SHOWN_MAX and text:sub(1, SHOWN_MAX) .. "…" or text or "?"
end

local checks = {}

function checks.status(response, arguments)
    local expected = arguments[1]
    misuse.check("has.status expects a number", expected, "number")
    return response.status == expected, "status ", show(expected), ", got ", show(response.status), reason(response)
end

function checks.header(response, arguments)
    local name, expected = arguments[1], arguments[2]
    misuse.check("has.header expects the name of a header", name, "string")
    local value = response.headers[name]
    if arguments.n < 2 then
        return value ~= nil, "header ", name, ", got ", show(value)
    end
    return value == tostring(expected), "header ", name, ": ", show(expected), ", got ", show(value)
end

-- Several at once; false stands for a header that is not there.
function checks.headers(response, arguments)
    misuse.check("has.headers expects a table of values by name", arguments[1], "table")
    local expected, actual = {}, {}
    for name, value in pairs(arguments[1]) do
        misuse.check("has.headers expects names that are strings", name, "string")
        expected[name], actual[name] = value and tostring(value) or nil, response.headers[name]
    end
    local found = difference.of_values(expected, actual)
    return found == "", "headers, and they differ:", found
end

function checks.body(response, arguments)
    local expected = arguments[1]
    misuse.check("has.body expects a text", expected, "string")
    return response.body == expected, "body ", show(expected), ", got ", show(response.body),
        difference.of_texts(expected, response.body)
end

function checks.json(response, arguments)
    local value, message = decode(response)
    if value == nil then
        return false, "a JSON body, but ", tostring(message)
    end
    local encode = require("perigee.json").encode
    local is_same = require("luassert.util").deepcompare(value, arguments[1], true)
    return is_same, "JSON ", show_json(encode(arguments[1])), ", got ", show_json(encode(value)),
        difference.of_values(arguments[1], value)
end

-- An answer of the proxy itself (RFC 9457).
function checks.problem(response, arguments)
    local expected, kind = arguments[1], response.headers["content-type"]
    misuse.check("is.problem expects a status", expected, "number")
    local value = decode(response)
    local is_problem = kind == "application/problem+json" and type(value) == "table"
    return response.status == expected and is_problem and value.status == expected,
        "a problem with status ", show(expected), ", got ", show(response.status), " as ", show(kind), reason(response)
end

local function register(assert, name, check)
    assert:register("assertion", name, function(state, arguments)
        local response = response_of(state, name)
        local function finish(is_met, ...)
            explain(arguments, response, ...)
            return is_met
        end
        return finish(check(response, arguments))
    end, "assertion.perigee.has", "assertion.perigee.has_no")
end

--- Adds the assertions to busted's.
function assertions.install()
    local assert, say = require "luassert", require "say"
    say:set("assertion.perigee.has", "Expected %s")
    say:set("assertion.perigee.has_no", "Expected anything but %s")
    assert:register("modifier", "response", function(state, arguments)
        if arguments then
            if client.is_pending(arguments[1]) then
                misuse.raise "assert.response expects a response, not a request on its way: call :wait() first"
            elseif not client.is_response(arguments[1]) then
                misuse.raise("assert.response expects a response, not a " .. type(arguments[1]))
            end
            rawset(state, RESPONSE, arguments[1])
        end
        return state
    end)
    for name, check in pairs(checks) do
        register(assert, name, check)
    end
end

return assertions
