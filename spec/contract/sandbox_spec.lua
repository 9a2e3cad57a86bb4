-- SPDX-License-Identifier: MIT

local perigee = require "perigee"
local test = require "perigee.test"

local HEAD = 'local perigee = require "perigee"\n'
local DECLARE = 'local Probe = perigee.policy { name = "probe", stage = "auth", schema = {\n'
    .. 'count = { type = "integer", default = 3 }, list = { type = "list", items = "string", default = { "a" } },\n'
    .. 'inner = { type = "table", fields = { x = { type = "integer", default = 1 } }, default = {} } } }\n'

-- A gateway whose policy 'probe' is this text, between its declaration and its return.
local function gateway_of(text, config, files)
    files = files or {}
    files["policies/probe/init.lua"] = HEAD .. DECLARE .. text .. "\nreturn Probe"
    config = config or {}
    config.policies = config.policies or { { "probe", budget = { cpu = "1s" } } }
    return test.gateway(config, { files = files })
end

-- What `code`, run in a hook, gives: its first value or the message of its error, as text.
local function outcome(code, files)
    local gw = gateway_of("local function run(self, req)\n" .. code .. "\nend\n" .. [[
        function Probe:on_request(req)
            local _, value = pcall(run, self, req)
            return perigee.reply(200, tostring(value))
        end]], nil, files)
    local res = gw:get("/a?b=c", { headers = { authorization = "secret", cookie = "a=b" } })
    assert.response(res).has.status(200)
    return res.body
end

local function assert_outcome(expected, code, files)
    local text = outcome(code, files)
    assert.truthy(text:find(expected, 1, true), code .. "\ngave: " .. text:sub(1, 300))
end

-- One `it` for each line: { name, code, what its outcome contains }.
local function each(list)
    for _, line in ipairs(list) do
        it(line[1], function() assert_outcome(line[3], line[2]) end)
    end
end

describe("a policy does not find", function()
    for _, name in ipairs {
        "ffi", "io", "debug", "jit", "package", "dofile", "loadfile", "module", "newproxy", "gcinfo", "print",
            "setfenv",
        "getfenv", "arg", "env", "file", "rawlen", "describe", "assert_outcome",
    } do
        it("the global " .. name, function() assert_outcome("nil", "return _G['" .. name .. "']") end)
    end

    for _, name in ipairs { "execute", "exit", "getenv", "remove", "rename", "setlocale", "tmpname" } do
        it("os." .. name, function() assert_outcome("nil", "return os." .. name) end)
    end

    for _, name in ipairs { "string.dump", "('').dump", "string.buffer", "string.__index", "('').__index", "table.new",
        "table.clear", "coroutine.close", "math.__index" } do
        it(name, function() assert_outcome("nil", "return " .. name) end)
    end

    for _, name in ipairs {
        "ffi", "io", "os", "debug", "jit", "jit.opt", "jit.util", "jit.profile", "package", "string.buffer",
            "table.new", "bit",
        "perigee._core.slot", "perigee._core.native", "perigee._core.search_native", "perigee._core.object",
        "perigee.request", "perigee.headers", "perigee.test", "perigee.algo._core", "perigee.algo.../x", "perigee.",
        "../probe", "policies...probe", "/etc/passwd", "probe\\0.lua", "perigee\\0", "policies/probe", "", ".", "a b",
            "%2e",
    } do
        it(("a module called %q"):format(name), function()
            local text = outcome("return require '" .. name .. "'")
            assert.truthy(text:find("there is no module", 1, true) or text:find("require expects", 1, true)
                or text:find("files can be read only", 1, true), text)
        end)
    end
end)

