-- SPDX-License-Identifier: MIT
--
-- assert.response(res).has.status(200) and the like, with messages that show the response and what was logged.

local client = require "perigee.test.client"
local world = require "perigee.test.world"

local assertions = {}

local RESPONSE = "perigee_response" -- where luassert's state keeps the response
local LINES_MAX = 20
local BODY_MAX = 2000

local function response_of(state, name)
    local response = rawget(state, RESPONSE)
    if not response then
        error("has." .. name .. " comes after assert.response(res)", 4)
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

local function show(value)
    return type(value) == "string" and string.format("%q", value) or tostring(value)
end

-- Makes the arguments of an assertion its message.
local function explain(arguments, response, ...)
    arguments[1] = table.concat({ ... }) .. "\n" .. picture(response)
    arguments.n, arguments.nofmt = 1, { true }
end

local checks = {}

function checks.status(response, arguments)
    local expected = arguments[1]
    return response.status == expected, "status ", show(expected), ", got ", show(response.status)
end

function checks.header(response, arguments)
    local name, expected = arguments[1], arguments[2]
    local value = response.headers[name]
    if arguments.n < 2 then
        return value ~= nil, "header ", name, ", got ", show(value)
    end
    return value == tostring(expected), "header ", name, ": ", show(expected), ", got ", show(value)
end

function checks.body(response, arguments)
    return response.body == arguments[1], "body ", show(arguments[1]), ", got ", show(response.body)
end

function checks.json(response, arguments)
    local value, message = require("perigee.json").decode(response.body)
    if value == nil then
        return false, "a JSON body, but ", tostring(message)
    end
    local encode = require("perigee.json").encode
    local is_same = require("luassert.util").deepcompare(value, arguments[1], true)
    return is_same, "JSON ", encode(arguments[1]) or "?", ", got ", encode(value) or "?"
end

-- An answer of the proxy itself (RFC 9457).
function checks.problem(response, arguments)
    local expected, kind = arguments[1], response.headers["content-type"]
    local value = require("perigee.json").decode(response.body)
    local is_problem = kind == "application/problem+json" and type(value) == "table"
    return response.status == expected and is_problem and value.status == expected,
        "a problem with status ", show(expected), ", got ", show(response.status), " as ", show(kind)
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
            if not client.is_response(arguments[1]) then
                error("assert.response expects a response, not a " .. type(arguments[1]), 3)
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
