-- SPDX-License-Identifier: MIT
--
-- The settings of upstreams that say which servers are used: Envoy's names, Envoy's numbers, and what C is told.

local config = require "perigee._core.config"

local function compile(upstream)
    upstream.endpoints = { "a:1" }
    return config.compile({ upstreams = { u = upstream }, routes = {} }, { file = "gateway.lua" })
end

local function accept(upstream)
    local result, errors = compile(upstream)
    assert.are.same({}, errors)
    return result.normalized.upstreams[1]
end

local function refuse(upstream)
    local result, errors = compile(upstream)
    assert.is_nil(result)
    return errors[1].path .. ": " .. errors[1].message
end

describe("settings of an upstream's health", function()
    it("are left out when they are not written", function()
        local upstream = accept {}
        assert.is_nil(upstream.outlier)
        assert.is_nil(upstream.breaker)
    end)

    it("have Envoy's defaults", function()
        assert.are.same({
            consecutive_5xx = 5, consecutive_gateway_failure = 5, consecutive_local_origin_failure = 5,
            interval_ms = 10000, base_ejection_time_ms = 30000, max_ejection_time_ms = 300000,
            max_ejection_time_jitter_ms = 0, max_ejection_percent = 10, always_eject_one_host = true,
            success_rate_minimum_hosts = 5, success_rate_request_volume = 100, success_rate_stdev_factor = 1900,
            failure_percentage_threshold = 85, failure_percentage_minimum_hosts = 5,
            failure_percentage_request_volume = 50,
            enforcing_consecutive_5xx = 100, enforcing_consecutive_gateway_failure = 0,
            enforcing_consecutive_local_origin_failure = 100, enforcing_success_rate = 100,
            enforcing_failure_percentage = 0, split_external_local_origin_errors = false,
            successful_active_health_check_uneject_host = true,
        }, accept { outlier = {} }.outlier)
        assert.are.same({
            max_connections = 1024, max_pending = 1024, max_requests = 1024, max_retries = 3,
            high = { max_connections = 1024, max_pending = 1024, max_requests = 1024, max_retries = 3 },
        }, accept { breaker = {} }.breaker)
        assert.are.same({ max = 100, timeout_ms = 1000 }, accept { breaker = { queue = {} } }.breaker.queue)
    end)

    it("name routes with high priority, whose limits are others", function()
        local function compile_route(priority)
            local result, errors = config.compile({
                upstreams = { u = { endpoints = { "a:1" }, breaker = { high = { max_requests = 5 } } } },
                routes = { { upstream = "u", priority = priority } },
            }, { file = "gateway.lua" })
            return result and result.normalized, errors
        end
        assert.is_nil(compile_route().routes[1].priority)
        assert.is_nil(compile_route("default").routes[1].priority)
        local normalized = compile_route "high"
        assert.are.equal("high", normalized.routes[1].priority)
        assert.are.equal(5, normalized.upstreams[1].breaker.high.max_requests)
        assert.are.equal(1024, normalized.upstreams[1].breaker.max_requests)
        local _, errors = compile_route "low"
        assert.are.equal("routes[1].priority", errors[1].path)
    end)

    it("have Linkerd's numbers for failure accrual", function()
        assert.are.same({
            kind = "consecutive", failures = 7, backoff = { min_ms = 1000, max_ms = 60000, jitter = 0.5 },
        }, accept { accrual = {} }.accrual)
        local accrual = accept({ accrual = { kind = "unified", window = "5s", success_rate = 0.9 } }).accrual
        assert.are.equal(5000, accrual.window_ms)
        assert.are.equal(0.9, accrual.success_rate)
    end)

    it("shut or eject, but not both", function()
        assert.are.equal("upstreams.u.accrual: takes the place of 'outlier': use one of them",
            refuse { accrual = {}, outlier = {} })
        assert.are.equal('upstreams.u.accrual.min_requests: has no effect with kind "consecutive"',
            refuse { accrual = { min_requests = 3 } })
    end)

    it("have safe conditions for retries, and Envoy's numbers", function()
        assert.are.same({
            attempts = 1, on = { "connect-failure", "refused-stream", "reset", "503" }, non_idempotent = false,
            backoff = { base_ms = 25, max_ms = 250 }, body = 65536,
            budget = {
                type = "concurrency", percent = 20, min_concurrency = 3,
                ttl_ms = 10000, min_per_second = 10, ratio = 0.2,
            },
        }, accept { retries = {} }.retries)
    end)

    it("refuse conditions that nobody knows", function()
        assert.truthy(refuse({ retries = { on = { "5x" } } }):find("upstreams.u.retries.on[1]", 1, true))
        assert.truthy(refuse({ retries = { on = { 200 } } }):find("must be at least 400", 1, true))
    end)

    it("are written with durations in milliseconds", function()
        local outlier = { interval = "1.5s", base_ejection_time = "1m", consecutive_5xx = 0 }
        outlier = accept { outlier = outlier }.outlier
        assert.are.equal(1500, outlier.interval_ms)
        assert.are.equal(60000, outlier.base_ejection_time_ms)
        assert.are.equal(0, outlier.consecutive_5xx)
    end)

    it("are refused beyond their limits", function()
        assert.are.equal("upstreams.u.outlier.max_ejection_percent: must be at most 100",
            refuse { outlier = { max_ejection_percent = 101 } })
        assert.are.equal("upstreams.u.outlier.interval: must be at least 10ms",
            refuse { outlier = { interval = "1ms" } })
        assert.are.equal("upstreams.u.breaker.queue.max: must be at least 1",
            refuse { breaker = { queue = { max = 0 } } })
        assert.are.equal("upstreams.u.breaker.max_requests: must be at least 0",
            refuse { breaker = { max_requests = -1 } })
    end)

    it("name the nearest setting for an unknown one", function()
        assert.are.equal("upstreams.u.breaker.max_request: unknown setting 'max_request'; did you mean 'max_requests'?",
            refuse { breaker = { max_request = 1 } })
    end)
end)