describe("a policy cannot load", function()
    each {
        { "bytecode by its first bytes", [[local f, e = load("\27LJ\2\0") return e]], "wrong mode" },
        { "bytecode by loadstring", [[local f, e = loadstring("\27LJ\2\0") return e]], "wrong mode" },
        { "bytecode by asking for the mode", [[local f, e = load("\27LJ\2\0", "x", "b") return e]], "wrong mode" },
        { "bytecode of PUC Lua", [[local f, e = load("\27Lua") return e]], "wrong mode" },
        { "bytecode piece by piece", [[local pieces = { "\27", "LJ", "\2" } local i = 0
            local f, e = load(function() i = i + 1 return pieces[i] end) return e]], "wrong mode" },
        { "pieces that are no text", "local f, e = load(function() return {} end) return e", "must return a string" },
        { "a function in the place of text", "return load({})", "load expects a string or a function" },
        { "a chunk of two megabytes", "local f, e = load(('x=1 '):rep(500000)) return e", "more than 16 KiB" },
        { "a chunk that a function makes without end",
            "local f, e = load(function() return ('--'):rep(1000) end) return e",
            "more than 16 KiB" },
        { "a chunk whose jumps cost their square", "local f, e = load('return a' .. (' or a'):rep(20000)) return e",
            "more than 16 KiB" },
        { "a chunk with ten thousand brackets", "local f, e = load(('('):rep(10000)) return e",
            "too many syntax levels" },
        { "a date of a megabyte", "return os.date(('%c'):rep(500000))", "more than 1 KiB" },
        { "a chunk that sees more than itself", "return load('return io or debug or ffi or env')()", "nil" },
        { "a chunk that writes globals", "return load('x = 1')()", "assignment to global 'x'" },
        { "a chunk with an environment that is a function", "return load('x = 1', 'x', 't', function() end)",
            "the environment is a table" },
    }
end)

describe("a policy cannot change", function()
    each {
        { "a global", "x = 1", "assignment to global 'x'" },
        { "_G", "_G.x = 1", "assignment to global 'x'" },
        { "_G by rawset", "rawset(_G, 'x', 1)", "protected" },
        { "_G's metatable", "setmetatable(_G, {})", "protected" },
        { "a global of the language", "pairs = nil", "assignment to global 'pairs'" },
        { "the metatable of strings", "getmetatable('').__index = {}", "attempt to index" },
        { "the methods of strings", "getmetatable('').__index.rep = 1", "attempt to index" },
        { "a function of string", "string.rep = nil", "'string' is read-only" },
        { "a function of string by rawset", "rawset(string, 'rep', 1)", "protected" },
        { "a library's metatable", "setmetatable(string, {})", "protected" },
        { "a library through getmetatable", "return getmetatable(table)", "read-only" },
        { "a library with table.insert", "table.insert(string, 1)", "read-only" },
        { "a library with table.remove", "table.remove(string)", "read-only" },
        { "a library with table.sort", "table.sort(string)", "read-only" },
        { "the seed of random numbers", "math.randomseed(1)", "the runtime has seeded it" },
        { "perigee", "perigee.reply = nil", "'perigee' is read-only" },
        { "perigee by rawset", "rawset(perigee, 'reply', 1)", "protected" },
        { "a module of perigee", "perigee.json.decode = nil", "'perigee.json' is read-only" },
        { "a table inside a module", "perigee.crypto.password.verify = nil", "is read-only" },
        { "a shared dictionary", "perigee.shared('x').get = 1", "has no 'get' to set" },
        { "a shared dictionary with table.insert", "table.insert(perigee.shared('x'), 1)", "read-only" },
        { "a setting", "self.conf.count = 4", "the configuration is read-only" },
        { "a setting by rawset", "rawset(self.conf, 'count', 4)", "protected" },
        { "a setting through pairs", "local _, t = pairs(self.conf) if t then t.count = 4 end return self.conf.count",
            "3" },
        { "a setting through next", "return next(self.conf)", "nil" },
        { "a setting inside another", "self.conf.inner.x = 2", "the configuration is read-only" },
        { "the length of a list in the settings", "self.conf.list[2] = 'b'", "the configuration is read-only" },
        { "a list in the settings with table.insert", "table.insert(self.conf.list, 'b')", "read-only" },
        { "a list in the settings with table.sort", "table.sort(self.conf.list)", "read-only" },
        { "the garbage collector", "collectgarbage('stop')", "may only count" },
        { "the collector's pause", "collectgarbage('setpause', 1)", "may only count" },
        { "a field of a request", "req.route = 'x'", "cannot be set" },
        { "the metatable of a request", "return getmetatable(req)", "perigee.Request" },
        { "the class of a request", "setmetatable(req, {})", "protected" },
        { "a method of headers", "local h = req.headers rawset(h, 'get', 1)", "protected" },
    }
end)

