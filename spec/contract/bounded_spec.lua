-- SPDX-License-Identifier: MIT

local bounded = require "perigee._core.bounded"

local originals, strings, tables = string, bounded.string, bounded.table

-- ------------------------------------------------------------------ random pairs, the same in every run

local seed

local function random(most)
    seed = (seed * 16807) % 2147483647
    return seed % most + 1
end

local function pick(list)
    return list[random(#list)]
end

local ATOMS = {
    "a", "b", ".", "%a", "%A", "%c", "%d", "%D", "%g", "%l", "%p", "%s", "%S", "%u", "%w", "%W", "%x", "%z", "%Z",
        "%.", "%%",
    "[ab]", "[^a]", "[a-c]", "[%a_]", "[^%s]", "[]]", "[^]]", "[a-]", "[%]]", "[a-%%]", "[%z-\31]", "-", "0", " ",
        "\233",
}
local SPECIALS = {
    "%b()", "%bab", "%baa", "%b", "%bx", "%f[a]", "%f[%w]", "%f[^%w]", "%f[%z]", "%f", "%fa", "%1", "%2", "%0", "%9",
        "(", ")", "()",
    "[", "[^", "%", "]", "^", "$", "\0", "((a)b)", "(a(b*)c)",
}
local BYTES = { "a", "b", "c", "a", "b", "(", ")", " ", "1", "0", "_", ".", "%", "A", "Z", "\n", "\0", "\200", "]",
    "-", "^" }

local function random_pattern()
    local parts = { random(6) == 1 and "^" or "" }
    for _ = 1, random(7) - 1 do
        local kind = random(20)
        if kind <= 12 then
            parts[#parts + 1] = pick(ATOMS) .. (random(2) == 1 and pick { "*", "+", "-", "?" } or "")
        elseif kind <= 15 then
            parts[#parts + 1] = "(" .. pick(ATOMS) .. pick { "", "*", "+", "-" } .. ")"
        else
            parts[#parts + 1] = pick(SPECIALS)
        end
    end
    return table.concat(parts) .. (random(6) == 1 and "$" or "")
end

local function random_subject()
    local bytes = {}
    for i = 1, random(15) - 1 do
        bytes[i] = pick(BYTES)
    end
    return table.concat(bytes)
end

-- A replacement function that counts its calls, so each side needs its own.
local function replacer()
    local calls = 0
    return function(...)
        calls = calls + 1
        if calls % 3 == 0 then
            return nil
        end
        return calls % 7 == 0 and {} or select("#", ...) .. tostring((...))
    end
end

local REPLACEMENTS = {
    "x", "", "%0", "%1", "<%1>", "%2", "%", "%a", "%%", "%0%0", "\0", 1, 1.5, true, { a = "A", b = false, [1] = 5,
        ab = {} },
}

local function all_of(iterate, subject, pattern)
    local found, count = {}, 0
    for a, b, c in iterate(subject, pattern) do
        found[#found + 1] = tostring(a) .. "/" .. tostring(b) .. "/" .. tostring(c)
        count = count + 1
        if count > 40 then
            break
        end
    end
    return table.concat(found, ";")
end

-- What a call gives, as text: types, values, and the message of an error. An argument that is left out is nil in a wrapper.
local function shown(...)
    local parts = {}
    for i = 1, select("#", ...) do
        local value = select(i, ...)
        parts[i] = type(value) .. ":" .. tostring(value):gsub("got no value", "got nil")
    end
    return table.concat(parts, ",")
end

local CALLS = {}

function CALLS.find(library, subject, pattern, choice)
    if choice % 8 == 0 then
        return shown(pcall(library.find, subject, pattern, choice % 5, true))
    end
    return shown(pcall(library.find, subject, pattern, choice % 41 - 20))
end

function CALLS.match(library, subject, pattern, choice)
    return shown(pcall(library.match, subject, pattern, choice % 2 == 0 and choice % 41 - 20 or nil))
end

function CALLS.gmatch(library, subject, pattern)
    return shown(pcall(all_of, library.gmatch, subject, pattern))
end

function CALLS.gsub(library, subject, pattern, choice)
    local replacement = REPLACEMENTS[choice % (#REPLACEMENTS + 4)] or replacer()
    local most = ({ -1, 0, 1, 2, 100 })[choice % 9]
    return shown(pcall(library.gsub, subject, pattern, replacement, most))
end

describe("a bounded search", function()
    for name, call in pairs(CALLS) do
        it("by " .. name .. " gives what LuaJIT gives, errors included, over random patterns and subjects", function()
            seed = 20261123
            local errors = 0
            for _ = 1, 5000 do
                local pattern, subject, choice = random_pattern(), random_subject(), random(1000)
                local expected = call(originals, subject, pattern, choice)
                local found = call(strings, subject, pattern, choice)
                if expected ~= found then
                    assert.equal(expected, found, ("%s %q %q"):format(name, pattern, subject))
                end
                errors = errors + (expected:find("^boolean:false") and 1 or 0)
            end
            assert.is_true(errors > 100 and errors < 2500) -- both ways were tried
        end)
    end

    it("sees every byte in the class that LuaJIT sees it in", function()
        for name in ("acdglpsuwxzACDGLPSUWXZ"):gmatch(".") do
            for code = 0, 255 do
                local byte = string.char(code)
                if originals.find(byte, "%" .. name) ~= strings.find(byte, "%" .. name) then
                    error("byte " .. code .. " and %" .. name)
                end
            end
        end
    end)

    it("takes 200 nested items and refuses more, as LuaJIT does", function()
        for _, count in ipairs { 10, 32, 33, 66, 99, 100, 199, 200, 201 } do
            for _, item in ipairs { "a?", "()", "(a?)", "a-" } do
                local pattern, subject = item:rep(count), ("a"):rep(count)
                assert.equal(shown(pcall(originals.find, subject, pattern)), shown(pcall(strings.find, subject,
                    pattern)))
            end
        end
    end)

    it("refuses wrong arguments as LuaJIT does", function()
        for _, name in ipairs { "find", "match", "gmatch", "gsub" } do
            for _, arguments in ipairs { {}, { "a" }, { "a", {} }, { {}, "a" }, { 12, 1 }, { "a", "a", {} }, { "a",
                "a", "x", {} } } do
                local function result_of(library)
                    local text = shown(pcall(library[name], unpack(arguments)))
                    return (text:gsub("function: builtin#%d+", "function"):gsub("function: 0x%x+", "function"))
                end
                assert.equal(result_of(originals), result_of(strings))
            end
        end
    end)

    for name, pattern in pairs {
        ["nested repetition"] = ".-.-.-.-.-b",
        ["the same captured"] = "(.-)(.-)(.-)(.-)(.-)b",
        ["greedy repetition"] = ".*.*.*.*.*b",
        ["options"] = ("a?"):rep(60) .. ("a"):rep(60) .. "b",
        ["balanced brackets that never close"] = "%bab",
        ["a set with many members"] = "[" .. ("x"):rep(5000) .. "]",
    } do
        for _, call in ipairs { "find", "match", "gsub" } do
            it("by " .. call .. " ends when it costs too much: " .. name, function()
                local ok, message = pcall(strings[call], ("a"):rep(5000), pattern, call == "gsub" and "" or nil)
                assert.is_false(ok)
                assert.equal("pattern too costly: more than 3000000 steps", message)
            end)
        end
    end

    it("by gmatch has the limit for each step", function()
        local step = strings.gmatch(("a"):rep(5000), ".-.-.-.-b")
        assert.is_false((pcall(step)))
        local count = 0
        for _ in strings.gmatch(("ab "):rep(300000), "%w+") do
            count = count + 1
        end
        assert.equal(300000, count)
    end)

    it("for plain text is linear", function()
        local subject, needle = ("a"):rep(1000000), ("a"):rep(500000) .. "b"
        assert.is_nil(strings.find(subject, needle, 1, true))
        assert.is_nil(strings.find(subject, needle))
        assert.same({ 500001, 1000001 }, { strings.find(subject .. "b", needle, 1, true) })
    end)

    it("is the method of strings", function()
        assert.equal(strings.find, ("").find)
        assert.equal(strings.rep, ("").rep)
    end)
end)

describe("a result has at most 16 MiB", function()
    local MIB = 1024 * 1024
    local long = ("x"):rep(MIB)

    local function refused(call, ...)
        local ok, message = pcall(call, ...)
        assert.is_false(ok)
        assert.truthy(message:find("has more than 16 MiB", 1, true), message)
    end

    it("from string.rep", function()
        assert.equal(16 * MIB, #strings.rep("x", 16 * MIB))
        refused(strings.rep, "x", 16 * MIB + 1)
        refused(strings.rep, "x", 2 ^ 30)
        refused(strings.rep, "x", 1 / 0)
        refused(strings.rep, "", 2 ^ 30, "x")
        refused(strings.rep, 7, "1e9")
        assert.same({ "", "", "x,x", "77" },
            { strings.rep("x", -1), strings.rep("", 1e9), strings.rep("x", 2, ","), strings.rep(7, "2") })
    end)

    it("from string.format", function()
        local many = {}
        for i = 1, 40 do
            many[i] = long
        end
        assert.equal(15 * MIB, #strings.format(("%s"):rep(15), unpack(many, 1, 15)))
        refused(strings.format, ("%s"):rep(40), unpack(many))
        assert.equal("1 a  2", strings.format("%d %s %2d", 1, "a", 2))
        assert.is_false((pcall(strings.format, "%99999d", 1)))
        assert.is_false((pcall(strings.format, "%s")))
    end)

    it("from table.concat", function()
        local list = {}
        for i = 1, 16 do
            list[i] = long
        end
        assert.equal(16 * MIB, #tables.concat(list))
        refused(tables.concat, list, ",")
        list[17] = "x"
        refused(tables.concat, list)
        refused(tables.concat, { "", "", "" }, ("x"):rep(9 * MIB))
        assert.equal(MIB, #tables.concat(list, "", 1, 1))
        assert.equal("1,b", tables.concat({ 1, "b" }, ","))
        for _, arguments in ipairs { {}, { {}, {} }, { { {} } }, { { 1, 2 }, ",", 1, 5 }, { { 1 }, ",", "x" } } do
            assert.equal(shown(pcall(table.concat, unpack(arguments))), shown(pcall(tables.concat, unpack(arguments))))
        end
    end)

    it("from string.gsub", function()
        refused(strings.gsub, ("a"):rep(1000), "a", long)
        refused(strings.gsub, ("a"):rep(1000), "a", function() return long end)
        refused(strings.gsub, ("a"):rep(1000), "a", { a = long })
        refused(strings.gsub, long, ".*", ("%0"):rep(17))
    end)
end)

describe("table.sort", function()
    it("sorts what is long by a function that can be stopped", function()
        local list = {}
        seed = 7
        for i = 1, 5000 do
            list[i] = random(100000)
        end
        tables.sort(list)
        for i = 2, #list do
            if list[i - 1] > list[i] then
                error("out of order at " .. i)
            end
        end
    end)

    it("survives an order that is none", function()
        local list = {}
        for i = 1, 500 do
            list[i] = i % 7
        end
        for _, order in ipairs { function() return true end, function(a, b) return a <= b end } do
            local ok, message = pcall(tables.sort, list, order)
            assert.is_true(ok or message:find("invalid order function", 1, true) ~= nil)
        end
    end)

    it("refuses values without an order as LuaJIT does", function()
        assert.equal(shown(pcall(table.sort, { 1, "x" })), shown(pcall(tables.sort, { 1, "x" })))
        assert.equal(shown(pcall(table.sort)), shown(pcall(tables.sort)))
    end)
end)

describe("table.insert", function()
    it("does what LuaJIT does", function()
        for _, arguments in ipairs { { 9 }, { 1, 9 }, { 3, 9 }, { 2, 9, 9 }, { "x", 9 } } do
            local one, other = { 1, 2, 3 }, { 1, 2, 3 }
            assert.equal(shown(pcall(table.insert, one, unpack(arguments))), shown(pcall(tables.insert, other,
                unpack(arguments))))
            assert.same(one, other)
        end
    end)

    it("moves many elements where it can be stopped", function()
        local list = {}
        for i = 1, 150000 do
            list[i] = i
        end
        tables.insert(list, 1, "first")
        assert.same({ "first", 1, 150000, 150001 }, { list[1], list[2], list[150001], #list })
    end)

    it("leaves arrays of JSON to the script", function()
        local list = require("perigee.json").array()
        tables.insert(list, 1)
        assert.equal(1, #list)
    end)
end)
