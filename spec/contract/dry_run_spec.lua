-- SPDX-License-Identifier: MIT

local test = require "perigee.test"

-- Tells all that it can see of an exchange, in the log and in what it leaves on the wire.
local WITNESS = [[
local perigee = require "perigee"
local Witness = perigee.policy { name = "witness", stage = "observe" }
local function tell(hook, req, res)
    local fields = {
        hook = hook, method = req.method, scheme = req.scheme, host = req.host, path = req.path,
        query = tostring(req.query),
        consumer = tostring(req.consumer), id = tostring(req.id), mark = tostring(req.ctx.mark),
    }
    for name, value in req.headers:iterate() do fields["req_" .. name] = value end
    if res then
        fields.status, fields.upstream, fields.endpoint = res.status, tostring(res.upstream), tostring(res.endpoint)
        for name, value in res.headers:iterate() do fields["res_" .. name] = value end
        fields.res_date = nil -- there when the upstream's connection is over, sooner or later
        for name, value in res.trailers:iterate() do fields["end_" .. name] = value end
    end
    perigee.log.info("seen", fields)
end
function Witness:on_request(req) tell("on_request", req) perigee.sleep(0.5) tell("on_request after a wait", req) end
function Witness:on_response(req, res) tell("on_response", req, res) end
function Witness:on_log(req, res) tell("on_log", req, res) end
return Witness
]]

-- How each hook is written round an effect.
local HOOKS = {
    on_request = "function P:on_request(req) %s end",
    on_request_body = "function P:on_request_body(req, chunk, last) if not last then return end %s end",
    on_upstream = "function P:on_upstream(req, attempt) %s end",
    on_response = "function P:on_response(req, res) %s end",
    on_response_body = "function P:on_response_body(req, res, chunk, last) if chunk == '' then return end %s end",
    ["around, before next"] = "function P:around(req, next) %s do return next(req) end end",
    ["around, after next"] = "function P:around(req, next) local res = next(req) %s do return res end end",
}

local REQUEST = {
    "on_request", "on_request_body", "on_upstream", "on_response", "around, before next", "around, after next",
}
local RESPONSE = { "on_response", "around, after next" }
local BODIES = { "on_request_body", "on_response_body" }
local ALL = {
    "on_request", "on_request_body", "on_upstream", "on_response", "on_response_body", "around, before next",
    "around, after next",
}

-- { what it does, code, hooks in which it has an effect, what it would have done }
local EFFECTS = {
    { "sets a request header", "req.headers['x-a'] = '1'", REQUEST, "change" },
    { "adds a request header", "req.headers:add('x-kept', '2')", REQUEST, "change" },
    { "removes a request header", "req.headers:remove('x-kept')", REQUEST, "change" },
    { "replaces the headers of a name by one", "req.headers['x-twice'] = 'once'", REQUEST, "change" },
    { "changes the method", "req.method = 'PATCH'", REQUEST, "change" },
    { "changes the scheme", "req.scheme = 'https'", REQUEST, "change" },
    { "changes the host", "req.host = 'other.example'", REQUEST, "change" },
    { "changes the path", "req.path = '/other'", REQUEST, "change" },
    { "changes the query", "req.query = 'other=1'", REQUEST, "change" },
    { "sets one query parameter", "req.query:set('a', '2')", REQUEST, "change" },
    { "sets the consumer", "req.consumer = 'ann'", REQUEST, "change" },
    { "sets the request id", "req.id = 'an-id'", REQUEST, "change" },
    { "writes to ctx", "req.ctx.mark = 'made'",
      { "on_request", "around, before next", "on_upstream", "on_request_body" } },
    { "replaces the request's body", "req.body:set('other')", { "on_request", "around, before next" }, "change" },
    { "limits the request's body", "req.body:limit(3)", { "on_request", "around, before next" }, "answer" },
    { "chooses another upstream", "attempt.upstream = 'spare'", { "on_upstream" }, "change" },
    { "chooses another endpoint", "attempt.endpoint = attempt.endpoint == ONE and TWO or ONE", { "on_upstream" },
      "change" },
    { "changes the status", "res.status = 418", RESPONSE, "change" },
    { "sets a response header", "res.headers['x-a'] = '1'", RESPONSE, "change" },
    { "adds a response header", "res.headers:add('x-origin', '2')", RESPONSE, "change" },
    { "removes a response header", "res.headers:remove('x-origin')", RESPONSE, "change" },
    { "replaces the response's body", "res.body:set('other')", RESPONSE, "change" },
    { "replaces a chunk", "do return 'other' end", BODIES, "change" },
    { "drops a chunk", "do return '' end", BODIES, "change" },
    { "answers", "do return perigee.reply(403, 'no', { ['x-no'] = 'yes' }) end", ALL, "answer" },
    { "fails with a message", "do return nil, 'it is broken' end", ALL, "fail" },
    { "raises an error", "error 'it is broken'", ALL, "fail" },
    { "returns what is no answer", "do return 42 end", { "on_request", "on_upstream", "on_response" }, "fail" },
    { "starts a task that changes the request", "perigee.spawn(function() req.path = '/other' end)", { "on_request" } },
    { "starts a task that waits and changes the request",
      "perigee.spawn(function() perigee.sleep(0.1) req.headers['x-late'] = '1' perigee.sleep(0.1) "
          .. "req.path = '/late' end)",
      { "on_request" } },
}