-- Objects that the SDK gives out, and how they are made.
local OBJECTS = {
    { "an expression", "perigee.regex.compile('(a)')", "match" },
    { "a set of addresses", "perigee.ip.set { '::1' }", "contains" },
    { "an HMAC key", "perigee.crypto.hmac_key('sha256', 'k')", "compute" },
    { "a verifier", "perigee.jwt.verifier { algorithms = { 'HS256' }, secret = ('s'):rep(32) }", "verify" },
    { "a counter", "perigee.metrics.counter('sandbox_total', 'x')", "inc" },
    { "a gauge", "perigee.metrics.gauge('sandbox_gauge', 'x')", "set" },
    { "a histogram", "perigee.metrics.histogram('sandbox_seconds', 'x')", "observe" },
    { "a shared dictionary", "perigee.shared 'x'", "get" },
}

describe("the class of", function()
    for _, object in ipairs(OBJECTS) do
        local what, make, method = object[1], object[2], object[3]
        it(what .. " cannot be reached", function()
            assert_outcome("nil", "return (" .. make .. ").__index")
            assert_outcome("string", "return type(getmetatable(" .. make .. "))")
            assert_outcome("protected", "setmetatable(" .. make .. ", {})")
            assert_outcome("function", "return type((" .. make .. ")." .. method .. ")")
        end)

        it(what .. " cannot be changed through it", function()
            local text = outcome("local o = " .. make .. " o." .. method .. " = 1")
            assert.truthy(text:find("read-only", 1, true) or text:find("to set", 1, true), text)
            assert_outcome("protected", "rawset(" .. make .. ", '" .. method .. "', 1)")
            assert_outcome("nil", "return next(" .. make .. ")")
        end)

        it(what .. " works on nothing else", function()
            local text = outcome("local o = " .. make .. " return o." .. method
                .. "(setmetatable({}, { __index = o }), 1, 1)")
            assert.truthy(text:find("call it with ':'", 1, true) or text:find("cannot convert", 1, true)
                or text:find("a key is a string", 1, true), text)
        end)
    end

    it("a reply cannot be reached", function()
        assert_outcome("nil", "return perigee.reply(200).__index")
        assert_outcome("perigee.Reply", "return getmetatable(perigee.reply(200))")
    end)

    it("a fetched response cannot be reached", function()
        local gw = gateway_of([[
            function Probe:on_request()
                local res = perigee.http.fetch "http://api/"
                local parts = { type(getmetatable(res)), type(getmetatable(res.headers)), tostring(res.__index) }
                return perigee.reply(200, table.concat(parts, " "))
            end]])
        assert.equal("string string nil", gw:get("/").body)
    end)

    it("an expression does not read beyond its groups", function()
        assert_outcome("read-only", "local r = perigee.regex.compile '(a)' r.groups = 60000 return #r:match 'a'")
        assert_outcome("nil", "return perigee.regex.compile('a')._handle")
    end)
end)

