-- SPDX-License-Identifier: MIT
local match = require "perigee._core.match"
local path_pattern = require "perigee._core.path_pattern"

-- Stands in for PCRE2: Lua patterns are enough to see that the expression is used.
local function compile_regex(pattern)
    if pattern == "(" then
        return nil, "missing )"
    end
    return function(subject) return subject:find(pattern) ~= nil end
end

local function request(fields)
    local query = fields.query or {}
    return {
        method = fields.method or "GET",
        host = fields.host or "shop.example",
        path = fields.path or "/",
        headers = fields.headers or {},
        query = { get = function(_, name) return query[name] end },
    }
end

local function holds(conditions, fields)
    local predicate = assert(match.compile(conditions, compile_regex))
    return predicate(request(fields))
end

describe("a match table", function()
    it("without conditions holds for every request", function()
        assert.is_true(holds({}, {}))
    end)

    it("compares exact paths", function()
        assert.is_true(holds({ path = "/a" }, { path = "/a" }))
        for _, path in ipairs { "/", "/a/", "/ab", "/A", "/b/a" } do
            assert.is_false(holds({ path = "/a" }, { path = path }), path)
        end
    end)

    it("takes /a/* for /a and everything below it", function()
        for path, expected in pairs {
            ["/a"] = true, ["/a/"] = true, ["/a/b"] = true, ["/a/b/c"] = true, ["/ab"] = false, ["/"] = false,
                ["/b/a"] = false,
        } do
            assert.are.equal(expected, holds({ path = "/a/*" }, { path = path }), path)
        end
        assert.is_true(holds({ path = "/*" }, { path = "/anything/at/all" }))
        assert.is_true(holds({ path = "/*" }, { path = "/" }))
    end)

    it("captures exactly one segment, and never an empty one", function()
        for path, expected in pairs {
            ["/users/7/orders"] = true, ["/users//orders"] = false, ["/users/7"] = false, ["/users/7/orders/"] = false,
            ["/users/7/8/orders"] = false,
        } do
            assert.are.equal(expected, holds({ path = "/users/{id}/orders" }, { path = path }), path)
        end
        assert.is_true(holds({ path = "/{a}/*" }, { path = "/x" }))
        assert.is_true(holds({ path = "/{a}/*" }, { path = "/x/y/z" }))
        assert.is_false(holds({ path = "/{a}/*" }, { path = "/" }))
        assert.is_true(holds({ path = "/{a}/" }, { path = "/x/" }))
        assert.is_false(holds({ path = "/{a}/" }, { path = "/x" }))
    end)

    it("compares hosts without their case, and wildcards by whole labels", function()
        assert.is_true(holds({ host = "Shop.Example" }, {}))
        assert.is_false(holds({ host = "shop" }, {}))
        for host, expected in pairs {
            ["a.shop.example"] = true, ["a.b.shop.example"] = true, ["shop.example"] = false, ["ashop.example"] = false,
            [".shop.example"] = false,
        } do
            assert.are.equal(expected, holds({ host = "*.shop.example" }, { host = host }), host)
        end
    end)

    it("compares methods", function()
        assert.is_true(holds({ methods = { "POST", "GET" } }, { method = "GET" }))
        assert.is_false(holds({ methods = { "POST" } }, { method = "GET" }))
    end)

    it("compares headers by value, presence and expression", function()
        local headers = { ["x-a"] = "1" }
        assert.is_true(holds({ headers = { ["X-A"] = { value = "1" } } }, { headers = headers }))
        assert.is_false(holds({ headers = { ["x-a"] = { value = "2" } } }, { headers = headers }))
        assert.is_true(holds({ headers = { ["x-a"] = { present = true } } }, { headers = headers }))
        assert.is_false(holds({ headers = { ["x-b"] = { present = true } } }, { headers = headers }))
        assert.is_true(holds({ headers = { ["x-a"] = { regex = "^%d$" } } }, { headers = headers }))
        assert.is_false(holds({ headers = { ["x-b"] = { regex = "^%d$" } } }, { headers = headers }))
    end)

    it("compares query parameters", function()
        assert.is_true(holds({ query = { q = { value = "1" } } }, { query = { q = "1" } }))
        assert.is_false(holds({ query = { q = { present = true } } }, { query = { r = "1" } }))
    end)

    it("compares paths with an expression", function()
        assert.is_true(holds({ path_regex = "^/v%d" }, { path = "/v2/x" }))
        assert.is_false(holds({ path_regex = "^/v%d" }, { path = "/x" }))
    end)

    it("holds only when every condition holds", function()
        local conditions = { path = "/a", methods = { "GET" }, headers = { ["x-a"] = { value = "1" } } }
        assert.is_true(holds(conditions, { path = "/a", headers = { ["x-a"] = "1" } }))
        assert.is_false(holds(conditions, { path = "/b", headers = { ["x-a"] = "1" } }))
        assert.is_false(holds(conditions, { path = "/a", method = "PUT", headers = { ["x-a"] = "1" } }))
        assert.is_false(holds(conditions, { path = "/a" }))
    end)

    it("passes on what is wrong with an expression", function()
        for _, conditions in ipairs {
            { path_regex = "(" }, { headers = { a = { regex = "(" } } }, { query = { a = { regex = "(" } } },
        } do
            local predicate, message = match.compile(conditions, compile_regex)
            assert.is_nil(predicate)
            assert.are.equal("missing )", message)
        end
    end)
end)

describe("a path pattern", function()
    it("may be exact, a prefix, or have captures", function()
        for _, pattern in ipairs { "/", "/a", "/a/", "/*", "/a/*", "/{id}", "/a/{b_1}/c/*", "/caf%C3%A9",
            "/a.b/..c", "/;p=1" } do
            assert.is_nil(path_pattern.problem(pattern), pattern)
        end
    end)

    it("names its captures in order", function()
        assert.are.same({ "b", "a" }, path_pattern.parse("/{b}/x/{a}/*").captures)
    end)

    it("is refused with the reason", function()
        for pattern, reason in pairs {
            ["a"] = "begin with '/'", [""] = "begin with '/'", ["/a*"] = "only alone at the end",
                ["/*/a"] = "only alone at the end",
            ["/a/**"] = "only alone at the end", ["/x{id}"] = "whole segment", ["/{}"] = "whole segment",
                ["/{1a}"] = "whole segment",
            ["/{a-b}"] = "whole segment", ["/{a"] = "whole segment", ["/a}"] = "whole segment",
                ["/{a}/{a}"] = "captures 'a' twice",
            ["/a b"] = "spaces", ["/a\n"] = "spaces", ["/a?b=1"] = "without '?'", ["/a#b"] = "without '?'",
                ["/a\\b"] = "without '?'",
            ["/a//b"] = "'//'", ["/a/./b"] = "'.' or '..'", ["/.."] = "'.' or '..'", ["/%c3"] = "upper case",
                ["/%2f"] = "upper case",
        } do
            local message = path_pattern.problem(pattern)
            assert.truthy(message and message:find(reason, 1, true), pattern .. ": " .. tostring(message))
        end
    end)

    it("has at most 16 captures", function()
        local pattern = ""
        for i = 1, 16 do
            pattern = pattern .. "/{c" .. i .. "}"
        end
        assert.is_nil(path_pattern.problem(pattern))
        assert.are.equal("captures more than 16 segments", path_pattern.problem(pattern .. "/{c17}"))
    end)
end)
