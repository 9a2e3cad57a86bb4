-- SPDX-License-Identifier: MIT
local locate = require "perigee._core.locate"

local function line_of(text, segments, is_json)
    return locate.new(text, is_json or false):line(segments)
end

describe("the line of a setting", function()
    local text = [==[
#!/usr/bin/perigee run
-- a comment with return { routes = {} }
--[[ a long comment
     of two lines ]]
local limit = 10
local function pick(req)
    if req.path == "/" then
        for i = 1, 3 do repeat local x = { i } until x end
        return { routes = 1 }
    elseif req then while false do end else return "end" end
    return "upstreams"
end
return {
    admin = "127.0.0.1:1",
    ["workers"] = 2,
    listeners = {
        { address = "a:1" }, { address = [[
b:2]] },
    },
    upstreams = { users = {
        dns = "users.internal:1", timeouts = { connect = "1s",
            request = "2s" } } },
    routes = {
        { name = 'one', handler = function(req) return { name = 1, { 2 } } end,
          match = { path = "/a" } },
        { upstream = pick,
          policies = {
              "request_id",
              { "jwt",
                secret = 5 } } },
    };
    ["odd name"] = true,
}
]==]

    local function at(...)
        return line_of(text, { ... })
    end

    it("is that of its key", function()
        assert.are.equal(14, at("admin"))
        assert.are.equal(15, at("workers"))
        assert.are.equal(21, at("upstreams", "users", "dns"))
        assert.are.equal(21, at("upstreams", "users", "timeouts", "connect"))
        assert.are.equal(22, at("upstreams", "users", "timeouts", "request"))
        assert.are.equal(32, at("odd name"))
    end)

    it("is that of the item in a list", function()
        assert.are.equal(17, at("listeners", 1, "address"))
        assert.are.equal(17, at("listeners", 2, "address"))
        assert.are.equal(28, at("routes", 2, "policies", 1))
        assert.are.equal(29, at("routes", 2, "policies", 2))
        assert.are.equal(30, at("routes", 2, "policies", 2, "secret"))
    end)

    it("is found behind functions, comments and long strings", function()
        assert.are.equal(25, at("routes", 1, "match", "path"))
        assert.are.equal(26, at("routes", 2, "upstream"))
    end)

    it("is that of the nearest table around a setting that is missing", function()
        assert.are.equal(13, at("nothing"))
        assert.are.equal(13, at())
        assert.are.equal(26, at("routes", 2, "name"))
        assert.are.equal(25, at("routes", 1, "match", "methods"))
        assert.are.equal(23, at("routes", 3))
    end)

    it("does not look into functions", function()
        assert.are.equal(24, at("routes", 1, "handler", "name"))
    end)

    it("stops before keys that must not be shown", function()
        assert.are.equal(29, at("routes", 2, "policies", 2, require("perigee._core.schema").HIDDEN))
    end)

    it("follows a local that is nothing but a table", function()
        local source = "local users = {\n  dns = 1,\n}\nreturn { upstreams = { users = users } }"
        assert.are.equal(2, line_of(source, { "upstreams", "users", "dns" }))
        source = "local all = {\n  workers = 1,\n}\nreturn all"
        assert.are.equal(2, line_of(source, { "workers" }))
        source = "local routes = {\n  { name = 1 } };\nreturn { routes = routes }"
        assert.are.equal(2, line_of(source, { "routes", 1, "name" }))
    end)

    it("does not follow a local that something else may have changed", function()
        local source = "local routes = {\n  { name = 1 } }\nroutes[1].name = 2\nreturn {\n  routes = routes }"
        assert.are.equal(5, line_of(source, { "routes", 1, "name" }))
        source = "local routes = {\n  { name = 1 } }\nfill(routes)\nreturn {\n  routes = routes }"
        assert.are.equal(5, line_of(source, { "routes", 1, "name" }))
        source = "local routes = {\n  name = 1 } or {}\nreturn {\n  routes = routes }"
        assert.are.equal(4, line_of(source, { "routes", "name" }))
        source = "local routes = {\n  name = 1 }.other\nreturn {\n  routes = routes }"
        assert.are.equal(4, line_of(source, { "routes", "name" }))
    end)

    it("is unknown when the file returns no table constructor", function()
        assert.is_nil(line_of("return make { workers = 1 }", { "workers" }))
        assert.is_nil(line_of("local t = {}\nt.workers = 1\nreturn t", { "workers" }))
        assert.is_nil(line_of("workers = 1", { "workers" }))
        assert.is_nil(line_of("", { "workers" }))
    end)

    it("goes no deeper than a table with computed keys", function()
        local source = "return {\n  upstreams = {\n    [name] = { dns = 1 },\n    b = { dns = 2 } } }"
        assert.are.equal(2, line_of(source, { "upstreams", "b", "dns" }))
        source = "return {\n  routes = {\n    { name = 1 },\n    [1] = { name = 2 } } }"
        assert.are.equal(2, line_of(source, { "routes", 1, "name" }))
    end)

    it("goes no deeper than a value that is computed", function()
        local source = "return {\n  routes = concat({\n    { name = 1 } }, more),\n  workers = 1 }"
        assert.are.equal(2, line_of(source, { "routes", 1, "name" }))
        assert.are.equal(4, line_of(source, { "workers" }))
    end)

    it("is that of the last one when a key is written twice", function()
        assert.are.equal(3, line_of("return {\n  workers = 1,\n  workers = 2 }", { "workers" }))
    end)

    it("is not confused by strings that look like code", function()
        local source = 'return {\n  a = "}", b = \'{ \\\' {\', c = "\\\\",\n  d = [=[ ]] } ]=],\n  e = 1 }'
        assert.are.equal(4, line_of(source, { "e" }))
    end)

    it("survives any text", function()
        for _, source in ipairs { "return {", "return }", 'return { a = "', "return { a = [[", "return { a = function(",
                                  "}}}", "return { , }", "return {;}", "return { = }", "[[", "--[[", "\0\255" } do
            assert.has_no.errors(function() line_of(source, { "a", 1 }) end)
            assert.has_no.errors(function() line_of(source, { "a", 1 }, true) end)
        end
    end)

    it("is found in JSON too", function()
        local source = '{\n  "workers": 1,\n  "routes": [\n    { "name": "a" },\n    { "name": "b \\" }",\n'
            .. '      "match": { "path": "//x" } }\n  ],\n  "n": [[1,\n2]]\n}'
        assert.are.equal(2, line_of(source, { "workers" }, true))
        assert.are.equal(5, line_of(source, { "routes", 2, "name" }, true))
        assert.are.equal(6, line_of(source, { "routes", 2, "match", "path" }, true))
        assert.are.equal(5, line_of(source, { "routes", 2, "upstream" }, true))
        assert.are.equal(9, line_of(source, { "n", 1, 2 }, true))
    end)
end)