describe("settings of how long things take", function()
    it("hedge once, what is idempotent, and only when it says after what time", function()
        assert.are.same({ max = 1, non_idempotent = false }, accept { hedge = {} }.hedge)
        assert.are.same({ after_ms = 50, max = 2, non_idempotent = true },
            accept { hedge = { after = "50ms", max = 2, non_idempotent = true } }.hedge)
        assert.is_nil(accept {}.hedge)
    end)

    it("have hedges within limits", function()
        assert.are.equal("upstreams.u.hedge.after: must be at least 1ms", refuse { hedge = { after = "0s" } })
        assert.are.equal("upstreams.u.hedge.max: must be at least 1", refuse { hedge = { max = 0 } })
    end)

    it("have no longest duration by default", function()
        assert.is_nil(accept {}.timeouts.stream_ms)
        assert.are.equal(60000, accept { timeouts = { stream = "1m" } }.timeouts.stream_ms)
    end)

    it("name headers of deadlines in lower case, on both sides", function()
        assert.are.equal("x-left", accept { deadline_header = "X-Left" }.deadline_header)
        local result = config.compile({
            listeners = { { address = "127.0.0.1:0", deadline_header = "X-Wait" } }, routes = {},
        }, { file = "gateway.lua" })
        assert.are.equal("x-wait", result.normalized.listeners[1].deadline_header)
    end)

    it("refuse headers that are none, or the proxy's own", function()
        assert.truthy(refuse({ deadline_header = "x y" }):find("upstreams.u.deadline_header", 1, true))
        assert.truthy(refuse({ deadline_header = "content-length" }):find("the proxy writes it itself", 1, true))
        assert.truthy(refuse({ deadline_header = ("x"):rep(64) }):find("upstreams.u.deadline_header", 1, true))
    end)
end)
