-- SPDX-License-Identifier: MIT

local perigee = require "perigee"
local test = require "perigee.test"
local world = require "perigee.test.world"

local function policy(text)
    return { files = { ["policies/probe/init.lua"] = "local perigee = require 'perigee'\n" .. text } }
end

local function message_of(call, ...)
    local ok, message = pcall(call, ...)
    assert.is_false(ok, "an error was expected")
    return type(message) == "table" and tostring(message.message or message) or message
end

local function assert_error(expected, call, ...)
    local message = message_of(call, ...)
    assert.truthy(message:find(expected, 1, true), message)
end

describe("test.gateway", function()
    it("passes everything to one fake upstream when nothing is said about routes and upstreams", function()
        local gw = test.gateway {}
        local res = gw:get("/a/b?c=d", { headers = { ["X-One"] = "1" } })
        assert.response(res).has.status(200)
        assert.response(res).has.body("ok")
        local seen = gw.upstreams.api.requests[1]
        assert.same({ "GET", "/a/b", "c=d", "" }, { seen.method, seen.path, seen.query, seen.body })
        assert.equal("1", seen.headers["x-one"])
    end)

    it("makes fakes of functions, of functions among endpoints, and of weighted endpoints", function()
        local gw = test.gateway {
            upstreams = {
                a = function() return "a" end,
                b = {
                    endpoints = { function() return "b1" end, { function() return "b2" end, weight = 3 } },
                    timeouts = { request = "1s" },
                },
            },
            routes = {
                { match = { path = "/a" }, upstream = "a" },
                { match = { path = "/b" }, upstream = "b" },
            },
        }
        assert.equal("a", gw:get("/a").body)
        local counts = { b1 = 0, b2 = 0 }
        for _ = 1, 8 do
            local body = gw:get("/b").body
            counts[body] = counts[body] + 1
        end
        assert.same({ b1 = 2, b2 = 6 }, counts)
        assert.equal(8, #gw.upstreams.b.requests)
        assert.is_true(gw.upstreams.b.requests[1].endpoint == 1 or gw.upstreams.b.requests[1].endpoint == 2)
    end)

    it("lists what is wrong with a configuration", function()
        assert_error("colour: unknown setting 'colour'", test.gateway, { colour = "red" })
        local errors = test.errors { colour = "red", routes = { { upstream = "absent" } } }
        assert.equal(2, #errors)
        assert.same({}, test.errors {})
    end)

    it("names file and line of what is wrong in a policy", function()
        assert_error("policies/probe/init.lua:3:", test.gateway, { policies = { "probe" } }, policy "\nlocal = 1")
        assert_error("there is no policy 'absent'", test.gateway, { policies = { "absent" } })
    end)

    it("runs policies in their sandbox", function()
        local gw = test.gateway({ policies = { "probe" } }, policy [[
            local Probe = perigee.policy { name = "probe", stage = "auth" }
            function Probe:on_request() return perigee.reply(200, tostring(io) .. tostring(debug) .. tostring(ffi)) end
            return Probe
        ]])
        assert.equal("nilnilnil", gw:get("/").body)
    end)

    it("finds modules that a policy requires", function()
        local options = policy [[
            local Probe = perigee.policy { name = "probe", stage = "auth" }
            local greet = require "probe.greet"
            function Probe:on_request() return perigee.reply(200, greet "ada") end
            return Probe
        ]]
        options.files["policies/probe/greet.lua"] = "return function(name) return 'hello ' .. name end"
        assert.equal("hello ada", test.gateway({ policies = { "probe" } }, options):get("/").body)
    end)

    it("gives a handler of the spec everything that a handler has", function()
        local gw = test.gateway {
            routes = { { match = { path = "/{name}" }, handler = function(req)
                perigee.sleep(1)
                return perigee.reply(200, { name = req.params.name, ip = req.client.ip })
            end } },
        }
        local res = gw:get("/ada", { client = "203.0.113.7" })
        assert.response(res).has.json { name = "ada", ip = "203.0.113.7" }
        assert.same({ name = "ada", ip = "203.0.113.7" }, res:json())
    end)

    it("serves under the settings of its first listener", function()
        local gw = test.gateway {
            listeners = { { address = "localhost:9000", trusted_hops = 1, limits = { uri_bytes = 64 } } },
        }
        assert.equal(414, gw:get("/" .. ("x"):rep(100)).status)
        gw:get("/", { headers = { ["x-forwarded-for"] = "198.51.100.1" } })
        assert.equal("198.51.100.1, 127.0.0.1", gw.upstreams.api.requests[1].headers["x-forwarded-for"])
    end)

    it("expects no PROXY header: a client is who the test says", function()
        local gw = test.gateway {
            listeners = { { address = "localhost:9000", proxy_protocol = { from = { "127.0.0.0/8" } } } },
            routes = { { handler = function(req) return perigee.reply(200, req.client.ip) end } },
        }
        assert.equal("127.0.0.1", gw:get("/").body)
        assert.equal("203.0.113.7", gw:get("/", { client = "203.0.113.7" }).body)
    end)

    it("lets several gateways run beside each other", function()
        local one = test.gateway { upstreams = { api = function() return "one" end } }
        local two = test.gateway { upstreams = { api = function() return "two" end } }
        assert.same({ "one", "two", "one" }, { one:get("/").body, two:get("/").body, one:get("/").body })
        one:close()
        assert_error("the gateway is closed", one.get, one, "/")
        assert.equal("two", two:get("/").body)
    end)

    it("opens no socket: an endpoint without a fake fails the test", function()
        local gw = test.gateway {
            upstreams = { api = { endpoints = { "192.0.2.1:80" } } },
        }
        assert_error("no fake answers at 192.0.2.1:80, which the gateway asks", gw.get, gw, "/")
    end)

    it("begins each test with empty shared memory, part one", function()
        local gw = test.gateway { routes = { { handler = function()
            return perigee.reply(200, tostring(perigee.shared("kit"):incr("n", 1, 0)))
        end } } }
        assert.same({ "1", "2" }, { gw:get("/").body, gw:get("/").body })
    end)

    it("begins each test with empty shared memory, part two", function()
        local gw = test.gateway { routes = { { handler = function()
            return perigee.reply(200, tostring(perigee.shared("kit"):incr("n", 1, 0)))
        end } } }
        assert.equal("1", gw:get("/").body)
    end)
end)

describe("test.load", function()
    local files = {
        ["gateway.lua"] = [[return {
            upstreams = { users = { endpoints = { "192.0.2.1:80" }, timeouts = { request = "2s" } } },
            routes = { { match = { path = "/users/*" }, upstream = "users" } },
        }]],
    }

    it("runs a configuration file with fakes in the place of its upstreams", function()
        local gw = test.load("x/gateway.lua", { files = files, upstreams = { users = function() return "fake" end } })
        assert.equal("fake", gw:get("/users/1").body)
        assert.equal(404, gw:get("/").status)
        assert.equal(1, #gw.upstreams.users.requests)
    end)

    it("keeps the other settings of the upstream", function()
        local gw = test.load("somewhere/gateway.lua", { files = files, upstreams = { users = test.fail.hang } })
        local before = gw:now()
        assert.equal(504, gw:get("/users/1").status)
        assert.equal(2, math.floor(gw:now() - before + 0.5))
    end)

    it("takes fakes by address too", function()
        local hosts = { ["192.0.2.1:80"] = function() return "host" end }
        local gw = test.load("x/gateway.lua", { files = files, hosts = hosts })
        assert.equal("host", gw:get("/users/1").body)
        assert.equal(1, #gw.hosts["192.0.2.1:80"].requests)
    end)

    it("names an upstream that the file does not have, and a file that is not there", function()
        local options = { files = files, upstreams = { orders = test.fail.hang } }
        assert_error("has no upstream 'orders'", test.load, "x/gateway.lua", options)
        assert_error("there is no file 'absent.lua'", test.load, "x/absent.lua")
    end)
end)

describe("a request", function()
    it("carries a body with its length", function()
        local gw = test.gateway {}
        gw:post("/", { body = "hello" })
        local seen = gw.upstreams.api.requests[1]
        assert.same({ "POST", "hello", "5" }, { seen.method, seen.body, seen.headers["content-length"] })
    end)

    it("carries a table as JSON", function()
        local gw = test.gateway {}
        gw:put("/", { body = { a = 1 } })
        local seen = gw.upstreams.api.requests[1]
        assert.same({ '{"a":1}', "application/json" }, { seen.body, seen.headers["content-type"] })
    end)

    it("carries chunks with trailers", function()
        local gw = test.gateway {}
        gw:post("/", { chunks = { "one", "two" }, trailers = { ["x-sum"] = "6" } })
        local seen = gw.upstreams.api.requests[1]
        assert.same({ "onetwo", "6" }, { seen.body, seen.trailers["x-sum"] })
        assert.equal("chunked", seen.headers["transfer-encoding"])
    end)

    it("carries a megabyte there and back", function()
        local gw = test.gateway { upstreams = { api = function(req) return req.body end } }
        local body = ("0123456789abcdef"):rep(65536)
        local res = gw:post("/", { body = body })
        assert.is_true(res.body == body)
    end)

    it("sends a field as often as it has values", function()
        local gw = test.gateway {}
        gw:get("/", { headers = { ["x-a"] = { "1", "2" } } })
        local headers = gw.upstreams.api.requests[1].headers
        assert.same({ "1", "2" }, headers:all("X-A"))
        assert.equal("1, 2", headers["x-a"])
    end)

    it("has no body in the answer to HEAD, whose length is shown", function()
        local gw = test.gateway { upstreams = { api = function() return "12345" end } }
        local res = gw:head("/")
        assert.same({ "", "5" }, { res.body, res.headers["content-length"] })
    end)

    it("refuses options that it does not know", function()
        local gw = test.gateway {}
        assert_error("'header' is no option", gw.get, gw, "/", { header = {} })
        assert_error("'headers' is a table, not a string", gw.get, gw, "/", { headers = "x" })
    end)

    it("gives up after sixty virtual seconds, or when it is told to", function()
        local gw = test.gateway { routes = { { handler = function() perigee.sleep(3600) end } } }
        assert_error("GET /slow: no response within 60 virtual seconds", gw.get, gw, "/slow")
        assert_error("no response within 5 virtual seconds", gw.get, gw, "/slow", { timeout = 5 })
    end)

    it("can be sent and waited for later", function()
        local gw = test.gateway { upstreams = { api = function(req)
            perigee.sleep(tonumber(req.query))
            return req.query
        end } }
        local slow, quick = gw:send { path = "/?3" }, gw:send { path = "/?1" }
        assert.is_false(slow:done())
        assert.equal("1", quick:wait().body)
        assert.is_false(slow:done())
        gw:advance(2)
        assert.is_true(slow:done())
        assert.equal("3", slow:wait().body)
    end)

    it("can be aborted, and the upstream notices", function()
        local reached_the_end = false
        local gw = test.gateway { upstreams = { api = function()
            perigee.sleep(10)
            reached_the_end = true
            return "late"
        end } }
        local pending = gw:send { path = "/" }
        gw:advance(1)
        pending:abort()
        gw:advance(30)
        assert.is_false(reached_the_end)
        assert_error("was aborted", pending.wait, pending)
    end)
end)

describe("gw:raw", function()
    it("carries bytes as they are", function()
        local gw = test.gateway {}
        local connection = gw:raw "GET / HTTP/1.1\r\nHost: a\r\n"
        assert.equal("", connection:read())
        connection:write("\r\n")
        assert.truthy(connection:read():find("^HTTP/1.1 200 OK\r\n"))
        assert.is_false(connection:closed())
        connection:close()
    end)

    it("sees the gateway close", function()
        local gw = test.gateway {}
        local connection = gw:raw "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"
        assert.truthy(connection:read():find("^HTTP/1.1 400 "))
        connection:finish()
        assert.is_true(connection:closed())
        assert.equal(0, #gw.upstreams.api.requests)
    end)
end)

describe("a fake upstream", function()
    local function with(answer)
        return test.gateway { upstreams = { api = answer } }
    end

    it("answers with a status, fields, a table as JSON and trailers", function()
        local res = with(function()
            return test.reply(201, { id = 7 }, { ["x-a"] = { "1", "2" } })
        end):get("/")
        assert.response(res).has.status(201)
        assert.response(res).has.header("content-type", "application/json")
        assert.response(res).has.json { id = 7 }
        assert.same({ "1", "2" }, res.headers:all("x-a"))
        res = with(function() return test.reply(200, "body", nil, { ["x-end"] = "yes" }) end):get("/")
        assert.same({ "body", "yes" }, { res.body, res.trailers["x-end"] })
    end)

    it("answers as perigee.reply does, too", function()
        assert.response(with(function() return perigee.reply(404, "none") end):get("/")).has.status(404)
    end)

    it("breaks the connection", function()
        assert.response(with(test.fail.reset):get("/")).is.problem(502)
        assert.response(with(function() return test.fail.reset end):post("/")).is.problem(502)
    end)

    it("refuses connections", function()
        local gw = with(test.fail.refuse)
        assert.response(gw:get("/")).is.problem(503)
        assert.equal(0, #gw.upstreams.api.requests)
    end)

    it("hangs until the gateway gives up", function()
        local gw = with(test.fail.hang)
        assert.response(gw:get("/")).is.problem(504)
        assert.equal(1, #gw.upstreams.api.requests)
    end)

    it("streams with pauses in virtual time", function()
        local gw = with(function() return test.stream { "one ", 2, "two ", 0.5, "three" } end)
        local before = gw:now()
        assert.equal("one two three", gw:get("/").body)
        assert.equal(2.5, gw:now() - before)
    end)

    it("breaks off in the middle of a stream", function()
        local gw = with(function() return test.stream { "one", test.fail.reset } end)
        assert_error("closed the connection before the response was complete", gw.get, gw, "/")
    end)

    it("raises what goes wrong in it in the test", function()
        local gw = with(function() error "no such thing" end)
        assert_error("no such thing", gw.get, gw, "/")
        gw = with(function() end)
        assert_error("fake upstream 'api' returned a nil", gw.get, gw, "/")
    end)

    it("may assert what it sees", function()
        local gw = with(function(req)
            assert.equal("/expected", req.path)
            return "ok"
        end)
        assert_error("/expected", gw.get, gw, "/other")
        assert.equal("ok", gw:get("/expected").body)
    end)

    it("may not drive the gateway", function()
        local gw
        gw = with(function()
            gw:get("/again")
        end)
        assert_error("only the test itself drives the gateway", gw.get, gw, "/")
    end)

    it("forgets its requests", function()
        local gw = with(function() return "ok" end)
        gw:get("/")
        gw.upstreams.api:reset()
        assert.same({}, gw.upstreams.api.requests)
        gw:get("/")
        assert.equal(1, #gw.upstreams.api.requests)
    end)

    it("stands for the servers that a policy fetches from", function()
        local gw = test.gateway {
            hosts = { ["payments.internal:8080"] = function(req) return test.reply(200, { echo = req.body }) end },
            routes = { { handler = function()
                local res = assert(perigee.http.fetch("http://payments.internal:8080/pay", { body = "7" }))
                return perigee.reply(200, res:json().echo)
            end } },
        }
        assert.equal("7", gw:get("/").body)
        assert.equal("/pay", gw.hosts["payments.internal:8080"].requests[1].path)
    end)
end)

describe("the clock", function()
    it("begins with the year 2026 and moves only when it is told to", function()
        local gw = test.gateway { routes = { { handler = function()
            return perigee.reply(200, tostring(perigee.time.now()))
        end } } }
        assert.equal(1767225600, gw:now())
        gw:get("/")
        assert.equal(1767225600, gw:now())
        gw:advance(90.5)
        assert.equal(1767225690.5, gw:now())
        assert.equal("1767225690.5", gw:get("/").body)
    end)

    it("begins anew in the next test", function()
        assert.equal(1767225600, test.gateway({}):now())
    end)

    it("runs timers when they are due", function()
        local ticks = 0
        local gw = test.gateway { routes = { { handler = function()
            perigee.timer.every(10, function() ticks = ticks + 1 end)
            return perigee.reply(204)
        end } } }
        gw:get("/")
        gw:advance(9)
        assert.equal(0, ticks)
        gw:advance(1)
        assert.equal(1, ticks)
        gw:advance(100)
        assert.equal(11, ticks)
        gw:drop_tasks()
        gw:advance(100)
        assert.equal(11, ticks)
    end)
end)

describe("gw:reload", function()
    local counter = policy [[
        local Probe = perigee.policy { name = "probe", stage = "auth" }
        function Probe:init() self.count = self.count or 0 end
        function Probe:save() return { count = self.count } end
        function Probe:restore(state) self.count = state.count end
        function Probe:on_request() self.count = self.count + 1 return perigee.reply(200, tostring(self.count)) end
        return Probe
    ]]

    it("hands the state of policies over", function()
        local gw = test.gateway({ policies = { "probe" } }, counter)
        assert.same({ "1", "2" }, { gw:get("/").body, gw:get("/").body })
        assert.is_true(gw:reload({ policies = { "probe" } }, counter))
        assert.equal("3", gw:get("/").body)
    end)

    it("says what is wrong and goes on with the old configuration", function()
        local gw = test.gateway {}
        local done, errors = gw:reload { routes = {}, colour = "red" }
        assert.is_nil(done)
        assert.equal("colour", errors[1].path)
        assert.equal("ok", gw:get("/").body)
    end)

    it("uses the new answers of fakes, also on connections that stand", function()
        local gw = test.gateway { upstreams = { api = function() return "old" end } }
        assert.equal("old", gw:get("/").body)
        assert.is_true(gw:reload { upstreams = { api = function() return "new" end } })
        assert.equal("new", gw:get("/").body)
        assert.equal(2, #gw.upstreams.api.requests)
    end)

    it("lets a request finish on the generation it began with", function()
        local gw = test.gateway { upstreams = { api = test.fail.hang }, routes = { { handler = function()
            perigee.sleep(5)
            return perigee.reply(200, "old")
        end } } }
        local pending = gw:send { path = "/" }
        gw:advance(1)
        assert.is_true(gw:reload {})
        assert.equal("ok", gw:get("/").body)
        assert.equal("old", pending:wait().body)
    end)
end)

describe("gw:log and gw:metrics", function()
    it("show what was logged since the test began", function()
        local gw = test.gateway { routes = { { handler = function()
            perigee.log.warn("strange", { n = 1 })
            return perigee.reply(200)
        end } } }
        assert.same({}, gw:log())
        gw:get("/")
        assert.same({ { level = "warn", message = "strange n=1" } }, gw:log())
    end)

    it("show what was counted since the test began", function()
        local gw = test.gateway { routes = { { name = "counted", match = { path = "/counted" }, reply = "ok" } } }
        for _ = 1, 3 do
            gw:get("/counted")
        end
        local found
        for name, value in pairs(gw:metrics()) do
            if name:find("^perigee_requests_total{") and name:find('route="counted"', 1, true) and value > 0 then
                found = value
            end
        end
        assert.equal(3, found)
    end)
end)

describe("assert.response", function()
    local res

    before_each(function()
        local gw = test.gateway {
            upstreams = { api = function() return test.reply(200, { a = { 1, 2 } }, { ["x-a"] = "1" }) end },
        }
        res = gw:get("/")
    end)

    it("passes what holds", function()
        assert.response(res).has.status(200)
        assert.response(res).has_no.status(404)
        assert.response(res).has.header("X-A")
        assert.response(res).has.header("x-a", 1)
        assert.response(res).has_no.header("x-b")
        assert.response(res).has.body('{"a":[1,2]}')
        assert.response(res).has.json { a = { 1, 2 } }
        assert.response(res).is_not.problem(200)
    end)

    it("explains what does not hold, with the whole response", function()
        local function explains(expected, state, name, ...)
            assert_error(expected, function(...) assert.response(res)[state][name](...) end, ...)
        end
        explains("Expected status 404, got 200\nThe response:\n200 OK\n", "has", "status", 404)
        explains('Expected header x-a: "2", got "1"', "has", "header", "x-a", "2")
        explains("Expected header x-b, got nil", "has", "header", "x-b")
        explains('Expected anything but header x-a, got "1"', "has_no", "header", "x-a")
        explains('Expected body "x", got "{', "has", "body", "x")
        explains('Expected JSON {"a":[2]}, got {"a":[1,2]}', "has", "json", { a = { 2 } })
        explains("Expected a problem with status 503", "is", "problem", 503)
    end)

    it("shows what was logged", function()
        local gw = test.gateway { routes = { { name = "broken", handler = function() error "out of ink" end } } }
        assert_error("out of ink", function() assert.response(gw:get("/")).has.status(200) end)
    end)

    it("takes nothing but responses", function()
        assert_error("expects a response, not a number", function() assert.response(7) end)
    end)
end)

describe("the end of a test", function()
    local function finish()
        world.status = "success"
        return message_of(world.finish)
    end

    it("names a request that nobody waited for", function()
        local gw = test.gateway { upstreams = { api = test.fail.hang } }
        gw:send { path = "/forgotten" }
        assert.truthy(finish():find("GET /forgotten was sent and neither waited for nor aborted", 1, true))
    end)

    it("leaves nothing of a test for the next one, whatever was under way", function()
        local gw = test.gateway { upstreams = { api = function()
            perigee.sleep(1000)
            return "late"
        end } }
        gw:send { path = "/a" }
        gw:raw "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhalf"
        gw:advance(1)
        finish()
        local counts = require("perigee._core.testing").counts()
        assert.same({ exchanges = 0, streams = 0, coroutines = 0, tasks = 0, timers = 0 }, counts)
    end)
end)

describe("perigee test", function()
    local lfs = require "lfs"
    local binary, folder

    setup(function()
        local pipe = io.popen "readlink /proc/$PPID/exe"
        binary = pipe:read("*l")
        pipe:close()
        folder = os.tmpname()
        os.remove(folder)
        assert(lfs.mkdir(folder))
    end)

    teardown(function()
        os.execute("rm -r '" .. folder .. "'")
    end)

    local function run(text, arguments)
        local file = assert(io.open(folder .. "/a_spec.lua", "w"))
        file:write(text)
        file:close()
        local command = "cd '%s' && '%s' test %s 2>&1; echo \"status $?\""
        local pipe = io.popen(command:format(folder, binary, arguments or "a_spec.lua"))
        local output = pipe:read("*a")
        pipe:close()
        return output, tonumber(output:match("status (%d+)\n$"))
    end

    it("ends with 0 when all passed and 1 when one failed", function()
        local output, status = run [[it("passes", function() end)]]
        assert.equal(0, status)
        assert.truthy(output:find("1 success / 0 failures / 0 errors / 0 pending", 1, true))
        output, status = run [[it("fails", function() assert.equal(1, 2) end)]]
        assert.equal(1, status)
        assert.truthy(output:find("0 successes / 1 failure / 0 errors / 0 pending", 1, true))
    end)

    it("ends with 1 when a test leaves something behind, and names the test", function()
        local output, status = run [[
            local test = require "perigee.test"
            it("is careless", function() test.gateway({ upstreams = { api = test.fail.hang } }):send {} end)
        ]]
        assert.equal(1, status)
        assert.truthy(output:find("left behind by 'is careless'", 1, true), output)
    end)

    it("ends with 1 when a spec does not load or ends the process", function()
        assert.equal(1, (select(2, run "this is no Lua")))
        assert.equal(1, (select(2, run [[it("exits", function() os.exit(0) end)]])))
    end)

    it("ends with 2 when it does not understand its arguments", function()
        local output, status = run("", "--colour")
        assert.equal(2, status)
        assert.truthy(output:find("--colour", 1, true))
    end)

    it("passes the options of busted on", function()
        local output, status = run([[
            it("one", function() end)
            it("two", function() error() end)
        ]], "--filter=one --output=TAP a_spec.lua")
        assert.equal(0, status)
        assert.truthy(output:find("ok 1 - one", 1, true), output)
    end)

    it("passes the examples of docs/testing.md", function()
        local page = assert(io.open "docs/testing.md"):read("*a")
        local made = 0
        os.execute(("mkdir -p '%s/docs/spec' '%s/docs/policies/closing'"):format(folder, folder))
        for path, code in page:gmatch("\n```lua\n%-%- (%S+)\n(.-)\n```") do
            local file = assert(io.open(folder .. "/docs/" .. path, "w"))
            file:write(code)
            file:close()
            made = made + 1
        end
        assert.equal(8, made)
        local output, status = run("", "-C docs")
        assert.equal(0, status, output)
        assert.truthy(output:find("13 successes / 0 failures / 0 errors / 0 pending", 1, true), output)
    end)

    it("uses policies beside and above the spec", function()
        assert(lfs.mkdir(folder .. "/policies"))
        assert(lfs.mkdir(folder .. "/policies/local_one"))
        local file = assert(io.open(folder .. "/policies/local_one/init.lua", "w"))
        file:write [[
            local perigee = require "perigee"
            local One = perigee.policy { name = "local_one", stage = "auth" }
            function One:on_request() return perigee.reply(200, "local") end
            return One
        ]]
        file:close()
        local text = [[
            local test = require "perigee.test"
            it("works", function()
                assert.equal("local", test.gateway({ policies = { "local_one" } }):get("/").body)
            end)
        ]]
        assert.equal(0, (select(2, run(text))))
    end)
end)
