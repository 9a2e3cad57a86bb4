-- SPDX-License-Identifier: MIT
local config = require "perigee._core.config"
local policy = require "perigee.policy"

local gate = policy {
    name = "gate", stage = "auth",
    schema = {
        limit = "integer", keys = { type = "map", values = "string", secret = true },
        by = { type = "one_of", of = { "string", "function" } }, set = { type = "set", items = "duration" },
    },
    check = function(conf) return conf.limit == 1 and "is one" or nil end,
}

function gate.on_request() end

function gate.edits(_, conf)
    return { { on = "request", op = "set", name = "x", value = type(conf.by) == "string" and conf.by or "y" } }
end

local function make()
    return {
        admin = "127.0.0.1:9901", role = "gateway", workers = 2, watch = true, drain = "10s", lua_memory = "64m",
        access_log = { path = "stdout" },
        listeners = { { address = "127.0.0.1:8080", limits = { body = "1m" }, timeouts = { idle = "1s" } }, "*:81" },
        upstreams = {
            users = {
                endpoints = { "a:1", { "b:2", weight = 2 } }, pool = { idle = "1s" }, timeouts = { request = "1s" },
            },
            orders = { dns = "o:1", balance = "random", protocol = "auto" },
        },
        policies = { "gate", { "gate", when = { path = "/a", headers = { a = { regex = "b" } } }, dry_run = true } },
        routes = {
            {
                name = "a", upstream = { { "users", weight = 1 } }, rewrite = { path = "/b/{id}" },
                match = { path = "/a/{id}", methods = { "GET" }, headers = { ["x-a"] = "1" }, query = { q = {
                    regex = "x" } } },
                policies = { { "gate", limit = 2, keys = { k = "ada" }, by = "x", set = { "1s" },
                    on_failure = "open" } },
                timeouts = { request = "1s" },
            },
            { redirect = { "/x", status = 301 }, match = { path_regex = "x", host = "*.a.b" } },
            { reply = { status = 200, body = "x", headers = { a = { "1" } } } },
            { handler = function() end },
        },
    }
end

local ODD = {
    false, true, 0, -1, 1.5, 0 / 0, 1 / 0, 2 ^ 60, "", "x", "/", "\0\n", ("long"):rep(1000), {}, { 1 }, { {} }, {
        x = 1 },
    { "gate" }, { [1.5] = 1 }, { [{}] = {} }, { a = { b = { c = {} } } }, setmetatable({}, { __index = {} }),
        function() end,
    coroutine.create(function() end),
}

-- Calls visit(table, key) for every entry of the table and of the tables in it.
local function walk(value, visit)
    local keys = {}
    for key in pairs(value) do
        keys[#keys + 1] = key
    end
    for _, key in ipairs(keys) do
        visit(value, key)
        if type(value[key]) == "table" then
            walk(value[key], visit)
        end
    end
end

local function compile(value, file)
    return config.compile(value, {
        file = file, text = "return { routes = {}, listeners = { { address = 1 } } }",
        load_policy = function(name) return name == "gate" and gate or nil end,
        compile_regex = function() return function() return true end end,
        encode_json = function() return "{}" end,
    })
end

describe("any value in any place of a configuration", function()
    it("is accepted or refused with a path and a message, and never raises an error", function()
        assert.is_table((compile(make(), "x.lua")))
        local value, refused = make(), 0
        walk(value, function(parent, key)
            local kept = parent[key]
            for i = 0, #ODD do
                parent[key] = ODD[i]
                local result, errors = compile(value, i % 2 == 0 and "x.lua" or "x.json")
                assert.are.equal(#errors == 0, result ~= nil)
                for _, err in ipairs(errors) do
                    assert.is_string(err.path)
                    assert.is_string(err.message)
                    assert.is_true(#err.message < 600, err.message)
                end
                refused = refused + (result and 0 or 1)
            end
            parent[key] = kept
        end)
        assert.is_true(refused > 1000, "most odd values are errors")
        assert.is_table((compile(value, "x.lua")))
    end)
end)
