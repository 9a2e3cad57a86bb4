-- SPDX-License-Identifier: MIT
local declaration = require "perigee._core.declaration"
local schema = require "perigee._core.schema"

local function validate(fields, value, secrets)
    local errors = {}
    return schema.validate(fields, value, {}, errors, secrets), errors
end

-- The one error of a value, as "path: message".
local function refuse(fields, value, secrets)
    local _, errors = validate(fields, value, secrets)
    assert.are.equal(1, #errors, "number of errors")
    return errors[1].path .. ": " .. errors[1].message
end

-- The copy of a value without errors.
local function accept(fields, value)
    local copy, errors = validate(fields, value)
    assert.are.same({}, errors)
    return copy
end

describe("a schema", function()
    describe("with scalars", function()
        it("accepts the Lua types it names", function()
            local f = function() end
            local value = { s = "x", n = 1.5, i = 3, b = false, f = f, a = "anything" }
            local fields = { s = "string", n = "number", i = "integer", b = "boolean", f = "function", a = "any" }
            assert.are.same(value, accept(fields, value))
        end)

        it("says what it expected and what it found", function()
            assert.are.equal('n: expected a number, found "1"', refuse({ n = "number" }, { n = "1" }))
            assert.are.equal("s: expected a string, found 1", refuse({ s = "string" }, { s = 1 }))
            assert.are.equal("i: expected a whole number, found 1.5", refuse({ i = "integer" }, { i = 1.5 }))
            assert.are.equal('b: expected true or false, found "yes"', refuse({ b = "boolean" }, { b = "yes" }))
            assert.are.equal("f: expected a function, found a table", refuse({ f = "function" }, { f = {} }))
            assert.are.equal("s: expected a string, found a list", refuse({ s = "string" }, { s = { "a" } }))
        end)

        it("refuses numbers that are none", function()
            assert.truthy(refuse({ n = "number" }, { n = 0 / 0 }):find("expected a number", 1, true))
            assert.truthy(refuse({ n = "number" }, { n = 1 / 0 }):find("expected a number", 1, true))
            assert.are.equal("i: is too large", refuse({ i = "integer" }, { i = 2 ^ 60 }))
        end)

        it("holds numbers to their limits", function()
            local fields = { n = { type = "integer", min = 1, max = 10 } }
            assert.are.equal(10, accept(fields, { n = 10 }).n)
            assert.are.equal("n: must be at least 1", refuse(fields, { n = 0 }))
            assert.are.equal("n: must be at most 10", refuse(fields, { n = 11 }))
        end)

        it("holds strings to their length", function()
            assert.are.equal("s: must not be empty", refuse({ s = { type = "string", min = 1 } }, { s = "" }))
            local message = refuse({ s = { type = "string", max = 2 } }, { s = "abc" })
            assert.are.equal("s: its length in bytes must be at most 2", message)
        end)

        it("names the allowed strings and the nearest one", function()
            local fields = { by = { type = "string", enum = { "client", "consumer" } } }
            assert.are.equal('by: expected "client" or "consumer", found "moon"', refuse(fields, { by = "moon" }))
            local message = refuse(fields, { by = "cleint" })
            assert.are.equal('by: expected "client" or "consumer", found "cleint"; did you mean "client"?', message)
        end)

        it("says which strings are not supported yet", function()
            local fields = { b = { type = "string", enum = { "random" }, reserved = { maglev = true } } }
            local message = refuse(fields, { b = "maglev" })
            assert.are.equal('b: "maglev" is not supported yet in this version; expected "random"', message)
        end)

        it("shows long and unprintable strings in a bounded, printable form", function()
            local message = refuse({ n = "number" }, { n = "a\n" .. ("x"):rep(500) })
            assert.truthy(message:find('found "a\\010xx', 1, true))
            assert.truthy(#message < 120)
        end)
    end)

    describe("with durations and sizes", function()
        it("turns durations into seconds", function()
            local fields = { d = "duration" }
            for text, seconds in pairs { ["500ms"] = 0.5, ["10s"] = 10, ["5m"] = 300, ["1h"] = 3600, ["1.5s"] = 1.5,
                                         ["0s"] = 0 } do
                assert.are.equal(seconds, accept(fields, { d = text }).d)
            end
        end)

        it("refuses durations without a unit and shows how to write them", function()
            local message = refuse({ d = "duration" }, { d = 10 })
            assert.are.equal('d: expected a duration such as "10s" (units: ms, s, m, h), found 10; '
                .. 'for seconds write "10s"', message)
            for _, text in ipairs { "10", "", "s", "-1s", "1d", "1 s", "10s ", "1.2.3s", "1e3s", "9999999999h" } do
                assert.truthy(refuse({ d = "duration" }, { d = text }):find("expected a duration", 1, true), text)
            end
        end)

        it("turns sizes into bytes", function()
            local fields = { s = "size" }
            for text, bytes in pairs { ["64k"] = 65536, ["1m"] = 1048576, ["2G"] = 2147483648, ["512"] = 512,
                                       ["1.5k"] = 1536 } do
                assert.are.equal(bytes, accept(fields, { s = text }).s)
            end
            assert.are.equal(4096, accept(fields, { s = 4096 }).s)
        end)

        it("refuses what is no size", function()
            for _, value in ipairs { "64kb", "", "k", "-1", -1, 1.5, "0.3k", true } do
                assert.truthy(refuse({ s = "size" }, { s = value }):find("expected a size", 1, true), tostring(value))
            end
        end)

        it("writes limits in the units of the setting", function()
            local fields = { d = { type = "duration", min = "100ms", max = "1h" }, s = { type = "size", max = "64k" } }
            assert.are.equal("d: must be at least 100ms", refuse(fields, { d = "50ms" }))
            assert.are.equal("d: must be at most 1h", refuse(fields, { d = "61m" }))
            assert.are.equal("s: must be at most 64k", refuse(fields, { s = 65537 }))
        end)
    end)

    describe("with lists, sets and maps", function()
        it("checks every item", function()
            local fields = { l = { type = "list", items = "integer" } }
            assert.are.same({ 1, 2 }, accept(fields, { l = { 1, 2 } }).l)
            local copy, errors = validate(fields, { l = { 1, "x", 3, "y" } })
            assert.are.equal('l[2]: expected a whole number, found "x"', errors[1].path .. ": " .. errors[1].message)
            assert.are.equal("l[4]", errors[2].path)
            assert.are.same({ 1, false, 3, false }, copy.l)
        end)

        it("copies, so that a later change of the source changes nothing", function()
            local source = { l = { 1 }, m = { a = 1 } }
            local copy = accept({ l = { type = "list", items = "any" }, m = { type = "map", values = "any" } }, source)
            source.l[1], source.m.a = 2, 2
            assert.are.same({ l = { 1 }, m = { a = 1 } }, copy)
        end)

        it("suggests braces for a single value", function()
            local message = refuse({ l = { type = "list", items = "string" } }, { l = "GET" })
            assert.are.equal('l: expected a list, found "GET"; put it in braces: { … }', message)
        end)

        it("refuses tables that are no list", function()
            local fields = { l = { type = "list", items = "any" } }
            assert.are.equal('l: expected a list, found a table with the key "a"', refuse(fields, { l = { a = 1 } }))
            assert.are.equal("l: expected a list, but item 1 is missing (nil)", refuse(fields, { l = { nil, 2 } }))
        end)

        it("holds lists to their length", function()
            local fields = { l = { type = "list", items = "any", min = 1 } }
            assert.are.equal("l: its number of items must be at least 1", refuse(fields, { l = {} }))
        end)

        it("turns a set into a lookup table", function()
            local fields = { s = { type = "set", items = "string" } }
            assert.are.same({ a = true, b = true }, accept(fields, { s = { "a", "b", "a" } }).s)
        end)

        it("checks keys and values of a map", function()
            local short = { type = "string", max = 1 }
            local fields = { m = { type = "map", keys = short, values = "integer" } }
            assert.are.same({ a = 1 }, accept(fields, { m = { a = 1 } }).m)
            assert.are.equal('m.a: expected a whole number, found "x"', refuse(fields, { m = { a = "x" } }))
            assert.are.equal("m.ab: its length in bytes must be at most 1", refuse(fields, { m = { ab = 1 } }))
            assert.are.equal("m[1]: expected a string, found 1", refuse(fields, { m = { 1 } }))
        end)

        it("writes unusual keys of a path as Lua would", function()
            local fields = { m = { type = "map", values = "integer" } }
            assert.are.equal('m["a b.c"]: expected a whole number, found true', refuse(fields, { m = {
                ["a b.c"] = true } }))
        end)
    end)

    describe("with records", function()
        local fields = {
            upstream = "string",
            limits = { type = "table", default = {}, fields = { body = { type = "size", default = "1m" },
                n = "integer" } },
        }

        it("fills in nested defaults", function()
            assert.are.same({ limits = { body = 1048576 } }, accept(fields, {}))
            assert.are.same({ limits = { body = 1048576, n = 2 } }, accept(fields, { limits = { n = 2 } }))
        end)

        it("gives every result its own copy of a default", function()
            local with_list = { l = { type = "list", items = "any", default = { 1 } } }
            local first, second = accept(with_list, {}), accept(with_list, {})
            first.l[1] = 2
            assert.are.same({ 1 }, second.l)
        end)

        it("names the nearest known setting", function()
            local message = refuse(fields, { upsteam = "x" })
            assert.are.equal("upsteam: unknown setting 'upsteam'; did you mean 'upstream'?", message)
            assert.truthy(refuse(fields, { Upstream = "x" }):find("did you mean 'upstream'?", 1, true))
            assert.truthy(refuse(fields, { upstraem = "x" }):find("did you mean 'upstream'?", 1, true))
        end)

        it("lists the known settings when none is near", function()
            local message = refuse(fields, { zzz = 1 })
            assert.are.equal("zzz: unknown setting 'zzz'; the settings here are limits, upstream", message)
        end)

        it("refuses list items among settings", function()
            assert.are.equal("[1]: unknown item: settings are written as name = value", refuse(fields, { "x" }))
        end)

        it("reports required settings", function()
            local message = refuse({ key = { type = "string", required = true } }, {})
            assert.are.equal("key: is required: expected a string", message)
        end)

        it("finds every error at once, in a stable order", function()
            local _, errors = validate(fields, { upsteam = 1, limits = { n = "x", body = "y" }, upstream = 5 })
            local paths = {}
            for i, err in ipairs(errors) do
                paths[i] = err.path
            end
            assert.are.same({ "upsteam", "limits.body", "limits.n", "upstream" }, paths)
        end)

        it("lets a bare value and a first item stand for the short setting", function()
            local endpoint = {
                type = "table", short = "address", fields = { address = "string", weight = { type = "integer",
                    default = 1 } },
            }
            local list = { l = { type = "list", items = endpoint } }
            local copy = accept(list, { l = { "a", { "b", weight = 2 }, { address = "c" } } })
            assert.are.same({ { address = "a", weight = 1 }, { address = "b", weight = 2 }, { address = "c",
                weight = 1 } },
                copy.l)
            assert.are.equal("l[1]: 'address' is written twice: as the first item and by name",
                refuse(list, { l = { { "a", address = "b" } } }))
            assert.are.equal("l[1].address: expected a string, found 7", refuse(list, { l = { 7 } }))
        end)

        it("wants exactly one of alternative settings", function()
            local one = {
                t = {
                    type = "table", exactly_one = { "a", "b", "later" },
                    fields = { a = "string", b = "string", later = { type = "any", unsupported = true } },
                },
            }
            assert.are.same({ t = { b = "x" } }, accept(one, { t = { b = "x" } }))
            assert.are.equal("t: needs exactly one of 'a', 'b'; found none of them", refuse(one, { t = {} }))
            assert.are.equal("t: needs exactly one of 'a', 'b'; found 'a' and 'b'", refuse(one, { t = { a = "",
                b = "" } }))
            assert.are.equal("t.later: is not supported yet in this version", refuse(one, { t = { later = 1 } }))
        end)

        it("passes tables without fields as they are", function()
            assert.are.same({ t = { 1, x = 2 } }, accept({ t = "table" }, { t = { 1, x = 2 } }))
        end)
    end)

    describe("with alternatives", function()
        local fields = { by = { type = "one_of", of = { { type = "string", enum = { "client" } }, "function" } } }

        it("takes the first that fits", function()
            local f = function() end
            assert.are.equal("client", accept(fields, { by = "client" }).by)
            assert.are.equal(f, accept(fields, { by = f }).by)
        end)

        it("names all of them when none fits", function()
            assert.are.equal('by: expected "client" or a function, found 1', refuse(fields, { by = 1 }))
            assert.are.equal('by: expected "client" or a function, found "x"', refuse(fields, { by = "x" }))
        end)

        it("reports the errors inside the alternative of the same kind", function()
            local deep = { v = { type = "one_of", of = { "string", { type = "list", items = "integer" } } } }
            assert.are.equal("v[1]: expected a whole number, found true", refuse(deep, { v = { true } }))
        end)
    end)

    describe("with names of upstreams", function()
        local function problem(name)
            return name ~= "users" and "there is no upstream '" .. name .. "'" or nil
        end

        local function check(field, value, secrets)
            local errors = {}
            local copy = schema.validate_field(field, value, { "to" }, errors, secrets, problem)
            return copy, errors[1] and errors[1].path .. ": " .. errors[1].message
        end

        it("takes those that there are", function()
            assert.are.equal("users", (check("upstream", "users")))
            assert.are.same({ "to: there is no upstream 'user'" }, { select(2, check("upstream", "user")) })
            assert.are.equal("to: expected the name of an upstream, found 1", select(2, check("upstream", 1)))
        end)

        it("takes all when nobody says which there are", function()
            assert.are.equal("anybody", accept({ to = "upstream" }, { to = "anybody" }).to)
        end)

        it("finds them in lists, maps, tables and alternatives", function()
            local record = { type = "table", short = "upstream", fields = { upstream = "upstream" } }
            assert.are.equal("to[2]: there is no upstream 'x'",
                select(2, check({ type = "list", items = "upstream" }, { "users", "x" })))
            assert.are.equal("to.a: there is no upstream 'x'",
                select(2, check({ type = "map", values = "upstream" }, { a = "x" })))
            assert.are.equal("to.upstream: there is no upstream 'x'", select(2, check(record, "x")))
            local either = { type = "one_of", of = { "upstream", "function" } }
            assert.are.equal("users", (check(either, "users")))
            assert.are.equal("to: there is no upstream 'x'", select(2, check(either, "x")))
            assert.are.equal("to: expected the name of an upstream or a function, found 1", select(2, check(either, 1)))
        end)

        it("checks a default like any other", function()
            local field = { type = "upstream", default = "x" }
            assert.are.equal("to: there is no upstream 'x'", select(2, check(field, nil)))
        end)

        it("does not show a name that is secret", function()
            local hidden = "to: there is no such upstream"
            assert.are.equal(hidden, select(2, check({ type = "upstream", secret = true }, "x")))
            assert.are.equal(hidden, select(2, check("upstream", "x", { x = true })))
        end)
    end)

    describe("with check functions", function()
        it("adds their message at the value", function()
            local even = { type = "integer", check = function(n) return n % 2 == 1 and "must be even" or nil end }
            assert.are.equal(4, accept({ n = even }, { n = 4 }).n)
            assert.are.equal("n: must be even", refuse({ n = even }, { n = 3 }))
        end)

        it("lets the check of a record name a setting", function()
            local record = {
                type = "table", fields = { min = "integer", max = "integer" },
                check = function(r) if r.min > r.max then return "is more than 'max'", "min" end end,
            }
            assert.are.equal("r.min: is more than 'max'", refuse({ r = record }, { r = { min = 2, max = 1 } }))
        end)

        it("does not run them on values that do not fit", function()
            local field = { type = "integer", check = function() error("must not run") end }
            assert.are.equal('n: expected a whole number, found "x"', refuse({ n = field }, { n = "x" }))
        end)

        it("turns an error inside a check into an error of the setting", function()
            local message = refuse({ n = { type = "integer", check = function() error("oops", 0) end } }, { n = 1 })
            assert.are.equal("n: its check failed: oops", message)
        end)
    end)

    describe("with secrets", function()
        local SECRET = "correct horse battery staple"

        local function assert_hidden(errors)
            assert.truthy(#errors > 0)
            for _, err in ipairs(errors) do
                assert.is_nil((err.path .. err.message):find("horse", 1, true), err.path .. ": " .. err.message)
            end
        end

        it("never shows the value of a secret setting", function()
            local kinds = {
                "integer", "duration", "size", "boolean", { type = "string", enum = { "a" } },
                { type = "string", max = 3 }, { type = "list", items = "string" }, { type = "map", values = "string" },
                { type = "one_of", of = { "integer", "boolean" } },
                { type = "string", check = function(value) return "cannot use " .. value end },
                { type = "string", check = function(value) error("failed for " .. value) end },
            }
            for _, kind in ipairs(kinds) do
                local field = type(kind) == "table" and kind or { type = kind }
                field.secret = true
                local _, errors = validate({ s = field }, { s = SECRET })
                assert_hidden(errors)
            end
        end)

        it("shows neither keys nor values below a secret setting", function()
            local fields = { keys = { type = "map", values = "integer", secret = true } }
            local _, errors = validate(fields, { keys = { [SECRET] = SECRET } })
            assert_hidden(errors)
            assert.are.equal("keys[…]", errors[1].path)
            fields = { t = { type = "table", fields = { a = "string" }, secret = true } }
            _, errors = validate(fields, { t = { [SECRET] = 1, a = 2 } })
            assert_hidden(errors)
            fields = { l = { type = "list", items = "string", secret = true } }
            _, errors = validate(fields, { l = { [SECRET] = 1 } })
            assert_hidden(errors)
        end)

        it("never shows strings that are known to be secret, wherever they are written", function()
            local fields = { n = "integer", c = { type = "string", check = function(v) return "bad: " .. v .. v end } }
            local _, errors = validate(fields, { n = SECRET, c = SECRET }, { [SECRET] = true })
            assert_hidden(errors)
            assert.are.equal("bad: ……", errors[1].message)
        end)

        it("shows what is no secret again after one", function()
            local fields = { a = { type = "string", secret = true }, b = "integer" }
            local _, errors = validate(fields, { a = 1, b = "visible" })
            assert.are.equal("expected a string, found a number", errors[1].message)
            assert.are.equal('expected a whole number, found "visible"', errors[2].message)
        end)
    end)

    it("refuses anything but a table as a whole", function()
        assert.are.equal(": expected a table, found 5", refuse({}, 5))
    end)

    it("begins paths where it is told to", function()
        local errors = {}
        schema.validate({ a = "string" }, { a = 1 }, { "routes", 2, "policies", 1 }, errors)
        assert.are.equal("routes[2].policies[1].a", errors[1].path)
        assert.are.same({ "routes", 2, "policies", 1, "a" }, errors[1].segments)
    end)
end)

describe("the check of a declared schema", function()
    it("accepts every type", function()
        assert.is_nil(declaration.problem {
            a = "string",
            b = { type = "string", enum = { "x", "y" }, default = "x", doc = "One of two." },
            c = { type = "duration", default = "1s", min = "10ms" },
            d = { type = "list", items = { type = "map", values = "integer" } },
            e = { type = "table", short = "x", exactly_one = { "x", "y" }, fields = { x = "string", y = "any" } },
            f = { type = "one_of", of = { "string", "function" }, required = true },
            g = { type = "set", items = "string", secret = true, check = function() end },
        })
    end)

    it("finds mistakes at any depth", function()
        local cases = {
            [{ a = { type = "string",
                requried = true } }] = "a: unknown attribute 'requried'; did you mean 'required'?",
            [{ a = { type = "sting" } }] = "a: unknown type 'sting'; did you mean 'string'?",
            [{ a = "strng" }] = "a: unknown type 'strng'; did you mean 'string'?",
            [{ a = {} }] = "a: 'type' is missing",
            [{ a = 5 }] = "a: expected the name of a type or a table, found 5",
            [{ a = { type = "list" } }] = "a: a list needs 'items'",
            [{ a = { type = "list", items = "intger" } }] = "a: unknown type 'intger'; did you mean 'integer'?",
            [{ a = { type = "table", fields = { b = { type = "x" } } } }] = "a: b: unknown type 'x'",
            [{ a = { type = "one_of", of = { "string", {} } } }] = "a: alternative 2: 'type' is missing",
            [{ a = { type = "string", default = 5 } }] = "a: its default does not fit: expected a string, found 5",
            [{ a = { type = "string", default = "x", required = true } }] = "a: a required setting needs no default",
            [{ a = { type = "string", required = "yes" } }] = "a: 'required' must be a boolean, found \"yes\"",
            [{ a = { type = "string", items = "string" } }] = "a: unknown attribute 'items'",
            [{ a = { type = "table", short = "b", fields = {} } }] = "a: 'short' names no field: b",
            [{ a = { type = "table", exactly_one = { "b" }, fields = {} } }] = "a: 'exactly_one' names no field: b",
            [{ "x" }] = "names of settings are strings, found 1",
        }
        for fields, expected in pairs(cases) do
            local message = declaration.problem(fields)
            assert.are.equal(expected, message and message:sub(1, #expected))
        end
    end)
end)
