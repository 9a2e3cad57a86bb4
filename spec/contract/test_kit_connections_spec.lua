-- SPDX-License-Identifier: MIT
--
-- The test kit: what a client's TLS agreed on, and listeners that pass TCP on with policies on their connections.
local perigee = require "perigee"
local test = require "perigee.test"

local GUARD = [[
local perigee = require "perigee"
local Guard = perigee.policy { name = "guard", stage = "auth" }

function Guard:on_connect(conn)
    local name = conn.server_name
    if conn.client.ip == "203.0.113.9" then
        return perigee.reply(403)
    elseif name == "broken.test" then
        return nil, "broken"
    elseif name == "slow.test" then
        perigee.sleep(1)
        conn.upstream = "night"
    elseif conn.alpn and conn.alpn[1] == "acme-tls/1" then
        conn.upstream = "night"
    end
end

return Guard
]]

describe("what the client's TLS agreed on", function()
    local function ask(options)
        local gw = test.gateway {
            routes = { { handler = function(req)
                local tls = req.client.tls
                local peer = tls and tls.peer
                return perigee.reply(200, {
                    scheme = req.scheme, version = tls and tls.version, cipher = tls and tls.cipher,
                    name = tls and tls.server_name, alpn = tls and tls.alpn, subject = peer and peer.subject,
                    issuer = peer and peer.issuer, san = peer and table.concat(peer.san, " "),
                    fingerprint = peer and peer.fingerprint, id = req.client.spiffe_id, ip = req.client.ip,
                })
            end } },
        }
        return gw:get("/", options):json()
    end

    it("is nothing without TLS", function()
        assert.same({ scheme = "http", ip = "127.0.0.1" }, ask {})
    end)

    it("is something usual where the test is not about it", function()
        assert.same({ scheme = "https", ip = "10.0.0.1", version = "TLSv1.3", cipher = "TLS_AES_128_GCM_SHA256" },
            ask { tls = true, client = "10.0.0.1" })
    end)

    it("is what the test says", function()
        local id = "spiffe://shop.test/orders"
        assert.same({
            scheme = "https", ip = "127.0.0.1", version = "TLSv1.2", cipher = "TLS_X", name = "shop.test", alpn = "h2",
            subject = "CN=orders", issuer = "CN=ca", san = id .. " orders.test", id = id, fingerprint = "ab",
        }, ask { tls = {
            version = "TLSv1.2", cipher = "TLS_X", server_name = "shop.test", alpn = "h2",
            peer = {
                subject = "CN=orders", issuer = "CN=ca", san = { "orders.test" }, spiffe_id = id, fingerprint = "ab",
            },
        } })
    end)

    it("has a certificate with its names and nothing more", function()
        local seen = ask { tls = { peer = { san = { "a.test", "b.test" } } } }
        assert.same({ "CN=client", "a.test b.test" }, { seen.subject, seen.san })
        assert.is_nil(seen.id)
        assert.equal(64, #seen.fingerprint)
        assert.equal("", ask({ tls = { peer = {} } }).san)
    end)

    it("is refused where it makes no sense", function()
        local function refuses(tls, message)
            assert.error_matches(function() ask { tls = tls } end, message)
        end
        refuses({ sni = "a" }, "tls has no 'sni'")
        refuses({ version = 1.3 }, "tls.version is a string, not a number")
        refuses({ peer = { names = {} } }, "tls.peer has no 'names'")
        refuses({ peer = { san = { "" } } }, "tls.peer.san%[1%] is empty")
        refuses({ alpn = "a\0b" }, "a text has a zero byte in it")
    end)
end)

describe("a connection to a tcp listener", function()
    local function new(listener, upstreams)
        listener.protocol, listener.policies = "tcp", { "guard" }
        return test.gateway({
            listeners = { "127.0.0.1:80", listener }, upstreams = upstreams or {
                day = test.bytes(function(bytes) return "day got " .. bytes end), night = test.bytes(),
            },
            routes = {},
        }, { files = { ["policies/guard/init.lua"] = GUARD } })
    end

    it("carries bytes to the upstream and back", function()
        local gw = new { address = "127.0.0.1:5432", upstream = "day" }
        local conn = gw:connect { listener = "127.0.0.1:5432" }
        assert.equal("day got hello", conn:write("hello"):read())
        conn:write("more")
        assert.equal("day got more", conn:read())
        assert.same({ { bytes = "hellomore", endpoint = 1 } }, gw.upstreams.day.connections)
        assert.same({}, gw.upstreams.night.connections)
        conn:close()
        gw.upstreams.day:reset()
        assert.same({}, gw.upstreams.day.connections)
    end)

    it("is closed when a policy refuses it or fails", function()
        local gw = new { address = "127.0.0.1:5432", upstream = "day", sni = { ["x.test"] = "night" } }
        assert.is_true(gw:connect({
            listener = "127.0.0.1:5432", client = "203.0.113.9", hello = {},
        }):closed())
        assert.is_true(gw:connect({ listener = "127.0.0.1:5432", hello = { server_name = "broken.test" } }):closed())
        assert.same({}, gw.upstreams.day.connections)
        assert.truthy(gw:log()[1].message:find("failed in on_connect: broken", 1, true))
    end)

    it("goes where its ClientHello and the policies say", function()
        local gw = new { address = "127.0.0.1:5432", upstream = "day", sni = { ["x.test"] = "night" } }
        local day, night = gw.upstreams.day, gw.upstreams.night
        gw:connect({ listener = "127.0.0.1:5432", hello = { server_name = "x.test" } }):close()
        gw:connect({ listener = "127.0.0.1:5432", hello = { alpn = { "acme-tls/1", "h2" } } }):close()
        assert.same({ 0, 2 }, { #day.connections, #night.connections })
        local conn = gw:connect { listener = "127.0.0.1:5432", hello = { server_name = "y.test", alpn = { "h2" } } }
        assert.equal(1, #day.connections)
        assert.equal("day got " .. day.connections[1].bytes, conn:read())
    end)

    it("waits while a policy does", function()
        local gw = new { address = "127.0.0.1:5432", upstream = "day", tls = "dev" }
        gw:connect { listener = "127.0.0.1:5432", tls = { server_name = "slow.test" } }
        assert.equal(0, #gw.upstreams.night.connections)
        gw:advance(1)
        assert.equal(1, #gw.upstreams.night.connections)
    end)

    it("lasts no longer than its upstream's longest duration, from its arrival on", function()
        local echo = test.bytes(function(bytes) return bytes end)
        local gw = new({ address = "127.0.0.1:5432", upstream = "day", tls = "dev" }, {
            day = { endpoints = { echo }, timeouts = { stream = "3s" } },
            night = { endpoints = { echo }, timeouts = { stream = "3s" } },
        })
        for name, wait in pairs { ["x.test"] = 0, ["slow.test"] = 1 } do
            local conn = gw:connect { listener = "127.0.0.1:5432", tls = { server_name = name } }
            gw:advance(wait)
            for _ = wait + 1, 3 do
                assert.equal("still here", conn:write("still here"):read())
                gw:advance(0.99)
            end
            assert.is_false(conn:closed())
            gw:advance(0.04)
            assert.is_true(conn:closed())
        end
        local short = gw:connect { listener = "127.0.0.1:5432", tls = {} }
        assert.equal("bye", short:write("bye"):read())
        short:close()
        gw:advance(10)
    end)

    it("is given up after that time when its server cannot be reached", function()
        local gw = new({ address = "127.0.0.1:5432", upstream = "day" }, {
            day = { endpoints = { test.fail.timeout }, timeouts = { stream = "2s", connect = "10s" } },
            night = test.bytes(),
        })
        local conn = gw:connect { listener = "127.0.0.1:5432" }
        gw:advance(1.9)
        assert.is_false(conn:closed())
        gw:advance(0.2)
        assert.is_true(conn:closed())
    end)

    it("breaks when its server does", function()
        local gw = new({ address = "127.0.0.1:5432", upstream = "day" }, {
            day = test.bytes(function() return test.fail.reset end), night = test.bytes(),
        })
        assert.is_true(gw:connect({ listener = "127.0.0.1:5432" }):write("x"):closed())
    end)

    it("has a listener that is there, and options that are known", function()
        local gw = new { address = "127.0.0.1:5432", upstream = "day" }
        assert.error_matches(function() gw:connect { listener = "127.0.0.1:1" } end,
            "there is no listener '127.0.0.1:1'; there are 127.0.0.1:80, 127.0.0.1:5432")
        assert.error_matches(function() gw:connect { ip = "x" } end, "'ip' is no option here")
        assert.error_matches(function() gw:connect { hello = { name = "x" } } end, "hello has no 'name'")
        assert.error_matches(function() test.bytes "x" end, "test.bytes expects a function, not a string")
    end)
end)