describe("a policy cannot confuse the SDK with", function()
    each {
        { "not-a-number as a size", "return perigee.crypto.random(0/0)", "0 to 65536 bytes" },
        { "not-a-number of iterations", "return perigee.crypto.password.hash('x', 0/0)", "1 to 300000" },
        { "not-a-number as a position", "return perigee.regex.compile('a'):find('a', 0/0)", "nil" },
        { "an endless position", "return perigee.regex.compile('a'):find('a', 1/0)", "nil" },
        { "a number of keys that is none", "return perigee.shared('x'):keys(0/0)", "the limit is a number" },
        { "an endless body", "local b, m = req.body:read(1/0) return m", "not allowed" },
        { "an endless timeout", "local r, m = perigee.http.fetch('http://x/', { timeout = 1/0 }) return m",
            "not allowed" },
        { "a line break in a header", "req.headers['x-a'] = 'b\\r\\nc: d'", "not allowed" },
        { "a list of headers that does not exist", "local h = req.headers h[3] = 77 return h:get 'authorization'",
            "nil" },
        { "a list of headers that is a table", "local h = req.headers h[3] = {} return h:get 'x'", "cannot convert" },
        { "a 64-bit number as a size", "return perigee.crypto.random(-1ULL)", "0 to 65536 bytes" },
        { "the null of JSON as text", "return perigee.crypto.hash('sha256', perigee.json.null)",
            "attempt to get length" },
        { "a table as text", "return perigee.base64.encode({})", "cannot convert" },
        { "a coroutine as self", "return req.headers.get(coroutine.create(function() end), 'x')", "this is a method" },
    }

    for name, code in pairs {
        ["__tostring that raises"] = "setmetatable({}, { __tostring = function() error 'x' end })",
        ["__tostring that waits"] = "setmetatable({}, { __tostring = function() perigee.sleep(1) end })",
        ["__index that raises"] = "setmetatable({}, { __index = function() error 'x' end })",
        ["__eq that raises"] = "setmetatable({}, { __eq = function() error 'x' end })",
    } do
        for _, hook in ipairs { "on_request(req)", "on_response(req, res)", "around(req, next)" } do
            it("a message with " .. name .. " from " .. hook, function()
                local gw = gateway_of("function Probe:" .. hook .. " return nil, " .. code .. " end")
                assert.response(gw:get("/")).is.problem(503)
                assert.truthy(gw:log()[1].message:find("the message is a table", 1, true), gw:log()[1].message)
            end)

            it("an error object with " .. name .. " from " .. hook, function()
                local gw = gateway_of("function Probe:" .. hook .. " error(" .. code .. ") end")
                assert.response(gw:get("/")).is.problem(503)
                assert.truthy(gw:log()[1].message:find("failed in", 1, true))
            end)
        end
    end

    for name, code in pairs {
        ["that it made itself"] =
            "setmetatable({}, { __metatable = 'perigee.Reply', __index = function() error 'x' end })",
        ["whose text is a table"] = "(function() local r = perigee.reply(200) r.text = {} return r end)()",
        ["whose status is a table"] = "(function() local r = perigee.reply(200) r.status = {} return r end)()",
        ["whose status is 99"] = "(function() local r = perigee.reply(200) r.status = 99 return r end)()",
        ["whose headers are a string"] = "(function() local r = perigee.reply(200) r.headers = 'x' return r end)()",
        ["with a header that is a function"] = "perigee.reply(200, '', { a = print or next })",
        ["with headers added later by number"] =
            "(function() local h = {} local r = perigee.reply(200, '', h) h[1] = 'x' return r end)()",
        ["with values that raise"] =
            "perigee.reply(200, '', { a = setmetatable({ 'b', nil, 'c' }, { __index = function() error 'x' end }) })",
    } do
        it("an answer " .. name, function()
            local gw = gateway_of("function Probe:on_request() return " .. code .. " end")
            local res = gw:get("/")
            assert.truthy(res.status == 503 or res.status == 200)
            for _, line in ipairs(gw:log()) do
                assert.truthy(line.message:find("policy 'probe'", 1, true), line.message)
            end
            assert.response(gw:get("/")).has.status(res.status)
        end)
    end

    it("the mark that ends an exchange", function()
        local gw = gateway_of([[
            function Probe:around(req, next)
                local _, err = pcall(next, req)
                perigee.shared("marks"):set("kind", type(err) .. " " .. tostring(pcall(function() err.x = 1 end)))
                error(err)
            end]], { policies = { "probe", "failing" } }, {
                ["policies/failing/init.lua"] = HEAD .. [[
                    local P = perigee.policy { name = "failing", stage = "auth" }
                    function P:around() error "no" end
                    return P]],
            })
        assert.response(gw:get("/")).is.problem(503)
        assert.equal("table false", perigee.shared("marks"):get("kind"))
    end)

    it("its own tracebacks and handlers", function()
        assert_outcome("string", "local kind xpcall(error, function(e) kind = type(e) end, 'x') return kind")
        assert_outcome("nil", "return select(2, xpcall(req.headers.get, function() return debug end, nil, 'x'))")
    end)
end)