-- The same effect in other circumstances.
local MANNERS = {
    [""] = "%s",
    [" after a wait"] = "perigee.sleep(0.01) %s",
    [" and fails then"] = "%s error 'it is broken'",
}

local function probe(hook, code)
    return "local perigee = require 'perigee'\nlocal ONE, TWO = 'one.test:80', 'two.test:80'\n"
        .. "local P = perigee.policy { name = 'probe', stage = 'auth' }\n" .. HOOKS[hook]:format(code) .. "\nreturn P"
end

-- A policy of which the test writes everything between its head and its end.
local function written(code)
    return "local perigee = require 'perigee'\nlocal P = perigee.policy { name = 'probe', stage = 'auth' }\n" .. code
        .. "\nreturn P"
end

local function answer(name)
    return function(req)
        return test.reply(200, name .. " " .. req.body, { ["x-origin"] = "1" })
    end
end

local function gateway(code, settings)
    local policies = { "witness", "witness" }
    if settings then
        settings[1] = "probe"
        table.insert(policies, 2, settings)
    end
    return test.gateway({
        policies = policies,
        upstreams = {
            api = { endpoints = { "one.test:80", "two.test:80" } },
            spare = { endpoints = { "spare.test:80" } },
        },
        hosts = {
            ["one.test:80"] = answer "one", ["two.test:80"] = answer "two", ["spare.test:80"] = answer "spare",
        },
        routes = { { name = "r", upstream = "api" } },
    }, { files = { ["policies/probe/init.lua"] = code or "", ["policies/witness/init.lua"] = WITNESS } })
end

local function sorted(fields)
    local lines = {}
    for name, value in fields:iterate() do
        lines[#lines + 1] = name ~= "date" and name .. "=" .. value or nil
    end
    table.sort(lines)
    return table.concat(lines, ";")
end

local function traffic(gw)
    local lines = {}
    for _, name in ipairs { "one", "two", "spare" } do
        for _, req in ipairs(gw.hosts[name .. ".test:80"].requests) do
            lines[#lines + 1] = table.concat({
                name, req.method, req.path, req.query, req.body, sorted(req.headers),
            }, " ")
        end
    end
    return lines
end

local function ask(gw)
    return gw:request {
        method = "POST", path = "/path?a=1", body = "hello", client = "203.0.113.7",
        headers = { ["x-kept"] = "1", ["x-twice"] = { "1", "2" } },
    }
end

