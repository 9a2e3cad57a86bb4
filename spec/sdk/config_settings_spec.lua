-- SPDX-License-Identifier: MIT
local config = require "perigee._core.config"

local function compile(value, ctx)
    ctx = ctx or {}
    ctx.file = ctx.file or "gateway.lua"
    ctx.load_policy = ctx.load_policy or function() return nil end
    return config.compile(value, ctx)
end

local function with_routes(value)
    value.routes = value.routes or { { reply = "ok" } }
    return value
end

local function accept(value, ctx)
    local result, errors = compile(with_routes(value), ctx)
    assert.are.same({}, errors)
    return result.normalized
end

local function refuse(value, ctx)
    local result, errors = compile(with_routes(value), ctx)
    assert.is_nil(result)
    assert.are.equal(1, #errors, "number of errors")
    return errors[1].path .. ": " .. errors[1].message
end

local function assert_refused(value, expected)
    local message = refuse(value)
    assert.truthy(message:find(expected, 1, true), message)
end

describe("a configuration", function()
    it("has every default filled in, times in milliseconds and sizes in bytes", function()
        assert.are.same({
            role = "gateway", workers = "auto", watch = false, watchdog_ms = 2000, drain_ms = 30000,
            shared_memory = 33554432, lua_memory = 268435456, keep_generations = 5,
            overload = { fds_share = 900000 }, access_log = { path = "stdout" },
            reload = {
                test = false, test_timeout_ms = 30000, window_ms = 30000, max_errors = 20000, max_slowdown = 2,
            },
            listeners = { {
                address = "127.0.0.1:8080", protocol = "http", trusted_hops = 0,
                limits = {
                    headers = 100, header_bytes = 61440, uri_bytes = 16384, connections = 10000, streams = 100,
                },
                timeouts = { headers_ms = 10000, request_ms = 300000, idle_ms = 75000, stream_idle_ms = 300000 },
            } },
            routes = { {
                name = "route-1", hooks = 0, match = { host = "", path = "", path_regex = "" },
                target = {
                    kind = "reply", status = 200, body = "ok", headers = { { "content-type",
                        "text/plain; charset=utf-8" } },
                },
            } },
        }, accept {})
    end)

    it("keeps what is written", function()
        local normalized = accept {
            workers = 3, watch = true, watchdog = "500ms", drain = "1m", shared_memory = "64m", lua_memory = "1g",
            keep_generations = 0, access_log = { path = "/var/log/access.log" }, admin = "127.0.0.1:9901",
            listeners = { {
                address = "0.0.0.0:80", trusted_hops = 2, limits = { headers = 10, body = "1m" }, timeouts = {
                    idle = "0s" },
            } },
        }
        assert.are.equal(3, normalized.workers)
        assert.is_true(normalized.watch)
        assert.are.equal(500, normalized.watchdog_ms)
        assert.are.equal(60000, normalized.drain_ms)
        assert.are.equal(67108864, normalized.shared_memory)
        assert.are.equal(1073741824, normalized.lua_memory)
        assert.are.equal(0, normalized.keep_generations)
        assert.are.same({ path = "/var/log/access.log" }, normalized.access_log)
        assert.are.equal("127.0.0.1:9901", normalized.admin)
        local listener = normalized.listeners[1]
        assert.are.equal(2, listener.trusted_hops)
        assert.are.same({
            headers = 10, header_bytes = 61440, uri_bytes = 16384, body = 1048576, connections = 10000, streams = 100,
        }, listener.limits)
        assert.are.equal(0, listener.timeouts.idle_ms)
        assert.are.equal(10000, listener.timeouts.headers_ms)
    end)

    it("takes addresses, networks and unix sockets for proxies that send a PROXY header", function()
        local from = { "10.0.0.0/8", "2001:db8::1", "unix" }
        local normalized = accept { listeners = { { address = "*:80", proxy_protocol = { from = from } } } }
        assert.are.same({ from = from }, normalized.listeners[1].proxy_protocol)
        for text, message in pairs {
            ["10.0.0.1/8"] = "'10.0.0.1/8' has bits set behind the prefix; the network is 10.0.0.0/8",
            ["lb.example"] = "'lb.example' is not an IP address or a network such as 10.0.0.0/8",
            ["unix:/run/lb.sock"] = "'unix:/run/lb.sock' is not an IP address or a network such as 10.0.0.0/8",
        } do
            local _, errors = compile {
                listeners = { { address = "*:80", proxy_protocol = { from = { "::1", text } } } }, routes = {},
            }
            assert.are.equal(1, #errors)
            assert.are.equal("listeners[1].proxy_protocol.from[2]", errors[1].path)
            assert.are.equal(message, errors[1].message)
        end
    end)

    it("writes where a tcp listener passes its connections", function()
        local normalized = accept {
            listeners = {
                { address = "*:80", protocol = "tcp", upstream = "a" },
                { address = "*:443", protocol = "tcp", sni = { ["B.test"] = "b", ["*.a.test"] = "a" },
                    tls = { cert = "c", key = "k" } },
                { address = "*:8080" },
            },
            upstreams = { a = { dns = "a:1" }, b = { dns = "b:1", proxy_protocol = "v2" } },
        }
        assert.are.same({ upstream = "a" }, normalized.listeners[1].tcp)
        assert.are.same({
            sni = { { name = "*.a.test", upstream = "a" }, { name = "b.test", upstream = "b" } },
        }, normalized.listeners[2].tcp)
        assert.is_nil(normalized.listeners[2].tls.alpn)
        assert.is_nil(normalized.listeners[3].tcp)
        assert.is_nil(normalized.upstreams[1].proxy_protocol)
        assert.are.equal(2, normalized.upstreams[2].proxy_protocol)
    end)

    it("refuses what a tcp listener cannot do, and what only one can", function()
        local upstreams = {
            a = { dns = "a:1" }, tls = { dns = "b:1", tls = {} }, head = { dns = "c:1", proxy_protocol = "v1" },
        }
        for _, case in ipairs {
            { { protocol = "tcp" }, "listeners[1]: needs 'upstream' or 'sni'" },
            { { protocol = "tcp", upstream = "b" }, "listeners[1].upstream: there is no upstream 'b'" },
            { { protocol = "tcp", upstream = "tls" }, "listeners[1].upstream: upstream 'tls' has tls" },
            { { protocol = "tcp", sni = { ["a b"] = "a" } }, "listeners[1].sni" },
            { { upstream = "a" }, "listeners[1].upstream: is for listeners with protocol" },
            { { sni = { a = "a" } }, "listeners[1].sni: is for listeners with protocol" },
        } do
            case[1].address = "*:1"
            local message = refuse { listeners = { case[1] }, upstreams = upstreams }
            assert.truthy(message:find(case[2], 1, true), message)
        end
        local message = refuse { upstreams = upstreams, routes = { { upstream = "head" } } }
        assert.truthy(message:find("routes[1].upstream: upstream 'head' has proxy_protocol", 1, true), message)
    end)

    it("has other defaults as a sidecar, and only defaults", function()
        for _, normalized in ipairs { accept { role = "sidecar" }, (accept({}, { role = "sidecar" })) } do
            assert.are.equal("sidecar", normalized.role)
            assert.are.equal(0, normalized.workers)
            assert.are.equal(200, normalized.listeners[1].limits.headers)
            assert.are.equal(3600000, normalized.listeners[1].timeouts.idle_ms)
        end
        assert.are.equal(2, accept({ role = "sidecar", workers = 2 }).workers)
        assert.are.equal("gateway", accept({ role = "gateway" }, { role = "sidecar" }).role)
    end)

    it("must be a table", function()
        for _, value in ipairs { "text", 5, true } do
            local result, errors = compile(value)
            assert.is_nil(result)
            assert.truthy(errors[1].message:find("must return a table: return { … }, found a " .. type(value), 1, true))
            assert.are.equal("gateway.lua", errors[1].file)
        end
        local _, errors = compile(nil)
        assert.truthy(errors[1].message:find("found nothing", 1, true))
    end)

    it("must have routes, but they may be empty", function()
        local _, errors = compile {}
        assert.are.equal("routes", errors[1].path)
        assert.are.equal("is required: expected a list", errors[1].message)
        assert.is_nil(accept({ routes = {} }).routes)
    end)

    it("names the nearest setting for an unknown one", function()
        assert_refused({ lisners = {} }, "lisners: unknown setting 'lisners'; did you mean 'listeners'?")
    end)

    it("writes shares as millionths", function()
        local reload = accept({ reload = {
            test = true, test_timeout = "1m", canary = "0.5%", window = "5m", max_errors = "0%", max_slowdown = 1.5,
        } }).reload
        assert.are.same({
            test = true, test_timeout_ms = 60000, canary = 5000, window_ms = 300000, max_errors = 0, max_slowdown = 1.5,
        }, reload)
        assert.are.equal(500000, accept({ reload = { canary = "50%" } }).reload.canary)
        for _, text in ipairs { "5", "5 %", "%", ".5%", "-5%", "1e1%", "101%", "00000000000005%" } do
            assert_refused({ reload = { canary = text } }, 'reload.canary: expected a share such as "5%"')
        end
        assert_refused({ reload = { canary = "51%" } }, "reload.canary: must be 0.1% to 50%")
    end)

    it("takes the limits of a worker as numbers and as shares", function()
        local function overload(settings)
            return accept({ overload = settings }).overload
        end
        assert.are.same({ memory = 536870912, connections = 20000, fds_share = 800000 },
            overload { memory = "512m", connections = 20000, fds = "80%" })
        assert.are.same({ memory = 0, connections = 0, fds = 0 }, overload { memory = 0, connections = 0, fds = 0 })
        assert_refused({ overload = { memory = "1m" } }, 'overload.memory: must be at least "16m", or 0 for no limit')
        assert_refused({ overload = { fds = "101%" } }, "overload.fds: expected a share")
        assert_refused({ overload = { fds = "0.5%" } }, "overload.fds: must be 1% to 100%")
        assert_refused({ overload = { conections = 1 } }, "did you mean 'connections'?")
    end)

    it("turns the access log off", function()
        assert.is_nil(accept({ access_log = "off" }).access_log)
        assert.are.same({ path = "stderr" }, accept({ access_log = "stderr" }).access_log)
    end)

    it("knows the streams of the process by the names that tools of the shell have for them", function()
        for text, path in pairs {
            ["-"] = "stdout", ["/dev/stdout"] = "stdout", ["/dev/stderr"] = "stderr", ["./-"] = "./-",
        } do
            assert.are.same({ path = path }, accept({ access_log = text }).access_log)
        end
    end)

    it("refuses values of the wrong kind or size", function()
        assert_refused({ workers = "many" }, 'workers: expected a whole number or "auto", found "many"')
        assert_refused({ workers = -1 }, "workers: must be at least 0")
        assert_refused({ watchdog = 2 }, 'watchdog: expected a duration such as "10s"')
        assert_refused({ watchdog = "1ms" }, "watchdog: must be at least 100ms")
        assert_refused({ lua_memory = "1k" }, "lua_memory: must be at least 8m")
        assert_refused({ role = "server" }, 'role: expected "gateway" or "sidecar"')
        assert_refused({ access_log = "" }, "access_log.path: must not be empty")
    end)

    it("lists its errors in the order of their lines", function()
        local text = "return {\n  workers = 'x',\n  drain = 1,\n  admin = 5,\n  routes = {} }"
        local _, errors = compile(loadstring(text)(), { text = text })
        local lines = {}
        for i, err in ipairs(errors) do
            lines[i] = err.file .. ":" .. err.line .. ": " .. err.path
        end
        assert.are.same({ "gateway.lua:2: workers", "gateway.lua:3: drain", "gateway.lua:4: admin" }, lines)
    end)

    it("has no more in its errors than file, line, path and message", function()
        local _, errors = compile({ routes = {}, drain = 1 }, { text = "return { routes = {},\n drain = 1 }" })
        assert.are.same({ {
            file = "gateway.lua", line = 2, path = "drain",
            message = 'expected a duration such as "10s" (units: ms, s, m, h), found 1; for seconds write "1s"',
        } }, errors)
    end)

    it("never shows what `file` and `env` gave", function()
        local _, errors = compile({ routes = {}, drain = "hunter2", workers = "hunter2" }, { secrets = {
            hunter2 = true } })
        assert.are.equal(2, #errors)
        for _, err in ipairs(errors) do
            assert.is_nil(err.message:find("hunter2", 1, true))
        end
    end)
end)

describe("the admin address", function()
    it("is private", function()
        for _, text in ipairs { "127.0.0.1:9901", "127.8.8.8:1", "[::1]:9901", "unix:/run/perigee.sock",
            "127.0.0.1:0" } do
            assert.are.equal(text, accept({ admin = text }).admin)
        end
        assert.are.equal("127.0.0.1:9901", accept({ admin = "localhost:9901" }).admin)
    end)

    it("is refused when it is public, with the reason", function()
        for _, text in ipairs { "0.0.0.0:9901", "*:9901", "10.0.0.1:9901", "[::]:9901", "[2001:db8::1]:9901",
            "[1::1]:1" } do
            assert_refused({ admin = text }, "admin: the admin API is never public")
        end
    end)

    it("is refused when it cannot be read", function()
        assert_refused({ admin = "127.0.0.1" }, "admin: the port is missing")
        assert_refused({ admin = "admin.internal:80" }, "admin: an address to listen on is an IP address")
    end)
end)

describe("the listeners", function()
    local function addresses(list)
        local normalized = accept { listeners = list }
        local texts = {}
        for i, listener in ipairs(normalized.listeners) do
            texts[i] = listener.address
        end
        return texts
    end

    it("have addresses that are written out", function()
        assert.are.same({ "127.0.0.1:80", "0.0.0.0:81", "10.0.0.1:82", "[::1]:83", "[fe80::1]:84", "unix:/run/a.sock" },
            addresses { "localhost:80", "*:81", { "10.0.0.1:82" }, { address = "[::1]:83" }, "[FE80::1]:84",
                "unix:/run/a.sock" })
    end)

    it("refuse addresses that cannot be listened on", function()
        for text, reason in pairs {
            ["8080"] = "the port is missing", ["127.0.0.1:70000"] = "at most 65535",
                ["example.com:80"] = "an IP address",
            ["http://127.0.0.1:80"] = "not a URL", ["unix:run/a"] = "unix:/absolute/path", ["::1:80"] = "brackets",
            ["[::g]:80"] = "expected", ["256.0.0.1:80"] = "expected", [""] = "the port is missing",
            ["unix:/" .. ("x"):rep(120)] = "at most 107 bytes",
        } do
            local message = refuse { listeners = { text } }
            assert.truthy(message:find("listeners[1].address: ", 1, true), message)
            assert.truthy(message:find(reason, 1, true), message)
        end
    end)

    it("have different addresses", function()
        assert_refused({ listeners = { "127.0.0.1:80", "localhost:80" } },
            "listeners[2].address: is the address of listener 1")
        assert_refused({ admin = "127.0.0.1:80", listeners = { "127.0.0.1:80" } },
            "is the address of the admin API already")
        assert.are.equal(2, #addresses { "127.0.0.1:0", "127.0.0.2:0" })
        assert.are.same({ "127.0.0.1:0", "127.0.0.1:0#2", "[::1]:0", "127.0.0.1:0#3" },
            addresses { "127.0.0.1:0", "localhost:0", "[::1]:0", "127.0.0.1:0" }) -- another port each
        assert.are.equal("127.0.0.1:0", accept({ admin = "127.0.0.1:0", listeners = { "127.0.0.1:0" } }).admin)
    end)

    it("are at least one", function()
        assert_refused({ listeners = {} }, "listeners: its number of items must be at least 1")
    end)
end)

describe("the upstreams", function()
    local function upstream(value)
        return accept({ upstreams = { u = value } }).upstreams[1]
    end

    it("have their defaults filled in", function()
        assert.are.same({
            name = "u", endpoints = { { address = "127.0.0.1:9001", weight = 1 } }, balance = "round_robin",
            balancer = { type = "round_robin" }, panic_threshold = 50,
            timeouts = { connect_ms = 5000, request_ms = 15000, idle_ms = 300000 },
            pool = { max_idle = 128, idle_ms = 60000, max_requests = 0 }, protocol = "auto",
        }, upstream { endpoints = { "127.0.0.1:9001" } })
    end)

    it("keep what is written", function()
        local value = upstream {
            endpoints = { { "Users.internal:9001", weight = 2 }, "unix:/run/u.sock", "[::1]:3" },
                balance = "least_request",
            timeouts = { connect = "1s", request = "0s" }, pool = { max_idle = 0, idle = "1s", max_requests = 5 },
        }
        assert.are.same({
            { address = "users.internal:9001", weight = 2 }, { address = "unix:/run/u.sock", weight = 1 },
            { address = "[::1]:3", weight = 1 },
        }, value.endpoints)
        assert.are.equal("least_request", value.balance)
        assert.are.same({ connect_ms = 1000, request_ms = 0, idle_ms = 300000 }, value.timeouts)
        assert.are.same({ max_idle = 0, idle_ms = 1000, max_requests = 5 }, value.pool)
    end)

    it("take the name to look up as an endpoint", function()
        assert.are.same({ { address = "orders.internal:8080", weight = 1 } }, upstream({
            dns = "orders.internal:8080" }).endpoints)
    end)

    it("are ordered by name", function()
        local names = {}
        for i, value in ipairs(accept({ upstreams = { b = { dns = "b:1" }, a = { dns = "a:1" }, c = {
            dns = "c:1" } } }).upstreams) do
            names[i] = value.name
        end
        assert.are.same({ "a", "b", "c" }, names)
    end)

    it("have exactly one source of endpoints", function()
        assert_refused({ upstreams = { u = {} } },
            "upstreams.u: needs exactly one of 'endpoints', 'dns', 'srv', 'file', 'http', 'dynamic'; "
            .. "found none of them")
        assert_refused({ upstreams = { u = { dns = "a:1", endpoints = { "a:1" } } } }, "found 'endpoints' and 'dns'")
    end)

    it("refuse endpoints that cannot be connected to", function()
        for text, reason in pairs {
            ["users.internal"] = "the port is missing", ["a:0"] = "1 to 65535", ["*:80"] = "one server",
                ["a b:1"] = "expected",
            ["http://a:80/"] = "not a URL", ["-a:1"] = "expected",
        } do
            local message = refuse { upstreams = { u = { endpoints = { text } } } }
            assert.truthy(message:find("upstreams.u.endpoints[1].address: ", 1, true), message)
            assert.truthy(message:find(reason, 1, true), message)
        end
        assert_refused({ upstreams = { u = { endpoints = {} } } }, "its number of items must be at least 1")
        assert_refused({ upstreams = { u = { endpoints = { "a:1", "a:1" } } } }, "endpoints[2]: is endpoint 1 already")
        assert_refused({ upstreams = { u = { endpoints = { { "a:1", weight = 0 } } } } }, "weight: must be at least 1")
        assert_refused({ upstreams = { u = { dns = "unix:/a" } } }, "write it in 'endpoints'")
    end)

    it("have names that can be shown", function()
        assert_refused({ upstreams = { [""] = { dns = "a:1" } } }, "a name has 1 to 128 bytes")
        assert_refused({ upstreams = { ["a\n"] = { dns = "a:1" } } }, "no control characters")
        assert_refused({ upstreams = { { dns = "a:1" } } }, "upstreams[1]: expected a string, found 1")
    end)
end)

describe("a JSON configuration", function()
    local function json_context(more)
        local ctx = {
            file = "gateway.json",
            read_file = function(path)
                if path == "key" then
                    return "s3cret"
                end
                return nil, "no such file: " .. path
            end,
            env = function(name) return name == "PORT" and "127.0.0.1:99" or nil end,
            null = "NULL",
        }
        for key, item in pairs(more or {}) do
            ctx[key] = item
        end
        return ctx
    end

    it("means the same as the Lua table with the same keys", function()
        local value = { upstreams = { u = { dns = "a:1" } }, routes = { { upstream = "u", match = { path = "/a" } } } }
        assert.are.same(accept(value), accept(value, json_context()))
    end)

    it("reads files and variables where Lua has `file` and `env`", function()
        local normalized = accept({ listeners = { { address = { ["$env"] = "PORT" } } } }, json_context())
        assert.are.equal("127.0.0.1:99", normalized.listeners[1].address)
        local ctx = json_context()
        local message = refuse({ drain = { ["$file"] = "key" } }, ctx)
        assert.truthy(message:find("drain: expected a duration", 1, true), message)
        assert.is_nil(message:find("s3cret", 1, true))
    end)

    it("says which file or variable is missing, at the setting", function()
        assert.truthy(refuse({ drain = { ["$file"] = "nokey" } }, json_context()):find("drain: no such file: nokey",
            1, true))
        assert.truthy(refuse({ drain = { ["$env"] = "NO" } },
            json_context()):find("drain: the environment has no 'NO'", 1, true))
    end)

    it("takes null for a setting that is not written", function()
        assert.are.equal(30000, accept({ drain = "NULL" }, json_context()).drain_ms)
    end)

    it("does not read references in Lua", function()
        assert_refused({ drain = { ["$env"] = "PORT" } }, "drain: expected a duration")
    end)

    it("has lines in its errors", function()
        local ctx = json_context { text = '{\n  "routes": [],\n  "drain": 5\n}' }
        local _, errors = config.compile({ routes = {}, drain = 5 }, ctx)
        assert.are.equal(3, errors[1].line)
    end)

    it("must be an object", function()
        local _, errors = config.compile("x", json_context())
        assert.truthy(errors[1].message:find("must be a JSON object", 1, true))
    end)
end)