describe("coroutines", function()
    each {
        { "of the runtime are not shown", "return coroutine.running()", "nil" },
        { "are told from other values", "local ok, e = coroutine.resume({}) return e", "a coroutine is expected" },
        { "yield only inside coroutines of scripts", "coroutine.yield(1)", "outside of a coroutine" },
        { "of scripts are shown", "return coroutine.wrap(function() return type(coroutine.running()) end)()",
            "thread" },
        { "end where the C stack ends", "local function f() coroutine.wrap(f)() end f()", "stack overflow" },
        { "end there too when they alternate with sorting",
            "local function f() coroutine.wrap(function() table.sort({ 1, 2, 3 }, f) end)() end f()",
                "stack overflow" },
    }

    it("that wait for the runtime cannot be resumed by another exchange", function()
        local gw = gateway_of([[
            local kept
            function Probe:on_request(req)
                if req.path == "/keep" then
                    kept = coroutine.create(function() perigee.sleep(10) return "slept" end)
                    return perigee.reply(200, select(2, coroutine.resume(kept)))
                end
                return perigee.reply(200, select(2, coroutine.resume(kept)))
            end]])
        local waiting = gw:send { path = "/keep" }
        gw:advance(1)
        assert.equal("cannot resume a coroutine that waits", gw:get("/").body)
        assert.equal("slept", waiting:wait().body)
    end)
end)

describe("calls through C end where the C stack ends", function()
    for name, code in pairs {
        gsub = "local function f() return (('x'):gsub('x', f)) end return f()",
        ["gsub of a table"] = "local meta = {} local t = setmetatable({}, meta) "
            .. "meta.__index = function() return (('x'):gsub('x', t)) end "
            .. "return (('x'):gsub('x', t))",
        ["table.sort"] = "local function f() table.sort({ 1, 2, 3 }, f) end f()",
        ["string.format"] = "local t t = setmetatable({}, { __tostring = function() return ('%s'):format(t) end }) "
            .. "return ('%s'):format(t)",
    } do
        it("in " .. name, function() assert_outcome("stack overflow", code) end)
    end
end)

-- ------------------------------------------------------------------ what was kept