-- All that there is to see of one request, from all sides.
local function outcome(gw)
    local from = #gw:log()
    local ok, res = pcall(ask, gw)
    local lines = traffic(gw)
    lines[#lines + 1] = ok and res.status .. " " .. res.body .. " " .. sorted(res.headers) or "broken off"
    for i, line in ipairs(gw:log()) do
        if i > from and line.message:find("^witness:") then
            lines[#lines + 1] = line.message
        end
    end
    return table.concat(lines, "\n")
end

local without

-- The outcome without the policy; always the same.
local function control()
    without = without or outcome(gateway())
    return without
end

local function would(gw, what)
    return gw:metrics()[('perigee_policy_dry_run_total{policy="probe",route="r",would="%s"}'):format(what)] or 0
end

describe("a dry run", function()
    for _, effect in ipairs(EFFECTS) do
        local what, code, hooks, counted = effect[1], effect[2], effect[3], effect[4]
        for _, hook in ipairs(hooks) do
            it("leaves no trace of a policy that " .. what .. " in " .. hook, function()
                for manner, form in pairs(MANNERS) do
                    local gw = gateway(probe(hook, form:format(code)), { dry_run = true })
                    assert.equal(control(), outcome(gw), manner)
                end
            end)

            it("counts and logs one that " .. what .. " in " .. hook, function()
                local gw = gateway(probe(hook, code), { dry_run = true })
                outcome(gw)
                for _, kind in ipairs { "answer", "fail", "change" } do
                    assert.equal(kind == counted and 1 or 0, would(gw, kind), kind)
                end
                local is_logged = false
                for _, line in ipairs(gw:log()) do
                    is_logged = is_logged or line.message:find("policy 'probe' on route 'r' ", 1, true) ~= nil
                end
                assert.equal(counted ~= nil, is_logged)
            end)

            it("would be missed: a policy that " .. what .. " in " .. hook .. " otherwise shows", function()
                assert.not_equal(control(), outcome(gateway(probe(hook, code), {})))
            end)
        end
    end

    it("says in one line what would have been done", function()
        local code = probe("on_request", "req.headers['x-a'] = '1' req.headers:remove('x-kept') req.path = '/other' "
            .. "do return perigee.reply(403) end")
        local gw = gateway(code, { dry_run = true })
        outcome(gw)
        local found = false
        for _, line in ipairs(gw:log()) do
            found = found or line.message == "policy 'probe' on route 'r' would have set req.headers.x-a, req.path and "
                .. "removed req.headers.x-kept and answered 403 in on_request (dry run)"
        end
        assert.is_true(found)
    end)

    it("is known to the policy, from init on, in this use and in no other", function()
        local code = "local perigee = require 'perigee'\n"
            .. "local P = perigee.policy { name = 'probe', stage = 'auth', schema = { as = 'string' } }\n"
            .. "function P:init() perigee.log.info(self.conf.as .. ' begins: ' .. tostring(self.dry_run)) end\n"
            .. "function P:on_request() perigee.log.info(self.conf.as .. ' runs: ' .. tostring(self.dry_run)) end\n"
            .. "return P"
        local gw = test.gateway({
            policies = {
                { "probe", as = "one" }, { "probe", as = "two", dry_run = true },
                { "probe", as = "three", dry_run = false },
            },
        }, { files = { ["policies/probe/init.lua"] = code } })
        gw:get "/"
        local lines = {}
        for i, line in ipairs(gw:log()) do
            lines[i] = line.message
        end
        assert.same({
            "probe: one begins: false", "probe: two begins: true", "probe: three begins: false",
            "probe: one runs: false", "probe: two runs: true", "probe: three runs: false",
        }, lines)
    end)

    it("does not log values", function()
        local gw = gateway(probe("on_request", "req.headers['x-a'] = 'hunter2'"), { dry_run = true })
        outcome(gw)
        for _, line in ipairs(gw:log()) do
            assert.is_nil(line.message:find("hunter2", 1, true))
        end
    end)

    describe("shows the policy what it did itself", function()
        local function sees(code)
            local gw = gateway(written(code), { dry_run = true })
            outcome(gw)
            local seen = {}
            for _, line in ipairs(gw:log()) do
                seen[#seen + 1] = line.message:match("^probe: (.*)")
            end
            return table.concat(seen, " ")
        end

        it("in the same hook, before and after a wait", function()
            assert.equal("/other ann other /other ann other 1", sees [[
                function P:on_request(req)
                    req.path, req.consumer = "/other", "ann"
                    req.body:set("other")
                    perigee.log.info(req.path .. " " .. req.consumer .. " " .. req.body:read())
                    perigee.sleep(1)
                    req.headers["x-a"] = "1"
                    perigee.log.info(req.path .. " " .. req.consumer .. " " .. req.body:read() .. " "
                        .. req.headers["x-a"])
                end]])
        end)

        it("in ctx, from hook to hook", function()
            assert.equal("nil 1 2 3", sees [[
                function P:on_request(req) perigee.log.info(tostring(req.ctx.n)) req.ctx.n = 1 end
                function P:on_upstream(req) perigee.log.info(tostring(req.ctx.n)) req.ctx.n = 2 end
                function P:on_response(req) perigee.log.info(tostring(req.ctx.n)) req.ctx.n = 3 end
                function P:on_log(req) perigee.log.info(tostring(req.ctx.n)) end]])
        end)

        it("and what the others put into ctx", function()
            local gw = test.gateway({
                policies = { "first", { "probe", dry_run = true } },
            }, { files = {
                ["policies/first/init.lua"] = [[
                    local perigee = require "perigee"
                    local P = perigee.policy { name = "first", stage = "auth" }
                    function P:on_request(req) req.ctx.n = 7 end
                    return P]],
                ["policies/probe/init.lua"] = probe("on_request", "perigee.log.info('n ' .. req.ctx.n)"),
            } })
            gw:get "/"
            assert.equal("probe: n 7", gw:log()[1].message)
        end)
    end)

    describe("of around()", function()
        local function asked(code)
            local gw = gateway(written("function P:around(req, next) " .. code .. " end"), { dry_run = true })
            assert.equal(control(), outcome(gw))
            return gw
        end

        it("calls next once for a policy that does not", function()
            assert.equal(1, would(asked "do return perigee.reply(403) end", "answer"))
        end)

        it("calls next once for a policy that calls it again and again", function()
            asked "local res for _ = 1, 3 do res = next(req) end return res"
        end)

        it("gives the real response to a policy that answers behind it", function()
            assert.equal(1, would(asked "next(req) return perigee.reply(500)", "answer"))
        end)

        for _, code in ipairs {
            "", "next(req)", "return 42", "error 'no'", "next(req) error 'no'", "next({})", "return nil, 'no'",
        } do
            it("survives one that does no more than this: " .. code, function()
                assert.equal(1, would(asked(code), "fail"))
            end)
        end

        it("keeps nothing of a request for which there would be no room", function()
            local gw = gateway(probe("around, before next", ""), { dry_run = true })
            local chunks = {}
            for i = 1, 40 do
                chunks[i] = ("x"):rep(65536)
            end
            local res = gw:post("/", { chunks = chunks })
            assert.equal(200, res.status)
            assert.equal(4 + 40 * 65536, #res.body)
        end)

        it("undoes what is done on both sides of next, and keeps what is done inside", function()
            asked [[
                req.headers["x-a"] = "1"
                perigee.sleep(0.1)
                local res = next(req)
                perigee.sleep(0.1)
                req.path, res.status = "/other", 500
                res.headers:remove("x-origin")
                return res]]
        end)
    end)

    it("is not seen by a dry run beside it that waits at the same time", function()
        local code = probe("on_request_body", "req.path = '/one' perigee.sleep(1) req.method = 'PUT'")
        local other = probe("on_response", "req.path = '/two' perigee.sleep(1) res.status = 500")
        other = other:gsub("'probe'", "'other'")
        local gw = test.gateway({
            policies = { { "probe", dry_run = true }, { "other", dry_run = true }, "witness" },
        }, { files = {
            ["policies/probe/init.lua"] = code, ["policies/other/init.lua"] = other,
            ["policies/witness/init.lua"] = WITNESS,
        } })
        local res = gw:post("/", { chunks = { "a", "b" } })
        assert.equal(200, res.status)
        local seen = gw.upstreams.api.requests[1]
        assert.same({ "POST", "/", "ab" }, { seen.method, seen.path, seen.body })
        for _, line in ipairs(gw:log()) do
            if line.message:find("^witness:") then
                assert.truthy(line.message:find('path="/"', 1, true), line.message)
            end
        end
    end)

    it("goes on with many chunks without growing", function()
        local code = probe("on_request_body", "req.headers['x-a'] = ('1'):rep(10) do return 'other' end")
        local gw = gateway(code, { dry_run = true })
        local chunks = {}
        for i = 1, 500 do
            chunks[i] = ("x"):rep(100)
        end
        local res = gw:post("/", { chunks = chunks })
        assert.equal(200, res.status)
        assert.equal("one " .. ("x"):rep(50000), res.body)
    end)

    it("runs nothing for which there is no room", function()
        local code = probe("on_request", "for _ = 1, 100 do "
            .. "perigee.spawn(function() perigee.sleep(0.1) req.path = '/x' end) end")
        local gw = gateway(code, { dry_run = true })
        assert.equal(control(), outcome(gw))
        local refused = 0
        for _, line in ipairs(gw:log()) do
            refused = refused + (line.message:find("not enough memory for a dry run", 1, true) and 1 or 0)
        end
        assert.equal(36, refused)
    end)

    it("does not undo what the condition of a policy does not do", function()
        local gw = gateway(probe("on_request", "req.path = '/ran'"), {
            dry_run = true, when = function(req)
                req.path = "/asked"
                return req.method == "POST"
            end,
        })
        assert.truthy(outcome(gw):find("one POST /path a=1"))
        assert.equal(1, would(gw, "change"))
    end)

    it("leaves a policy out of the exchange whose condition fails", function()
        local gw = gateway(probe("on_request", "req.path = '/ran'"), {
            dry_run = true, when = function() error "no" end,
        })
        assert.equal(control(), outcome(gw))
        assert.equal(1, would(gw, "fail"))
    end)
end)
