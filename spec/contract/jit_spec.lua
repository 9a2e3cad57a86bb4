-- SPDX-License-Identifier: MIT
--
-- The shipped policies compile: LuaJIT finds no line in their hooks that keeps a request that is served interpreted.

local perigee = require "perigee"
local recorder = require "perigee.test.recorder"
local test = require "perigee.test"

local SECRET = ("s"):rep(32)
local TOKEN = assert(perigee.jwt.sign({ sub = "ada", exp = 4e9 }, { alg = "HS256", key = SECRET }))
local ROUNDS = 500

local CASES = {
    acl = {
        policies = { { "key_auth", keys = { k = "ada" } }, { "acl", deny = { "guests" } } },
        headers = { ["x-api-key"] = "k" },
    },
    admission_control = { policies = { "admission_control" } },
    adaptive_concurrency = { policies = { "adaptive_concurrency" } },
    body_limit = { policies = { { "body_limit", max = "1k" } }, method = "POST", body = "text" },
    concurrency_limit = { policies = { { "concurrency_limit", limit = 10, by = "client" } } },
    cors = {
        policies = { { "cors", origins = { "https://a.example" } } }, headers = { origin = "https://a.example" },
    },
    grpc_web = {
        policies = { "grpc_web" }, method = "POST", body = "AAAAAAA=",
        headers = { ["content-type"] = "application/grpc-web-text" },
    },
    circuit_breaker = { policies = { "circuit_breaker" } },
    fault = { policies = { { "fault", delay = { time = "1s", percent = 0.0001 } } } },
    hedge = { policies = { { "hedge", after = "1s" } } },
    headers = {
        policies = { { "headers", request = { set = { ["x-a"] = "1" } }, response = { remove = { "x-b" } } } },
    },
    ip_restriction = { policies = { { "ip_restriction", allow = { "127.0.0.0/8" } } } },
    jwt = {
        policies = { { "jwt", secret = SECRET, algorithms = { "HS256" } } },
        headers = { authorization = "Bearer " .. TOKEN },
    },
    key_auth = { policies = { { "key_auth", keys = { k = "ada" } } }, headers = { ["x-api-key"] = "k" } },
    quota = { policies = { { "quota", limit = 1000000, period = "month" } } },
    rate_limit = { policies = { { "rate_limit", limit = 1000000, window = "1s" } } },
    ["rate_limit with a sliding window"] = {
        policies = { { "rate_limit", algorithm = "sliding_window", limit = 1000000, window = "1s" } },
    },
    mirror = { policies = { { "mirror", upstream = "api", percent = 0.0001 } } },
    request_id = { policies = { "request_id" } },
    retry = { policies = { "retry" } },
    timeout = {
        policies = { { "timeout", request = "1s", per_try = "1s", idle = "1s", stream = "1m", deadline = "x-wait" } },
        headers = { ["x-wait"] = "500" },
    },
    traffic_split = { policies = { { "traffic_split", upstreams = { "api" }, by = "client" } } },
}

local function describe_findings(findings)
    local lines = {}
    for i, finding in ipairs(findings) do
        lines[i] = finding.file .. ":" .. finding.line .. ": " .. finding.reason
    end
    return table.concat(lines, "\n")
end

describe("LuaJIT compiles the hooks of", function()
    local function record(case, files)
        local gw = test.gateway({ policies = case.policies }, { files = files })
        local request = { method = case.method, headers = case.headers, body = case.body }
        assert.response(gw:request(request)).has.status(200)
        jit.flush()
        recorder.start(function(file) return file:sub(1, 9) == "policies/" end)
        for _ = 1, ROUNDS do
            gw:request(request)
        end
        return recorder.stop()
    end

    for name, case in pairs(CASES) do
        it(name, function()
            assert.equal("", describe_findings(record(case)))
        end)
    end

    it("no policy that makes a function for each request", function()
        local files = { ["policies/closure/init.lua"] = [[
            local perigee = require "perigee"
            local Closure = perigee.policy { name = "closure", stage = "transform" }
            function Closure:on_request(req)
                local call = function() return req.path end
                req.headers["x-a"] = call()
            end
            return Closure
        ]] }
        local findings, count = record({ policies = { "closure" } }, files)
        assert.equal("policies/closure/init.lua:4: makes a function (NYI: bytecode FNEW)", describe_findings(findings))
        assert.is_true(count >= 1)
    end)
end)
