-- SPDX-License-Identifier: MIT
local config = require "perigee._core.config"
local contract = require "perigee._core.contract"
local policy = require "perigee.policy"

-- A policy with the named hooks, or with the given methods.
local function declare(declared, methods)
    local definition = policy(declared)
    for key, value in pairs(methods or { on_request = function() end }) do
        definition[key] = value
    end
    return definition
end

-- Compiles one route that uses `list` of the given definitions.
local function compile(list, definitions, more)
    local value = { routes = { { name = "r", reply = "ok", policies = list } } }
    for key, item in pairs(more or {}) do
        value[key] = item
    end
    return config.compile(value, {
        file = "gateway.lua",
        load_policy = function(name)
            if type(definitions[name]) == "string" then
                return nil, { file = "policies/" .. name .. "/init.lua", line = 3, message = definitions[name] }
            end
            return definitions[name]
        end,
        policy_names = { "key_auth", "rate_limit" },
        compile_regex = function(pattern)
            if pattern == "(" then
                return nil, "missing )"
            end
            return function(subject) return subject:find(pattern) ~= nil end
        end,
    })
end

local function accept(list, definitions, more)
    local result, errors = compile(list, definitions, more)
    assert.are.same({}, errors)
    return result.chains[1].policies, result
end

local function refuse(list, definitions, more)
    local result, errors = compile(list, definitions, more)
    assert.is_nil(result)
    assert.are.equal(1, #errors, "number of errors")
    return errors[1].path .. ": " .. errors[1].message, errors[1]
end

describe("a setting that names an upstream", function()
    local UPSTREAMS = {
        users = { endpoints = { "a:1" } }, bytes = { endpoints = { "b:1" }, proxy_protocol = "v1" },
        secure = { endpoints = { "c:1" }, tls = {} },
    }
    local definitions = {
        p = declare { name = "p", stage = "traffic", schema = { to = "upstream" } },
        q = declare({ name = "q", stage = "traffic", schema = { to = "upstream" } }, { on_connect = function() end }),
    }

    it("is checked when the configuration is, with the nearest name", function()
        local use = accept({ { "p", to = "users" } }, definitions, { upstreams = UPSTREAMS })[1]
        assert.are.equal("users", use.instance.conf.to)
        assert.are.equal("routes[1].policies[1].to: there is no upstream 'user'; did you mean 'users'?",
            refuse({ { "p", to = "user" } }, definitions, { upstreams = UPSTREAMS }))
        assert.are.equal("routes[1].policies[1].to: there is no upstream 'any'",
            refuse({ { "p", to = "any" } }, definitions))
    end)

    it("is one that requests can be sent to", function()
        assert.are.equal(
            "routes[1].policies[1].to: upstream 'bytes' has proxy_protocol, which only tcp listeners can send",
            refuse({ { "p", to = "bytes" } }, definitions, { upstreams = UPSTREAMS }))
        accept({ { "p", to = "secure" } }, definitions, { upstreams = UPSTREAMS })
    end)

    it("is one that connections can be passed to, in policies of tcp listeners", function()
        local function listener(to)
            return {
                upstreams = UPSTREAMS,
                listeners = {
                    { address = "127.0.0.1:1", protocol = "tcp", upstream = "users", policies = { { "q", to = to } } },
                },
            }
        end
        accept({}, definitions, listener "bytes")
        assert.are.equal(
            "listeners[1].policies[1].to: upstream 'secure' has tls, but a tcp listener passes bytes on as they come",
            refuse({}, definitions, listener "secure"))
        assert.are.equal("listeners[1].policies[1].to: there is no upstream 'user'; did you mean 'users'?",
            refuse({}, definitions, listener "user"))
    end)

    it("may be wrong in itself: the upstream is there all the same", function()
        local message = refuse({ { "p", to = "users" } }, definitions, {
            upstreams = { users = { endpoints = { "a:1" }, weight = 1 } },
        })
        assert.matches("^upstreams.users.weight: ", message)
    end)
end)

describe("perigee.policy", function()
    local function raised(declared)
        local is_fine, message = pcall(function() policy(declared) end)
        assert.is_false(is_fine)
        return message
    end

    it("returns a definition on which hooks are defined", function()
        local definition = policy { name = "a_1", stage = "auth", schema = { x = "string" }, doc = "A policy." }
        assert.are.equal("a_1", definition.name)
        assert.are.same({ x = "string" }, definition.schema)
        assert.is_true(contract.is_definition(definition))
        assert.is_false(contract.is_definition { name = "a_1", stage = "auth" })
        assert.is_false(contract.is_definition(nil))
    end)

    it("fails closed, except for policies that only observe", function()
        for stage, expected in pairs { auth = "closed", traffic = "closed", transform = "closed", observe = "open" } do
            assert.are.equal(expected, policy { name = "a", stage = stage }.on_failure)
        end
    end)

    it("raises mistakes of the declaration where it stands", function()
        assert.truthy(raised({ name = "a",
            stage = "auht" }):find("config_policy_spec.lua:%d+: perigee.policy: 'stage' must be"))
        assert.truthy(raised({ name = "a", stage = "auth", shcema = {} }):find("did you mean 'schema'?", 1, true))
        assert.truthy(raised({ stage = "auth" }):find("'name' must be a name in lower case", 1, true))
        assert.truthy(raised({ name = "Api-Key", stage = "auth" }):find("'name' must be", 1, true))
        assert.truthy(raised({ name = "a", stage = "auth", schema = {
            x = "sting" } }):find("schema: x: unknown type", 1, true))
        assert.truthy(raised({ name = "a", stage = "auth", check = 1 }):find("'check' must be a function", 1, true))
        assert.truthy(raised({ name = "a", stage = "auth", doc = 1 }):find("'doc' must be a string", 1, true))
        assert.truthy(raised("a"):find("expected a table", 1, true))
        assert.truthy(raised(nil):find("expected a table", 1, true))
    end)

    it("keeps the names of the settings that every use has", function()
        for _, name in ipairs { "policy", "when", "on_failure", "dry_run", "budget" } do
            local message = raised { name = "a", stage = "auth", schema = { [name] = "any" } }
            assert.truthy(message:find("'" .. name .. "' is a setting that every use of a policy has", 1, true))
        end
    end)
end)

describe("a policy in a configuration", function()
    local gate = declare { name = "gate", stage = "auth", schema = {
        limit = { type = "integer", default = 7 },
        window = { type = "duration", default = "10s" },
        keys = { type = "map", values = "string", secret = true },
        nested = { type = "table", default = {}, fields = { a = { type = "integer", default = 1 } } },
        list = { type = "list", items = "string" },
    } }
    local definitions = { gate = gate }

    it("drops the hooks that the definition does not need under its settings", function()
        local nothing = function() end
        local setting = { type = "boolean", default = false }
        local two = declare({ name = "two", stage = "traffic", schema = { quiet = setting } }, {
            on_request = nothing,
            on_response = nothing,
            unused = function(_, conf) return conf.quiet and { "on_response" } or {} end,
        })
        local loud, quiet = accept({ "two" }, { two = two })[1], accept({ { "two", quiet = true } }, { two = two })[1]
        assert.are.equal(contract.hooks.on_request + contract.hooks.on_response, loud.hooks)
        assert.are.equal(contract.hooks.on_request, quiet.hooks)
        assert.are.same({ on_response = true }, quiet.unused)
    end)

    it("must not drop a hook that it does not have", function()
        local one = declare({ name = "one", stage = "traffic", schema = {} }, {
            on_request = function() end, unused = function() return { "on_log" } end,
        })
        assert.are.equal("routes[1].policies[1]: unused() of policy 'one' names \"on_log\", which is none of its hooks",
            (refuse({ "one" }, { one = one })))
    end)

    it("is used by its name", function()
        local use = accept({ "gate" }, definitions)[1]
        assert.are.equal("gate", use.name)
        assert.are.equal(gate, use.definition)
        assert.are.equal("closed", use.on_failure)
        assert.is_false(use.dry_run)
        assert.is_nil(use.when)
    end)

    it("is used with settings, in Lua's form and in JSON's", function()
        assert.are.equal(3, accept({ { "gate", limit = 3 } }, definitions)[1].instance.conf.limit)
        assert.are.equal(3, accept({ { policy = "gate", limit = 3 } }, definitions)[1].instance.conf.limit)
    end)

    it("gives the instance its checked settings, its name and the methods of the definition", function()
        local instance = accept({ { "gate", limit = 3 } }, definitions)[1].instance
        assert.are.equal(3, instance.conf.limit)
        assert.are.equal(10, instance.conf.window)
        assert.are.equal(1, instance.conf.nested.a)
        assert.are.equal("gate", instance.name)
        assert.are.equal(gate.on_request, instance.on_request)
    end)

    it("has settings that cannot be changed", function()
        local conf = accept({ { "gate", list = { "a" }, keys = { k = "ada" } } }, definitions)[1].instance.conf
        for _, change in ipairs {
            function() conf.limit = 1 end, function() conf.new = 1 end, function() conf.nested.a = 2 end,
            function() conf.list[2] = "b" end, function() conf.keys.other = "root" end,
        } do
            local is_fine, message = pcall(change)
            assert.is_false(is_fine)
            assert.truthy(message:find("read-only", 1, true))
        end
        assert.are.equal(7, conf.limit)
        assert.are.equal("read-only", getmetatable(conf))
    end)

    it("walks lists and maps of its settings as usual", function()
        local conf = accept({ { "gate", list = { "a", "b" }, keys = { k = "ada" } } }, definitions)[1].instance.conf
        assert.are.equal("a,b", table.concat(conf.list, ","))
        assert.are.equal("k", next(conf.keys))
        assert.are.equal(2, #conf.list)
    end)

    it("offers its settings to the `pairs` of scripts", function()
        local conf = accept({ { "gate", limit = 3 } }, definitions)[1].instance.conf
        local found = {}
        for key, value in debug.getmetatable(conf).__pairs(conf) do
            found[key] = value
        end
        assert.are.equal(3, found.limit)
        assert.are.equal(10, found.window)
    end)

    it("gives nil for settings that are not written, and an error for names the schema does not have", function()
        local conf = accept({ "gate" }, definitions)[1].instance.conf
        assert.is_nil(conf.list)
        local is_fine, message = pcall(function() return conf.limt end)
        assert.is_false(is_fine)
        assert.truthy(message:find("the policy's schema has no setting 'limt'", 1, true))
    end)

    it("has one instance for each use, and one for all routes when it is global", function()
        local result = config.compile({
            policies = { "gate" },
            routes = { { reply = "a", policies = { "gate", "gate" } }, { reply = "b" } },
        }, { file = "x.lua", load_policy = function(name) return definitions[name] end })
        local first, second = result.chains[1].policies, result.chains[2].policies
        assert.are.equal(3, #first)
        assert.are.equal(1, #second)
        assert.are.equal(first[1].instance, second[1].instance)
        assert.are_not.equal(first[1].instance, first[2].instance)
        assert.are_not.equal(first[2].instance, first[3].instance)
    end)

    it("runs global policies before those of the route, in the order of the file", function()
        local all = { gate = gate }
        for _, name in ipairs { "a", "b", "c" } do
            all[name] = declare { name = name, stage = "observe" }
        end
        local names = {}
        for i, use in ipairs(accept({ "c", "gate" }, all, { policies = { "b", "a" } })) do
            names[i] = use.name
        end
        assert.are.same({ "b", "a", "c", "gate" }, names)
    end)

    it("loads every policy once", function()
        local loads = 0
        config.compile({ policies = { "gate" }, routes = { { reply = "a", policies = { "gate" } } } }, {
            file = "x.lua",
            load_policy = function()
                loads = loads + 1
                return gate
            end,
        })
        assert.are.equal(1, loads)
    end)

    it("takes what every use may say", function()
        local f = function() return true end
        local written = { "gate", when = f, on_failure = "open", dry_run = true }
        local use = accept({ written }, definitions)[1]
        assert.are.equal(f, use.when)
        assert.are.equal("open", use.on_failure)
        assert.is_true(use.dry_run)
    end)

    it("compiles a match table for `when`", function()
        local use = accept({ { "gate", when = { path = "/a/*", headers = { ["X-A"] = "1" } } } }, definitions)[1]
        assert.is_true(use.when { path = "/a/b", headers = { ["x-a"] = "1" } })
        assert.is_false(use.when { path = "/a/b", headers = {} })
    end)

    it("refuses a `when` that is neither", function()
        assert.are.equal('routes[1].policies[1].when: expected a function or a table, found "x"',
            refuse({ { "gate", when = "x" } }, definitions))
        assert.truthy(refuse({ { "gate", when = { pth = "/a" } } }, definitions)
            :find("routes[1].policies[1].when.pth: unknown setting 'pth'; did you mean 'path'?", 1, true))
        assert.are.equal("routes[1].policies[1].when: missing )", refuse({ { "gate", when = {
            path_regex = "(" } } }, definitions))
    end)

    it("refuses wrong values of what every use may say", function()
        assert.are.equal('routes[1].policies[1].on_failure: expected "closed" or "open", found "ajar"',
            refuse({ { "gate", on_failure = "ajar" } }, definitions))
        assert.truthy(refuse({ { "gate", dry_run = 1 } }, definitions):find("dry_run: expected true or false", 1, true))
        assert.truthy(refuse({ { "gate", budget = { cpu = "0ms" } } }, definitions)
            :find("policies[1].budget.cpu: ", 1, true))
    end)

    it("names the nearest setting, also of those that every use has", function()
        assert.truthy(refuse({ { "gate", limt = 1 } }, definitions):find("did you mean 'limit'?", 1, true))
        assert.truthy(refuse({ { "gate", dryrun = true } }, definitions):find("did you mean 'dry_run'?", 1, true))
    end)

    it("never shows its secrets", function()
        local _, errors = compile({ { "gate", keys = { sesame = 5 }, limit = "x" } }, definitions)
        assert.are.equal(2, #errors)
        for _, err in ipairs(errors) do
            assert.is_nil((err.path .. err.message):find("sesame", 1, true))
        end
    end)

    it("never appears in the normalised form with its settings", function()
        local _, result = accept({ { "gate", keys = { sesame = "ada" }, list = { "sesame" } } }, definitions)
        local function search(value)
            for key, item in pairs(type(value) == "table" and value or {}) do
                assert.are_not.equal("sesame", key)
                assert.are_not.equal("sesame", item)
                search(item)
            end
        end
        search(result.normalized)
    end)

    it("runs the check of the whole on settings that fit", function()
        local paired = declare {
            name = "paired", stage = "auth", schema = { a = "integer", b = "integer" },
            check = function(conf)
                if not conf.a and not conf.b then
                    return "needs 'a' or 'b'"
                end
                return conf.a == 13 and "is unlucky" or nil, "a"
            end,
        }
        local all = { paired = paired }
        accept({ { "paired", a = 1 } }, all)
        assert.are.equal("routes[1].policies[1].a: is unlucky", refuse({ { "paired", a = 13 } }, all))
        assert.are.equal("routes[1].policies[1]: needs 'a' or 'b'", (refuse({ "paired" }, all)))
        assert.truthy(refuse({ { "paired", a = "x" } }, all):find("expected a whole number", 1, true))
    end)

    describe("that cannot be used", function()
        it("is named with the nearest one there is", function()
            local message = refuse({ "rate_limt" }, {})
            assert.are.equal("routes[1].policies[1]: there is no policy 'rate_limt'; did you mean 'rate_limit'?",
                message)
        end)

        it("is reported once with its own file and line when it does not load", function()
            local result, errors = compile({ "broken", "broken" }, { broken = "unexpected symbol near '}'" })
            assert.is_nil(result)
            assert.are.same({ {
                file = "policies/broken/init.lua", line = 3, path = "routes[1].policies[1]",
                    message = "unexpected symbol near '}'",
            } }, errors)
        end)

        it("must be what perigee.policy returned", function()
            local message = refuse({ "gate" }, { gate = { name = "gate" } })
            assert.truthy(message:find("must return what perigee.policy { … } returned, found a table", 1, true))
        end)

        it("must have the name of its directory", function()
            local message = refuse({ "other" }, { other = gate })
            assert.truthy(message:find("declares the name 'gate'", 1, true))
        end)

        it("must define a hook", function()
            local message = refuse({ "idle" }, { idle = declare({ name = "idle", stage = "auth" }, {
                helper = function() end }) })
            assert.truthy(message:find("defines no hook; the hooks are around, on_connect, on_log", 1, true))
        end)

        it("must not define hooks that do not exist", function()
            local typo = declare({ name = "typo", stage = "auth" }, { on_reqest = function() end,
                on_log = function() end })
            local message = refuse({ "typo" }, { typo = typo })
            local expected = "policy 'typo': 'on_reqest' is no hook; did you mean 'on_request'?"
            assert.are.equal("routes[1].policies[1]: " .. expected, message)
        end)

        it("must define hooks as functions", function()
            local message = refuse({ "typo" }, { typo = declare({ name = "typo", stage = "auth" }, { on_log = "x" }) })
            assert.truthy(message:find("'on_log' must be a function, found \"x\"", 1, true))
        end)

        it("must be written as a name or a table with a name", function()
            assert.truthy(refuse({ 5 }, {}):find("expected a policy", 1, true))
            assert.truthy(refuse({ { limit = 5 } }, {}):find("expected a policy", 1, true))
            assert.truthy(refuse({ { { "gate" } } }, definitions):find("expected a policy", 1, true))
        end)
    end)
end)

describe("the plan of a route", function()
    local f = function() end

    local function hooks(methods, route)
        route = route or { reply = "ok" }
        route.policies = methods and { "p" }
        local result, errors = config.compile({ upstreams = { u = { dns = "u:1" } }, routes = { route } }, {
            file = "x.lua", load_policy = function() return declare({ name = "p", stage = "auth" }, methods) end,
        })
        assert.are.same({}, errors)
        return result.normalized.routes[1].hooks, result.normalized.routes[1].edits
    end

    it("has the bit of every hook that some policy defines", function()
        for name, bits in pairs {
            on_request = 1, on_request_body = 2, on_upstream = 4, on_response = 8, on_response_body = 16,
                on_log = 32, around = 65,
        } do
            assert.are.equal(bits, (hooks { [name] = f }))
        end
        assert.are.equal(41, (hooks { on_request = f, on_response = f, on_log = f }))
    end)

    it("never enters Lua without policies", function()
        assert.are.equal(0, (hooks(nil)))
        assert.are.equal(0, (hooks(nil, { upstream = "u" })))
        assert.are.equal(0, (hooks { init = f, close = f }))
    end)

    it("enters Lua for handlers and target functions", function()
        assert.are.equal(1, (hooks(nil, { handler = f })))
        assert.are.equal(1, (hooks(nil, { upstream = f })))
    end)

    it("tells of each policy what a person wants to know", function()
        local result, errors = config.compile({
            policies = { "p" },
            routes = {
                { reply = "a", policies = { { "p", when = f, dry_run = true, on_failure = "open" } } },
                { reply = "b" },
            },
        }, {
            file = "x.lua",
            load_policy = function() return declare({ name = "p", stage = "auth" }, { on_request = f, on_log = f }) end,
        })
        assert.are.same({}, errors)
        assert.are.same({
            { policy = "p", hooks = 33, on_failure = "closed" },
            { policy = "p", hooks = 33, on_failure = "open", when = true, dry_run = true },
        }, result.normalized.routes[1].chain)
        assert.are.same({ { policy = "p", hooks = 33, on_failure = "closed" } }, result.normalized.routes[2].chain)
    end)

    it("has no chain without policies", function()
        local result = config.compile({ routes = { { reply = "a" } } }, { file = "x.lua" })
        assert.is_nil(result.normalized.routes[1].chain)
    end)

    describe("of header edits", function()
        local function edit(on, op, name, value)
            return { on = on, op = op, name = name, value = value }
        end

        local function editor(name, edits)
            return declare({ name = name, stage = "transform", schema = { value = "string" } }, {
                on_request = f, on_response = f,
                edits = type(edits) == "function" and edits or function() return edits end,
            })
        end

        local function normalized(list, all, route)
            route = route or { reply = "ok" }
            route.policies = list
            local result, errors = config.compile({ routes = { route } }, {
                file = "x.lua", load_policy = function(name) return all[name] end,
            })
            return result and result.normalized.routes[1], errors
        end

        it("is done in C when every policy of the chain offers them", function()
            local all = {
                a = editor("a", { edit("request", "set", "X-A", "1"), edit("response", "add", "x-b", "2") }),
                b = editor("b", { edit("request", "remove", "x-c"), edit("response", "set", "x-d", "4") }),
            }
            local route = normalized({ "a", "b" }, all)
            assert.are.equal(0, route.hooks)
            assert.are.same({
                edit("request", "set", "x-a", "1"), edit("request", "remove", "x-c"),
                edit("response", "set", "x-d", "4"), edit("response", "add", "x-b", "2"),
            }, route.edits)
        end)

        it("sees the settings of the use", function()
            local all = { a = editor("a", function(self, conf)
                assert.are.equal(self.conf, conf)
                return { edit("request", "set", "x-a", conf.value) }
            end) }
            assert.are.equal("v", normalized({ { "a", value = "v" } }, all).edits[1].value)
        end)

        it("stays in Lua beside a policy that needs it, a condition, a dry run or a handler", function()
            local all = {
                a = editor("a", { edit("request", "set", "x-a", "1") }),
                lua = declare { name = "lua", stage = "auth" },
                none = editor("none", function() return nil end),
            }
            for _, case in ipairs {
                normalized({ "a", "lua" }, all), normalized({ "a", "none" }, all),
                normalized({ { "a", when = f } }, all), normalized({ { "a", dry_run = true } }, all),
                (normalized({ "a" }, all, { handler = f })),
            } do
                assert.are.equal(9, case.hooks)
                assert.is_nil(case.edits)
            end
        end)

        it("refuses edits that are none", function()
            for _, edits in ipairs {
                { edit("request", "set", "x-a") }, { edit("request", "remove", "x-a", "1") }, { edit("both", "set",
                    "x", "1") },
                { edit("request", "set", "x a", "1") }, { edit("request", "set", "x-a", "1\r\nx-b: 2") }, "x",
                function() error("broken", 0) end,
            } do
                local route, errors = normalized({ "a" }, { a = editor("a", edits) })
                assert.is_nil(route)
                assert.are.equal(1, #errors)
                assert.truthy(errors[1].message:find("edits() of policy 'a'", 1, true))
            end
        end)
    end)
end)
