-- SPDX-License-Identifier: MIT
local config = require "perigee._core.config"

local function compile(routes, text)
    return config.compile({ upstreams = { users = { dns = "u:1" }, orders = { dns = "o:1" } }, routes = routes }, {
        file = "gateway.lua",
        text = text,
        load_policy = function() return nil end,
        compile_regex = function(pattern)
            if pattern == "(" then
                return nil, "missing )"
            end
            return function() return true end
        end,
        encode_json = function(value)
            if value.bad then
                return nil, "a cycle"
            end
            return '{"encoded":true}'
        end,
    })
end

local function accept(route)
    local result, errors = compile { route }
    assert.are.same({}, errors)
    return result.normalized.routes[1], result.chains[1]
end

local function refuse(routes)
    local result, errors = compile(routes)
    assert.is_nil(result)
    assert.are.equal(1, #errors, "number of errors")
    return errors[1].path .. ": " .. errors[1].message
end

local function assert_refused(route, expected)
    local message = refuse { route }
    assert.truthy(message:find(expected, 1, true), message)
end

describe("a route", function()
    it("is normalised with its conditions, captures and target", function()
        local route = accept {
            name = "user",
            match = {
                host = "*.Shop.example", path = "/users/{id}/{part}", methods = { "GET", "POST" },
                headers = { ["X-B"] = { present = true }, ["x-a"] = "1", ["x-c"] = { regex = "^v" } },
                query = { Q = "1" },
            },
            upstream = "users", rewrite = { prefix = "/v2" }, timeouts = { request = "1500ms" },
        }
        assert.are.same({
            name = "user",
            match = {
                host = "*.shop.example", path = "/users/{id}/{part}", path_regex = "", methods = { "GET", "POST" },
                headers = {
                    { name = "x-b", present = true }, { name = "x-a", value = "1" }, { name = "x-c", regex = "^v" },
                },
                query = { { name = "Q", value = "1" } },
            },
            captures = { "id", "part" }, target = { kind = "upstream", upstream = "users" },
            rewrite = { prefix = "/v2" }, hooks = 0, timeouts = { request_ms = 1500 },
        }, route)
    end)

    it("may do without a limit that the upstream has", function()
        local route = accept { upstream = "users", timeouts = { request = "0s" } }
        assert.are.same({ request_ms = 0 }, route.timeouts)
    end)

    it("without a name is called by its number", function()
        local result = compile { { reply = "a" }, { name = "b", reply = "b" }, { reply = "c" } }
        local names = {}
        for i, chain in ipairs(result.chains) do
            names[i] = chain.name
            assert.are.equal(chain.name, result.normalized.routes[i].name)
        end
        assert.are.same({ "route-1", "b", "route-3" }, names)
    end)

    it("has a name of its own", function()
        assert.are.equal("routes[2].name: route 1 has the name 'a' already",
            refuse { { name = "a", reply = "" }, { name = "a", reply = "" } })
        assert.truthy(refuse { { name = "route-2", reply = "" }, {
            reply = "" } }:find("routes[2]: route 1 has the name", 1, true))
        assert_refused({ name = "", reply = "" }, "routes[1].name: a name has 1 to 128 bytes")
    end)

    it("has exactly one target", function()
        local targets = "'upstream', 'handler', 'redirect', 'reply'"
        assert_refused({}, "routes[1]: needs exactly one of " .. targets .. "; found none of them")
        assert_refused({ upstream = "users", reply = "x" }, "found 'upstream' and 'reply'")
    end)

    it("must be a table", function()
        assert_refused("users", 'routes[1]: expected a table, found "users"')
    end)

    describe("with conditions", function()
        it("refuses what cannot match", function()
            for _, case in ipairs {
                { { path = "a" }, "match.path: must begin with '/'" },
                { { path = "/{a}/{a}" }, "match.path: captures 'a' twice" },
                { { path = "/a", path_regex = "b" }, "match.path_regex: has both 'path' and 'path_regex'" },
                { { path_regex = "(" }, "match.path_regex: is no regular expression: missing )" },
                { { methods = { "get" } },
                    'match.methods[1]: methods are compared byte by byte: write it in upper case' },
                { { methods = { "G T" } }, "match.methods[1]: expected the name of a method" },
                { { methods = "GET" }, "match.methods: expected a list, found \"GET\"; put it in braces" },
                { { methods = {} }, "match.methods: its number of items must be at least 1" },
                { { host = "a.b:80" }, "match.host: a host is matched without its port" },
                { { host = "a.*.b" }, "match.host: '*' stands only at the beginning" },
                { { host = "*a.b" }, "match.host: '*' stands only at the beginning" },
                { { host = "*" }, "match.host: leave 'host' out" },
                { { host = "a b" }, "match.host: expected a host name" },
                { { headers = { ["x y"] = "1" } }, "match.headers[\"x y\"]: expected the name of a header field" },
                { { headers = { a = { value = "1", present = true } } }, "match.headers.a: needs exactly one of" },
                { { headers = { a = { present = false } } }, "match.headers.a.present: can only be true" },
                { { headers = { a = { regex = "(" } } }, "match.headers.a.regex: is no regular expression: missing )" },
                { { headers = { a = 1 } }, "match.headers.a.value: expected a string, found 1" },
                { { query = { a = { regex = "(" } } }, "match.query.a.regex: is no regular expression" },
                { { paht = "/a" }, "match.paht: unknown setting 'paht'; did you mean 'path'?" },
            } do
                assert_refused({ match = case[1], reply = "" }, "routes[1]." .. case[2])
            end
        end)

        it("accepts hosts of every form", function()
            for _, host in ipairs { "example.com", "*.example.com", "127.0.0.1", "[::1]", "a_b.internal",
                "localhost" } do
                assert.are.equal(host, accept({ match = { host = host }, reply = "" }).match.host)
            end
        end)

        it("accepts methods beyond the known ones", function()
            assert.are.same({ "PURGE", "M-SEARCH" }, accept({ match = { methods = { "PURGE", "M-SEARCH" } },
                reply = "" }).match.methods)
        end)
    end)

    describe("to an upstream", function()
        it("names one that exists", function()
            assert.are.equal("routes[1].upstream: there is no upstream 'user'; did you mean 'users'?",
                refuse { { upstream = "user" } })
            assert.are.equal("routes[1].upstream: there is no upstream 'payment'; the upstreams here are orders, users",
                refuse { { upstream = "payment" } })
        end)

        it("may name one that has errors of its own", function()
            local _, errors = config.compile({ upstreams = { u = { dsn = "a:1" } }, routes = { { upstream = "u" } } },
                { file = "x.lua" })
            for _, err in ipairs(errors) do
                assert.is_nil(err.path:find("routes", 1, true), err.path)
            end
        end)

        it("may be split by weight", function()
            local route = accept { upstream = { { "users", weight = 9 }, { upstream = "orders" } } }
            assert.are.same({
                kind = "split", choices = { { upstream = "users", weight = 9 }, { upstream = "orders", weight = 1 } },
            }, route.target)
        end)

        it("refuses splits that lead nowhere", function()
            assert_refused({ upstream = {} }, "routes[1].upstream: its number of items must be at least 1")
            assert_refused({ upstream = { { "user" } } }, "routes[1].upstream[1]: there is no upstream 'user'")
            assert_refused({ upstream = { { "users", weight = 0 } } },
                "routes[1].upstream: at least one weight must be more than 0")
            assert_refused({ upstream = { { "users", weight = -1 } } },
                "routes[1].upstream[1].weight: must be at least 0")
        end)

        it("may be chosen by a function", function()
            local f = function() return "users" end
            local route, chain = accept { upstream = f }
            assert.are.same({ kind = "lua" }, route.target)
            assert.are.equal(f, chain.target)
            assert.is_nil(chain.handler)
            assert.are.equal(1, route.hooks)
        end)
    end)

    describe("to a handler", function()
        it("keeps the function for the chain", function()
            local f = function() end
            local route, chain = accept { handler = f }
            assert.are.same({ kind = "handler" }, route.target)
            assert.are.equal(f, chain.handler)
            assert.is_nil(chain.target)
            assert.are.equal(1, route.hooks)
            assert_refused({ handler = "f" }, 'routes[1].handler: expected a function, found "f"')
        end)
    end)

    describe("to a redirect", function()
        it("is written as a URL, or with a status", function()
            assert.are.same({ kind = "redirect", status = 302, location = "/new" }, accept({
                redirect = "/new" }).target)
            assert.are.same({ kind = "redirect", status = 308, location = "https://a/" },
                accept({ redirect = { "https://a/", status = 308 } }).target)
            assert.are.equal(301, accept({ redirect = { location = "/new", status = 301 } }).target.status)
        end)

        it("refuses what is no redirect", function()
            assert_refused({ redirect = { "/a", status = 200 } }, "redirect.status: must be 301, 302, 303, 307 or 308")
            assert_refused({ redirect = "/a\r\nx: y" }, "redirect.location: a URL has no spaces or control characters")
            assert_refused({ redirect = { status = 301 } }, "redirect.location: is required")
        end)
    end)

    describe("to a fixed reply", function()
        local TEXT, JSON = { "content-type", "text/plain; charset=utf-8" }, { "content-type", "application/json" }

        it("is written as text, as a table or as a value of reply(…)", function()
            assert.are.same({ kind = "reply", status = 200, body = "hi", headers = { TEXT } }, accept({
                reply = "hi" }).target)
            assert.are.same({ kind = "reply", status = 204, body = "" }, accept({ reply = { status = 204 } }).target)
            local value = setmetatable({ status = 201, body = "x", headers = { ["X-B"] = { "1", "2" },
                ["x-a"] = 0 }, more = 1 }, {})
            assert.are.same({
                kind = "reply", status = 201, body = "x", headers = { { "x-b", "1" }, { "x-b", "2" }, { "x-a",
                    "0" }, TEXT },
            }, accept({ reply = value }).target)
        end)

        it("is sent as JSON when the body is a table", function()
            assert.are.same({ kind = "reply", status = 200, body = '{"encoded":true}', headers = { JSON } },
                accept({ reply = { body = { a = 1 } } }).target)
            assert_refused({ reply = { body = { bad = true } } },
                "routes[1].reply: the body cannot be written as JSON: a cycle")
        end)

        it("keeps a content type that is written", function()
            local target = accept({ reply = { body = "<p>", headers = { ["Content-Type"] = "text/html" } } }).target
            assert.are.same({ { "content-type", "text/html" } }, target.headers)
        end)

        it("refuses what is no reply", function()
            assert_refused({ reply = 5 }, "routes[1].reply: expected a string or a table, found 5")
            assert_refused({ reply = { status = 99 } }, "routes[1].reply.status: must be at least 200")
            assert_refused({ reply = { satus = 200 } },
                "routes[1].reply.satus: unknown setting 'satus'; did you mean 'status'?")
            assert_refused({ reply = { headers = { a = "x\r\ny: z" } } },
                "routes[1].reply.headers.a: the value of a header field")
        end)
    end)

    describe("with a rewrite", function()
        it("replaces a prefix, fills in a path, or replaces by expression", function()
            local match = { path = "/orders/{id}/*" }
            for _, rewrite in ipairs { { prefix = "/v2" }, { path = "/x/{id}" }, { regex = "^/a", to = "/b" } } do
                assert.are.same(rewrite, accept({ match = match, upstream = "users", rewrite = rewrite }).rewrite)
            end
        end)

        it("refuses what cannot be done", function()
            local match = { path = "/orders/{id}" }
            for _, case in ipairs {
                { {}, "rewrite: needs exactly one of 'prefix', 'path' or 'regex'" },
                { { prefix = "/a", path = "/b" }, "rewrite: needs exactly one of" },
                { { regex = "a" }, "rewrite: 'regex' and 'to' come together" },
                { { prefix = "/a", to = "b" }, "rewrite: 'regex' and 'to' come together" },
                { { regex = "(", to = "b" }, "rewrite.regex: is no regular expression: missing )" },
                { { prefix = "v2" }, "rewrite.prefix: must begin with '/'" },
                { { prefix = "/v2/*" }, "rewrite.prefix: must be a plain path" },
                { { path = "/x/{idd}" }, "rewrite.path: the path of the match captures no 'idd'; did you mean 'id'?" },
                { { path = "/x/{" }, "rewrite.path: a captured segment is written with its name in braces" },
                { { path = "/x//y" }, "rewrite.path: must not have '//'" },
            } do
                assert_refused({ match = match, upstream = "users", rewrite = case[1] }, "routes[1]." .. case[2])
            end
        end)

        it("needs an upstream, and a path for a prefix", function()
            assert_refused({ reply = "", rewrite = { prefix = "/a" } },
                "routes[1].rewrite: changes the path that an upstream sees")
            assert_refused({ match = { path_regex = "a" }, upstream = "users", rewrite = { prefix = "/a" } },
                "routes[1].rewrite.prefix: needs the 'path' of the match")
        end)

        it("is not blamed for a match or target that is wrong itself", function()
            assert_refused({ match = { path = "orders/{id}" }, upstream = "users", rewrite = { path = "/{id}" } },
                "routes[1].match.path: must begin with '/'")
            assert_refused({ match = { path = "/{id}" }, upstream = "user", rewrite = { path = "/{id}" } },
                "routes[1].upstream: there is no upstream")
        end)
    end)

    it("has its errors found together with those of every other route", function()
        local text = 'return {\n  routes = {\n    { match = { path = "a" }, upstream = "user" },\n    "x",\n'
            .. '    { handler = 1,\n      policies = { "nosuch" } },\n  },\n}'
        local result, errors = compile({ { match = { path = "a" }, upstream = "user" }, "x", { handler = 1,
            policies = { "nosuch" } } },
            text)
        assert.is_nil(result)
        local found = {}
        for i, err in ipairs(errors) do
            found[i] = err.line .. ": " .. err.path
        end
        assert.are.same({
            "3: routes[1].match.path", "3: routes[1].upstream", "4: routes[2]", "5: routes[3].handler",
                "6: routes[3].policies[1]",
        }, found)
    end)
end)