local KEPT = { -- what is kept in a hook, and what uses it
    { "the request", "on_request(req)", "req", "kept.path" },
    { "the request, to be changed", "on_request(req)", "req", "(function() kept.path = '/x' end)()" },
    { "the request's context", "on_request(req)", "req", "kept.ctx" },
    { "the route's name", "on_request(req)", "req", "kept.route" },
    { "headers of a request", "on_request(req)", "req.headers", "kept['authorization']" },
    { "headers, to be changed", "on_request(req)", "req.headers", "kept:set('a', 'b')" },
    { "a method of headers with its object", "on_request(req)", "{ req.headers, req.headers.get }",
        "kept[2](kept[1], 'a')" },
    { "an iterator of headers", "on_request(req)", "req.headers:iterate()", "kept()" },
    { "trailers", "on_request(req)", "req.trailers", "kept:get('a')" },
    { "the query", "on_request(req)", "req.query", "kept:get('a')" },
    { "cookies", "on_request(req)", "req.cookies", "kept.a" },
    { "params", "on_request(req)", "req.params", "kept.a" },
    { "the client", "on_request(req)", "req.client", "kept.ip" },
    { "the client's TLS", "on_request(req)", "req.client", "kept.tls" },
    { "the body", "on_request(req)", "req.body", "kept:read()" },
    { "the body, to be replaced", "on_request(req)", "req.body", "kept:set('x')" },
    { "the attempt", "on_upstream(req, attempt)", "attempt", "kept.endpoint" },
    { "the attempt, to choose", "on_upstream(req, attempt)", "attempt", "(function() kept.upstream = 'api' end)()" },
    { "the response", "on_response(req, res)", "res", "kept.status" },
    { "the response, to be changed", "on_response(req, res)", "res", "(function() kept.status = 201 end)()" },
    { "headers of a response", "on_response(req, res)", "res.headers", "kept['a']" },
    { "the body of a response", "on_response(req, res)", "res.body", "kept:read()" },
    { "the response in the log", "on_log(req, res)", "res", "kept.status" },
}

local PLACES = { -- declared before the hooks; how to keep and how to find
    { "a local of the module", "local place", "place = %s", "place" },
    { "a table of the module", "local M = {}", "M.place = %s", "M.place" },
    { "self", "", "self.place = %s", "self.place" },
    { "a closure", "local place", "local v = %s place = function() return v end", "place()" },
    { "a cache", "local cache = perigee.cache.new { size = 2 }", "cache:set('k', %s)", "cache:get('k')" },
}

describe("after its exchange", function()
    for _, kept in ipairs(KEPT) do
        for _, place in ipairs(PLACES) do
            it(kept[1] .. " kept in " .. place[1] .. " raises an error", function()
                local gw = gateway_of(place[2] .. "\n"
                    .. "function Probe:" .. kept[2] .. " if req.path == '/keep' then " .. place[3]:format(kept[3])
                        .. " end\n"
                    .. (kept[2]:find("on_request", 1, true) and "" or "end function Probe:on_request(req) ")
                    .. "if req.path == '/use' then local kept = " .. place[4]
                        .. " local ok, e = pcall(function() return "
                    .. kept[4] .. " end) return perigee.reply(200, tostring(e)) end end")
                gw:get("/keep", { headers = { authorization = "secret", cookie = "a=b" } })
                local body = gw:get("/use", { headers = { authorization = "other" } }).body
                assert.truthy(body:find("the request was used after its exchange ended", 1, true), body)
            end)
        end

        it(kept[1] .. " used by a timer raises an error", function()
            local gw = gateway_of("function Probe:" .. kept[2] .. " local kept = " .. kept[3]
                .. " perigee.timer.after(5, function() return " .. kept[4] .. " end) end")
            gw:get("/keep")
            gw:advance(6)
            local text = gw:log()[1].message
            assert.truthy(text:find("the request was used after its exchange ended", 1, true), text)
        end)
    end

    it("next() raises an error, whoever has the slot now", function()
        local gw = gateway_of([[
            local kept
            function Probe:around(req, next)
                if req.path == "/keep" then
                    kept = function() return next(req) end
                    perigee.sleep(100)
                elseif req.path == "/use" then
                    local _, e = pcall(kept)
                    return perigee.reply(200, tostring(e))
                end
                return next(req)
            end]], { routes = { { handler = function() return perigee.reply(200, "handled") end } } })
        local pending = gw:send { path = "/keep" }
        gw:advance(1)
        pending:abort()
        gw:advance(1)
        local body = gw:get("/use").body
        assert.truthy(body:find("the request was used after its exchange ended", 1, true), body)
    end)

    it("no handle can be counted up to another exchange", function()
        local gw = gateway_of([[
            function Probe:on_request(req)
                if req.path == "/victim" then
                    return perigee.sleep(10)
                end
                local found, get = 0, req.headers.get
                for id = 1, 64 do
                    for step = -20, 20 do
                        for _, base in ipairs { 0, req[2] } do
                            local ok, value = pcall(get, { id, base + step, 0 }, "authorization")
                            found = found + (ok and value == "victim" and 1 or 0)
                        end
                    end
                end
                return perigee.reply(200, found .. "")
            end]])
        local victim = gw:send { path = "/victim", headers = { authorization = "victim" } }
        gw:advance(1)
        assert.equal("0", gw:get("/").body)
        victim:wait()
    end)

    it("a handle that is written to is stale", function()
        assert_outcome("used after its exchange ended", "req[2] = req[2] + 1 return req.path")
        assert_outcome("used after its exchange ended", "local h = req.headers h[1] = h[1] + 1 return h:get 'a'")
    end)
end)

