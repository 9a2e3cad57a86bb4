-- SPDX-License-Identifier: MIT
--
-- TLS and protocols in the configuration: what is refused, and the form that C reads.
local config = require "perigee._core.config"

local function compile(value)
    value.routes = { { reply = "ok" } }
    return config.compile(value, { file = "gateway.lua", load_policy = function() return nil end })
end

local function listener(tls)
    local result, errors = compile { listeners = { { address = "*:443", tls = tls } } }
    assert.are.same({}, errors)
    return result.normalized.listeners[1].tls
end

local function upstream(settings)
    settings.endpoints = settings.endpoints or { "a.example:443" }
    local result, errors = compile { upstreams = { u = settings } }
    assert.are.same({}, errors)
    return result.normalized.upstreams[1]
end

local function refuses(value, path, message)
    local result, errors = compile(value)
    assert.is_nil(result)
    assert.are.equal(1, #errors)
    assert.are.equal(path, errors[1].path)
    assert.truthy(errors[1].message:find(message, 1, true), errors[1].message)
end

local function listener_refuses(tls, path, message)
    refuses({ listeners = { { address = "*:443", tls = tls } } }, "listeners[1].tls" .. path, message)
end

local function upstream_refuses(settings, path, message)
    settings.endpoints = settings.endpoints or { "a.example:443" }
    refuses({ upstreams = { u = settings } }, "upstreams.u." .. path, message)
end

describe("TLS of a listener", function()
    it("is a certificate with its key, with the safe defaults", function()
        assert.are.same({
            certificates = { { cert = "a.pem", key = "a.key" } }, client_auth = "none", min_version = "1.2",
            alpn = { "h2", "http/1.1" },
        }, listener { cert = "a.pem", key = "a.key" })
    end)

    it("is several certificates, for the names they have or are given", function()
        local list = { { cert = "a", key = "b", hosts = { "*.a.example" } }, { cert = "c", key = "d", ocsp = "e" } }
        assert.are.same(list, listener({ certificates = list }).certificates)
    end)

    it("is a folder of certificates, alone or beside others", function()
        assert.are.same({ directory = "live", client_auth = "none", min_version = "1.2", alpn = { "h2", "http/1.1" } },
            listener { directory = "live" })
        local both = listener { cert = "a", key = "b", directory = "live" }
        assert.are.same({ { cert = "a", key = "b" } }, both.certificates)
        assert.are.equal("live", both.directory)
        listener_refuses({ directory = "live", key = "b" }, "", "cert and key go together")
        listener_refuses({ directory = "" }, ".directory", "")
    end)

    it("is the certificate for development in one word", function()
        assert.are.same({ dev = true, client_auth = "none", min_version = "1.2", alpn = { "h2", "http/1.1" } },
            listener "dev")
        listener_refuses("prod", "", 'expected "dev" or a table')
        listener_refuses({ dev = true }, ".dev", "unknown setting")
    end)

    it("keeps what is written", function()
        local tls = listener {
            cert = "a", key = "b", ocsp = "c", client_ca = "d", client_auth = "require", min_version = "1.3",
            alpn = { "http/1.1" },
        }
        assert.are.same({ { cert = "a", key = "b", ocsp = "c" } }, tls.certificates)
        assert.are.equal("d", tls.client_ca)
        assert.are.equal("require", tls.client_auth)
        assert.are.equal("1.3", tls.min_version)
        assert.are.same({ "http/1.1" }, tls.alpn)
    end)

    it("has certificates in one way only, and each with its key", function()
        listener_refuses({}, "", "needs cert and key, certificates, or a directory with them")
        listener_refuses({ cert = "a", key = "b", certificates = { { cert = "a", key = "b" } } }, "",
            "needs either cert and key, or certificates")
        listener_refuses({ cert = "a" }, "", "cert and key go together")
        listener_refuses({ certificates = { { cert = "a" } } }, ".certificates[1].key", "is required")
    end)

    it("asks for client certificates only with somebody to vouch for them", function()
        for _, auth in ipairs { "optional", "require" } do
            listener_refuses({ cert = "a", key = "b", client_auth = auth }, "", "client_auth needs client_ca")
        end
        listener_refuses({ cert = "a", key = "b", client_ca = "c" }, "", "client_ca is of no use")
    end)

    it("offers no version and no protocol that is not known", function()
        listener_refuses({ cert = "a", key = "b", min_version = "1.1" }, ".min_version", '"1.1"')
        listener_refuses({ cert = "a", key = "b", alpn = { "h3" } }, ".alpn[1]", '"h3"')
    end)
end)

describe("TLS of an upstream", function()
    it("verifies unless it is told not to", function()
        assert.are.same({ verify = true, min_version = "1.2" }, upstream({ tls = {} }).tls)
        assert.is_false(upstream({ tls = { verify = false } }).tls.verify)
        upstream_refuses({ tls = { verify = false, ca = "a" } }, "tls", "of no use without verify")
        upstream_refuses({ tls = { verify = false, san = { "a" } } }, "tls", "of no use without verify")
    end)

    it("keeps what is written", function()
        local tls = {
            verify = true, ca = "a", sni = "b.example", san = { "spiffe://td/x" }, cert = "c", key = "d",
            min_version = "1.3",
        }
        assert.are.same(tls, upstream({ tls = tls }).tls)
        upstream_refuses({ tls = { cert = "a" } }, "tls", "cert and key go together")
    end)

    it("knows whom it expects behind a unix socket", function()
        local endpoints = { "unix:/run/u.sock" }
        upstream_refuses({ endpoints = endpoints, tls = {} }, "endpoints[1]", "no name to verify")
        assert.truthy(upstream { endpoints = endpoints, tls = { sni = "u.example" } })
        assert.truthy(upstream { endpoints = endpoints, tls = { san = { "u.example" } } })
        assert.truthy(upstream { endpoints = endpoints, tls = { verify = false } })
    end)

    it("is what tells h2 from h2c", function()
        upstream_refuses({ protocol = "h2" }, "protocol", "needs tls")
        upstream_refuses({ protocol = "h2c", tls = {} }, "protocol", "is without tls")
        assert.are.equal("h2", upstream({ protocol = "h2", tls = {} }).protocol)
        assert.are.equal("h2c", upstream({ protocol = "h2c" }).protocol)
    end)
end)
