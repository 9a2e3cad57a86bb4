-- SPDX-License-Identifier: MIT
--
-- Upstreams whose endpoints are discovered: what may be written together, and what C is told.

local config = require "perigee._core.config"

local function compile(upstream, dns)
    return config.compile({ upstreams = { u = upstream }, dns = dns, routes = {} }, { file = "gateway.lua" })
end

local function accept(upstream, dns)
    local result, errors = compile(upstream, dns)
    assert.are.same({}, errors)
    return result.normalized.upstreams[1], result.normalized
end

local function refuse(upstream, dns)
    local result, errors = compile(upstream, dns)
    assert.is_nil(result)
    return errors[1].path .. ": " .. errors[1].message
end

describe("endpoints that are discovered", function()
    it("are those of a name, which is the endpoint until its addresses are known", function()
        local upstream = accept { dns = "Orders.Internal:8080" }
        assert.are.same({ dns = "orders.internal:8080", host = "orders.internal", port = 8080 }, upstream.discovery)
        assert.are.equal("orders.internal:8080", upstream.endpoints[1].address)
    end)

    it("are not looked up when the name is an address", function()
        local upstream = accept { dns = "127.0.0.1:8080" }
        assert.is_nil(upstream.discovery)
        assert.are.equal("127.0.0.1:8080", upstream.endpoints[1].address)
    end)

    it("are those of a file, and none until it was read", function()
        local upstream = accept { file = "endpoints.json" }
        assert.are.same({ file = "endpoints.json" }, upstream.discovery)
        assert.is_nil(upstream.endpoints)
        assert.is_truthy(refuse({ file = "a\0b" }):find("upstreams.u.file: has a zero byte", 1, true))
    end)

    it("are those of a service, and none until it was looked up", function()
        local upstream = accept { srv = "_http._tcp.Orders.internal." }
        assert.are.same({ srv = "_http._tcp.orders.internal" }, upstream.discovery)
        assert.is_nil(upstream.endpoints)
        for _, name in ipairs { "orders.internal", "_http.orders", "_http._tcp", "_http._tcp.", "_a._tcp.a:80", "" } do
            assert.is_truthy(refuse({ srv = name }):find("expected the name of SRV records", 1, true), name)
        end
    end)

    it("need a name to verify behind a service", function()
        local message = "upstreams.u.tls: which name is to be verified?"
        assert.is_truthy(refuse({ srv = "_a._tcp.b", tls = {} }):find(message, 1, true))
        accept { srv = "_a._tcp.b", tls = { sni = "b" } }
        accept { srv = "_a._tcp.b", tls = { san = { "b" } } }
        accept { srv = "_a._tcp.b", tls = { verify = false } }
    end)

    it("are those that a server lists, which is asked as the URL says", function()
        local upstream = accept { http = "http://Consul.internal/v1/health/service/users?passing" }
        assert.are.same({
            http = "http://consul.internal/v1/health/service/users",
            poll = {
                address = "consul.internal:80", url = "http://consul.internal/v1/health/service/users?passing",
                interval_ms = 10000, timeout_ms = 5000,
            },
        }, upstream.discovery)
        assert.is_nil(upstream.endpoints)
        upstream = accept {
            http = {
                url = "https://[::1]:8501/a", interval = "1s", timeout = "2s", wait = "5m", tls = { ca = "ca.pem" },
                headers = { ["X-Consul-Token"] = "t" },
            },
        }
        assert.are.same({
            http = "https://[::1]:8501/a",
            poll = {
                address = "[::1]:8501", url = "http://[::1]:8501/a",
                interval_ms = 1000, timeout_ms = 2000, wait_ms = 300000,
                tls = { ca = "ca.pem", verify = true, min_version = "1.2" }, headers = { ["X-Consul-Token"] = "t" },
            },
        }, upstream.discovery)
        assert.is_true(accept({ http = "https://a/b" }).discovery.poll.tls.verify)
        assert.are.equal("a:443", accept({ http = "https://a/b" }).discovery.poll.address)
    end)

    it("are asked for with a URL and headers that the runtime can send", function()
        for _, url in ipairs { "", "a", "/a", "ftp://a/", "http://", "http://a b/", "http://user@a/", "http://a/#b" } do
            local message = refuse { http = url }
            assert.is_truthy(message:find("upstreams.u.http.url: ", 1, true), message)
        end
        local message = refuse { http = { url = "http://a/", headers = { Host = "b" } } }
        assert.is_truthy(message:find("'host' is written by the proxy itself", 1, true), message)
        message = refuse { http = { url = "http://a/", headers = { token = "secret\n" } } }
        assert.is_truthy(message:find("no control characters", 1, true), message)
        assert.is_nil(message:find("secret", 1, true))
        message = refuse { http = { url = "http://a/", tls = {} } }
        assert.are.equal('upstreams.u.http.tls: is for URLs that begin with "https:"', message)
    end)

    it("leave the configured ones alone", function()
        assert.is_nil(accept({ endpoints = { "a:1" } }).discovery)
    end)

    it("are verified by the name that was looked up", function()
        assert.are.equal("orders.internal", accept({ dns = "orders.internal:443", tls = {} }).tls.sni)
        assert.are.equal("b", accept({ dns = "orders.internal:443", tls = { sni = "b" } }).tls.sni)
        assert.is_nil(accept({ file = "e.json", tls = {} }).tls.sni)
    end)

    it("are not chosen by a function, nor named in cookies by a secret of one's own", function()
        local message = "upstreams.u.balance: a function chooses among `endpoints`"
        assert.is_truthy(refuse({ dns = "a:1", balance = function() end }):find(message, 1, true))
        local sticky = { "sticky", cookie = "c", secret = ("s"):rep(16) }
        message = refuse { file = "e.json", balance = sticky }
        assert.is_truthy(message:find("upstreams.u.balance.secret: works", 1, true))
        assert.is_not_nil(accept { dns = "127.0.0.1:1", balance = sticky })
    end)

    it("are asked of the servers that are named", function()
        local _, conf = accept({ dns = "a:1" }, { servers = { "127.0.0.1:5353", "[::1]:53" } })
        assert.are.same({ servers = "127.0.0.1:5353,[::1]:53" }, conf.dns)
        local message = refuse({ dns = "a:1" }, { servers = { "ns.internal:53" } })
        assert.is_truthy(message:find("expected an IP address", 1, true))
        _, conf = accept { dns = "a:1" }
        assert.is_nil(conf.dns)
    end)
end)