-- ------------------------------------------------------------------ each other

describe("another policy's", function()
    local function two(evil, files)
        files = files or {}
        files["policies/guard/init.lua"] = HEAD .. [[
            local Guard = perigee.policy { name = "guard", stage = "auth" }
            local helper = require "guard.helper"
            local ok, state = pcall(require, "lib.state")
            function Guard:on_request(req)
                if not helper.allows(req) then return perigee.reply(401) end
                return perigee.reply(200, ok and tostring(state.count) or "")
            end
            return Guard]]
        files["policies/guard/helper.lua"] = "local M = {}\n"
            .. "function M.allows(req) return req.headers['x-key'] == 'good' end\nreturn M"
        return gateway_of(evil .. "\nfunction Probe:on_request() end", { policies = { "probe", "guard" } }, files)
    end

    it("hooks cannot be replaced through require", function()
        local gw = two "local g = require 'policies.guard' g.on_request = function() end"
        assert.response(gw:get("/")).has.status(401)
        assert.response(two("local g = require 'guard' g.on_request = nil"):get("/")).has.status(401)
    end)

    it("modules cannot be replaced through require", function()
        local gw = two "require('guard.helper').allows = function() return true end"
        assert.response(gw:get("/")).has.status(401)
    end)

    it("view of a common module is its own", function()
        local gw = two("local s = require 'lib.state' s.count = 99", { ["lib/state.lua"] = "return { count = 1 }" })
        assert.equal("1", gw:get("/", { headers = { ["x-key"] = "good" } }).body)
    end)

    it("environment is its own", function()
        local gw = two "local e = load('return _G')() pcall(rawset, e, 'pairs', 1) pcall(rawset, _G, 'perigee', 1)"
        assert.response(gw:get("/", { headers = { ["x-key"] = "good" } })).has.status(200)
    end)

    it("random numbers are not foretold by a seed", function()
        assert.response(two("pcall(math.randomseed, 1)"):get("/")).has.status(401)
    end)
end)

describe("variables and files", function()
    local function with_handler(handler, files, head)
        files = files or {}
        files["gateway.lua"] = (head or "")
            .. "local early = env 'HOME'\nreturn { routes = { { handler = function(req) local ok, value = "
            .. handler .. " return reply(200, tostring(value)) end } } }"
        return test.load("x/gateway.lua", { files = files }):get("/").body
    end

    it("are not read by a handler of the configuration", function()
        assert.truthy(with_handler("pcall(env, 'HOME')"):find("only while the configuration is loaded", 1, true))
        assert.truthy(with_handler("pcall(file, 'gateway.lua')"):find("only while the configuration is loaded", 1,
            true))
    end)

    it("are not read by a module that the configuration requires", function()
        local lib = { ["lib.lua"] = "return tostring(env) .. tostring(file)" }
        assert.equal("nilnil", with_handler("true, lib", lib, "local lib = require 'lib'\n"))
    end)
end)
