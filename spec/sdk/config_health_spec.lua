-- SPDX-License-Identifier: MIT
--
-- The settings of active health checks: defaults, what does not go together, and what C is told.

local config = require "perigee._core.config"

local function compile(upstream)
    upstream.endpoints = upstream.endpoints or not upstream.dns and { "a:1" } or nil
    return config.compile({ upstreams = { u = upstream }, routes = {} }, { file = "gateway.lua" })
end

local function accept(upstream)
    local result, errors = compile(upstream)
    assert.are.same({}, errors)
    return result.normalized.upstreams[1]
end

local function assert_refused(upstream, expected)
    local result, errors = compile(upstream)
    assert.is_nil(result)
    assert.are.equal(expected, errors[1].path .. ": " .. errors[1].message)
end

describe("settings of health checks", function()
    it("are left out when they are not written", function()
        assert.is_nil(accept({}).health)
    end)

    it("ask for / every five seconds by default", function()
        assert.are.same({
            type = "http", path = "/", expected = { { 200, 200 } }, interval_ms = 5000, jitter_ms = 500,
            timeout_ms = 2000, healthy = 2, unhealthy = 3, initial = "healthy",
        }, accept({ health = {} }).health)
    end)

    it("are written with statuses as ranges and names of headers in lower case", function()
        local health = accept({ health = {
            path = "/healthz?a=b", host = "users.test:80", port = 81, expected = { "2xx", 301 }, interval = "1s",
            jitter = "25%", timeout = "100ms", headers = { ["X-B"] = "2", ["X-A"] = "1" }, initial = "unhealthy",
        } }).health
        assert.are.same({ { 200, 299 }, { 301, 301 } }, health.expected)
        assert.are.same({ { "x-a", "1" }, { "x-b", "2" } }, health.headers)
        assert.are.equal("/healthz?a=b", health.path)
        assert.are.equal("users.test:80", health.host)
        assert.are.equal(81, health.port)
        assert.are.equal(250, health.jitter_ms)
        assert.are.equal("unhealthy", health.initial)
    end)

    it("tell of gRPC and TCP only what these need", function()
        local grpc = accept({ health = { type = "grpc", service = "shop.Cart" } }).health
        assert.are.equal("shop.Cart", grpc.service)
        assert.is_nil(grpc.path)
        assert.is_nil(grpc.expected)
        local tcp = accept({ health = { type = "tcp" } }).health
        assert.is_nil(tcp.path)
        assert.is_nil(tcp.host)
    end)

    it("ask the servers behind a name for that name", function()
        assert.are.equal("users.test:8080", accept({ dns = "users.test:8080", health = {} }).health.host)
        assert.are.equal("users.test:81", accept({ dns = "users.test:8080", health = { port = 81 } }).health.host)
        assert.are.equal("other", accept({ dns = "users.test:8080", health = { host = "other" } }).health.host)
        assert.is_nil(accept({ dns = "10.0.0.1:8080", health = {} }).health.host)
    end)

    it("may differ for one endpoint", function()
        local endpoints = { { "a:1", health = { port = 2, path = "/x" } }, { "b:1", health = {} } }
        local upstream = accept { endpoints = endpoints, health = {} }
        assert.are.same({ port = 2, path = "/x" }, upstream.endpoints[1].health)
        assert.is_nil(upstream.endpoints[2].health)
    end)

    it("are refused where they would have no effect", function()
        assert_refused({ endpoints = { { "a:1", health = { port = 2 } } } },
            "upstreams.u.endpoints[1].health: has no effect: the upstream has no 'health'")
        assert_refused({ endpoints = { { "a:1", health = { path = "/x" } } }, health = { type = "tcp" } },
            'upstreams.u.endpoints[1].health.path: has no effect with type "tcp"')
        assert_refused({ endpoints = { { "unix:/a", health = { port = 2 } } }, health = {} },
            "upstreams.u.endpoints[1].health.port: a unix socket has no port")
        for name, value in pairs { path = "/", expected = { 200 }, host = "a", headers = { a = "b" }, service = "s" } do
            assert_refused({ health = { type = "tcp", [name] = value } },
                "upstreams.u.health." .. name .. ': has no effect with type "tcp"')
        end
        assert_refused({ health = { service = "s" } }, 'upstreams.u.health.service: has no effect with type "http"')
    end)

    it("are refused when the upstream cannot be asked so", function()
        assert_refused({ protocol = "h1", health = { type = "grpc" } },
            'upstreams.u.health.type: gRPC needs HTTP/2, and the protocol is "h1"')
        assert_refused({ proxy_protocol = "v1", health = {} },
            'upstreams.u.health.type: must be "tcp": checks send no PROXY header')
        assert.are.equal("tcp", accept({ proxy_protocol = "v1", health = { type = "tcp" } }).health.type)
    end)

    it("are looked at in peace when others are wrong", function()
        local endpoints = { "a:1", { 7, health = { port = "x" } }, { health = 3 } }
        local health = { type = "x", path = 7, expected = "no", service = "a" }
        local result, errors = compile { endpoints = endpoints, health = health, proxy_protocol = 3, accrual = 7 }
        assert.is_nil(result)
        assert.is_true(#errors > 5)
    end)

    it("are refused when they could not be sent", function()
        for _, path in ipairs { "healthz", "/a b", "/a#b", "/a\r\nb", "/ä" } do
            assert_refused({ health = { path = path } },
                'upstreams.u.health.path: expected a path such as "/healthz", percent-encoded')
        end
        assert_refused({ health = { host = "a/b" } },
            'upstreams.u.health.host: expected a host such as "users.internal" or "users.internal:8080"')
        assert_refused({ health = { headers = { Host = "a" } } },
            "upstreams.u.health.headers.Host: is the setting 'host'")
        assert_refused({ health = { headers = { Authorization = "a" } } }, "upstreams.u.health.headers.Authorization: "
            .. "is a credential: these headers are shown with the configuration")
        assert_refused({ health = { expected = { 100 } } },
            "upstreams.u.health.expected[1]: must be at least 200")
        assert_refused({ health = { interval = "0s" } }, "upstreams.u.health.interval: must be at least 10ms")
    end)
end)
