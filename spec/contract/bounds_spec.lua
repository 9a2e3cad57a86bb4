-- SPDX-License-Identifier: MIT
--
-- The ends of the ranges that settings of policies for resilience may have: the last values that are taken, and the first
-- ones beyond them.

local test = require "perigee.test"

local STATUSES = { { { 400 }, { 599 } }, { { 399 }, { 600 } } }
local AT_LEAST_1MS = { { "1ms" }, { "0s" } }
local TEXT = ("x"):rep(1024)
local UP_TO_A_DAY = { { "0s", "24h" }, { "86401s" } }

-- By policy: what each use needs beside, and by setting the values that are taken and those that are refused.
local POLICIES = {
    retry = {
        attempts = { { 2, 10 }, { 1, 11 } }, on = STATUSES,
        base = AT_LEAST_1MS, max = AT_LEAST_1MS, within = AT_LEAST_1MS,
    },
    circuit_breaker = {
        failures = { { 0, 1000000 }, { -1, 1000001 } }, ratio = { { 0.01, 1 }, { 0.009, 1.001 } },
        volume = { { 1, 1000000 }, { 0, 1000001 } }, window = { { "100ms", "1h" }, { "99ms", "3601s" } },
        open = { { "10ms", "1h" }, { "9ms", "3601s" } }, probes = { { 1, 1000 }, { 0, 1001 } }, on = STATUSES,
    },
    timeout = { request = UP_TO_A_DAY, per_try = UP_TO_A_DAY, idle = UP_TO_A_DAY, stream = UP_TO_A_DAY },
    hedge = { after = { { "0s", "1h" }, { "3601s" } } },
    traffic_split = {
        upstreams = {
            { { { "api", weight = 1 } }, { { "api", weight = 1000000 } } },
            { {}, { { "api", weight = -1 } }, { { "api", weight = 1000001 } } },
        },
    },
    mirror = {
        needs = { upstream = "api" },
        percent = { { 0, 100 }, { -0.1, 100.1 } }, max_body = { { "1", "1m" }, { "0", 1048577 } },
        max_active = { { 1, 500 }, { 0, 501 } }, timeout = { { "10ms", "1m" }, { "9ms", "61s" } },
    },
    fault = {
        needs = { header = "x-fault", abort = { status = 500 } },
        delay = {
            { { time = "1ms", percent = 0 }, { time = "5m", percent = 100 } },
            { { time = "0s" }, { time = "301s" }, { time = "1s", percent = -1 }, { time = "1s", percent = 101 } },
        },
        abort = {
            { { status = 400, percent = 0 }, { status = 599, percent = 100 } },
            { { status = 399 }, { status = 600 }, { status = 500, percent = -1 }, { status = 500, percent = 101 } },
        },
        max_active = { { 1, 1000000 }, { 0, 1000001 } },
    },
    concurrency_limit = {
        needs = { limit = 1 },
        limit = { { 1, 1000000 }, { 0, 1000001 } }, queue = { { 0, 10000 }, { -1, 10001 } },
        wait = { { "1ms", "5m" }, { "0s", "301s" } }, lease = { { "10s", "24h" }, { "9s", "86401s" } },
    },
    adaptive_concurrency = {
        needs = { max_concurrency_limit = 1000000, min_concurrency = 1 },
        max_concurrency_limit = { { 1, 1000000 }, { 0, 1000001 } }, min_concurrency = { { 1, 10000 }, { 0, 10001 } },
        concurrency_update_interval = { { "10ms", "10s" }, { "9ms", "11s" } },
        sample_aggregate_percentile = { { 1, 100 }, { 0.9, 100.1 } },
        min_rtt = {
            {
                { interval = "1s", request_count = 1, jitter = 0, buffer = 0 },
                { request_count = 100000, jitter = 100, buffer = 1000 },
            },
            {
                { interval = "999ms" }, { request_count = 0 }, { request_count = 100001 }, { jitter = -1 },
                { jitter = 101 }, { buffer = -1 }, { buffer = 1001 },
            },
        },
    },
    admission_control = {
        window = { { "1s", "5m" }, { "999ms", "301s" } }, threshold = { { 1, 100 }, { 0.9, 100.1 } },
        aggression = { { 1, 100 }, { 0.9, 101 } }, max_rejection = { { 1, 99 }, { 0.9, 99.1 } },
        min_rate = { { 0, 1000000 }, { -1, 1000001 } }, failures = STATUSES,
    },
    rate_limit = {
        needs = { limit = 1 },
        limit = { { 1, 1e9 }, { 0, 1e9 + 1 } }, burst = { { 1, 1e9 }, { 0, 1e9 + 1 } },
        window = { { "10ms" }, { "9ms" } },
        redis = {
            {
                { "a:1", user = "u", password = "p", database = 0, timeout = "1ms", prefix = "" },
                { "a:1", user = TEXT, password = TEXT, database = 65535, timeout = "10s", prefix = TEXT:sub(1, 100) },
            },
            {
                { user = "u" }, { "a:1", user = "" }, { "a:1", user = TEXT .. "x" }, { "a:1", password = "" },
                { "a:1", password = TEXT .. "x" }, { "a:1", database = -1 }, { "a:1", database = 65536 },
                { "a:1", timeout = "0s" }, { "a:1", timeout = "11s" }, { "a:1", prefix = TEXT:sub(1, 101) },
            },
        },
    },
    quota = {
        needs = { limit = 1, period = "day" },
        limit = { { 1, 1e12 }, { 0, 1e12 + 1 } }, period = { { "1s" }, { "999ms" } },
        cost = { { 0, 1e9 }, { -1, 1e9 + 1 } },
    },
}

-- How many errors a configuration has in which a policy is used with this value.
local function errors(policy, needs, setting, value)
    local use = { policy }
    for name, needed in pairs(needs or {}) do
        use[name] = needed
    end
    use[setting] = value
    return test.errors { policies = { use } }
end

describe("the password of a Redis", function()
    it("is not shown, whatever is wrong with it", function()
        local message = test.errors {
            policies = { { "rate_limit", limit = 1, redis = { "a:1", password = 31337 } } },
        }[1].message
        assert.is_nil(message:find("31337", 1, true))
    end)
end)

for policy, settings in pairs(POLICIES) do
    local needs = settings.needs
    settings.needs = nil
    describe("policy " .. policy, function()
        for setting, ends in pairs(settings) do
            it("takes '" .. setting .. "' from one end to the other, and nothing beyond", function()
                for _, taken in ipairs(ends[1]) do
                    assert.same({}, errors(policy, needs, setting, taken))
                end
                for _, refused in ipairs(ends[2]) do
                    assert.equal(1, #errors(policy, needs, setting, refused))
                end
            end)
        end
    end)
end
