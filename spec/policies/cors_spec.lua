-- SPDX-License-Identifier: MIT

local test = require "perigee.test"

local APP = "https://app.example"

local function gateway(settings, around)
    local config = around or {}
    settings[1] = "cors"
    config.policies = { settings }
    return test.gateway(config)
end

local function get(gw, origin)
    return gw:get("/", { headers = { origin = origin } })
end

local function preflight(gw, origin, method, headers)
    return gw:options("/", { headers = {
        origin = origin, ["access-control-request-method"] = method or "PUT",
        ["access-control-request-headers"] = headers,
    } })
end

-- Values of Vary, in lower case, as a set.
local function vary(res)
    local set = {}
    for _, value in ipairs(res.headers:all "vary") do
        for name in value:lower():gmatch "[^,%s]+" do
            set[name] = true
        end
    end
    return set
end

describe("cors: an origin", function()
    local BELOW = { "https://*.example.com" }
    local cases = {
        { { APP }, APP, true }, { { APP }, "https://app.example.evil", false },
        { { APP }, "http://app.example", false },
        { { APP }, "https://app.example:8443", false }, { { APP }, "https://APP.example", false },
        { { APP }, "https://app.example/", false }, { { APP }, "null", false }, { { APP }, "", false },
        { { APP }, APP .. " " .. APP, false }, { { APP, "http://localhost:3000" }, "http://localhost:3000", true },
        { { "http://[::1]:3000" }, "http://[::1]:3000", true },
        { BELOW, "https://*.example.com", false }, { BELOW, "https://axexample.com", false },
        { BELOW, "https://a.example.com", true }, { BELOW, "https://a.b.example.com", true },
        { BELOW, "https://a-1.example.com", true }, { BELOW, "https://example.com", false },
        { BELOW, "https://.example.com", false }, { BELOW, "https://evilexample.com", false },
        { BELOW, "https://a.example.com.evil", false }, { BELOW, "https://evil#.example.com", false },
        { BELOW, "https://evil/.example.com", false }, { BELOW, "https://evil@a.example.com", false },
        { BELOW, "https://evil:443.example.com", false }, { BELOW, "http://a.example.com", false },
        { BELOW, "https://a.example.com:8443", false }, { BELOW, "null", false },
        { { "https://*.example.com:8443" }, "https://a.example.com:8443", true },
        { { "https://*.example.com:8443" }, "https://a.example.com", false },
        { { APP, "https://*.example.com" }, "https://x.example.com", true },
    }
    for _, case in ipairs(cases) do
        local origins, origin, is_allowed = unpack(case)
        local word = is_allowed and "may" or "may not"
        it(("%q %s read responses when %s is configured"):format(origin, word, table.concat(origins, ", ")), function()
            local gw = gateway { origins = origins, credentials = true }
            local res = get(gw, origin)
            assert.equal(200, res.status)
            assert.same(is_allowed and { origin } or {}, res.headers:all "access-control-allow-origin")
            assert.same(is_allowed and { "true" } or {}, res.headers:all "access-control-allow-credentials")
            assert.is_true(vary(res).origin)
            res = preflight(gw, origin)
            assert.equal(is_allowed and 204 or 403, res.status)
            assert.equal(is_allowed and origin or nil, res.headers["access-control-allow-origin"])
            assert.is_true(vary(res).origin)
            assert.equal(1, #gw.upstreams.api.requests)
        end)
    end
end)

describe("cors: every origin", function()
    it("is answered with an asterisk, which needs no Vary", function()
        local gw = gateway { origins = { "*" } }
        for _, origin in ipairs { APP, "null", false } do
            local res = get(gw, origin or nil)
            assert.same({ "*" }, res.headers:all "access-control-allow-origin")
            assert.is_nil(res.headers["access-control-allow-credentials"])
            assert.is_nil(res.headers["vary"])
        end
        assert.equal("*", preflight(gw, APP).headers["access-control-allow-origin"])
    end)
end)

describe("cors: a response", function()
    it("varies by origin though the request has none, for the caches", function()
        local res = get(gateway { origins = { APP } }, nil)
        assert.is_nil(res.headers["access-control-allow-origin"])
        assert.is_true(vary(res).origin)
    end)

    it("keeps what the upstream says it varies by", function()
        local gw = gateway({ origins = { APP } }, { upstreams = { api = function()
            return test.reply(200, "", { vary = "accept-encoding" })
        end } })
        assert.same({ ["accept-encoding"] = true, origin = true }, vary(get(gw, APP)))
    end)

    it("says nothing of its own about origins that are not allowed", function()
        local gw = gateway({ origins = { APP } }, { upstreams = { api = function()
            return test.reply(200, "", {
                ["access-control-allow-origin"] = "*", ["access-control-allow-credentials"] = "true",
            })
        end } })
        for _, origin in ipairs { "https://evil.example", false } do
            local res = get(gw, origin or nil)
            assert.is_nil(res.headers["access-control-allow-origin"])
            assert.is_nil(res.headers["access-control-allow-credentials"])
        end
        assert.same({ APP }, get(gw, APP).headers:all "access-control-allow-origin")
    end)

    it("names the headers that scripts may read, to those who may", function()
        local gw = gateway { origins = { APP }, expose = { "x-total", "link" } }
        assert.equal("x-total, link", get(gw, APP).headers["access-control-expose-headers"])
        assert.is_nil(get(gw, "https://evil.example").headers["access-control-expose-headers"])
    end)

    it("says so when it is an error of the upstream or of a policy behind", function()
        local gw = gateway({ origins = { APP } }, { upstreams = { api = test.fail.refuse } })
        local res = get(gw, APP)
        assert.equal(503, res.status)
        assert.equal(APP, res.headers["access-control-allow-origin"])
        gw = test.gateway { policies = { { "cors", origins = { APP } }, { "key_auth", keys = { k = "ada" } } } }
        res = get(gw, APP)
        assert.equal(401, res.status)
        assert.equal(APP, res.headers["access-control-allow-origin"])
    end)
end)

describe("cors: a preflight", function()
    it("is answered with what is allowed, and never sent on", function()
        local gw = gateway {
            origins = { APP }, methods = { "GET", "PUT" }, headers = { "content-type", "x-a" }, credentials = true,
            max_age = "1h",
        }
        local res = preflight(gw, APP, "PUT", "content-type")
        assert.equal(204, res.status)
        assert.equal("", res.body or "")
        assert.equal(APP, res.headers["access-control-allow-origin"])
        assert.equal("GET, PUT", res.headers["access-control-allow-methods"])
        assert.equal("content-type, x-a", res.headers["access-control-allow-headers"])
        assert.equal("true", res.headers["access-control-allow-credentials"])
        assert.equal("3600", res.headers["access-control-max-age"])
        assert.same({
            origin = true, ["access-control-request-method"] = true, ["access-control-request-headers"] = true,
        }, vary(res))
        assert.equal(0, #gw.upstreams.api.requests)
    end)

    it("has sensible defaults", function()
        local res = preflight(gateway { origins = { APP } }, APP, "DELETE", "x-one, x-two")
        assert.equal("GET, HEAD, PUT, PATCH, POST, DELETE", res.headers["access-control-allow-methods"])
        assert.equal("x-one, x-two", res.headers["access-control-allow-headers"])
        assert.equal("600", res.headers["access-control-max-age"])
        assert.is_nil(res.headers["access-control-allow-credentials"])
    end)

    it("is remembered for whole seconds", function()
        local res = preflight(gateway { origins = { APP }, max_age = "1500ms" }, APP)
        assert.equal("1", res.headers["access-control-max-age"])
    end)

    it("allows no header when none is asked for", function()
        assert.is_nil(preflight(gateway { origins = { APP } }, APP).headers["access-control-allow-headers"])
    end)

    it("of an origin that is not allowed is refused", function()
        local gw = gateway { origins = { APP } }
        local res = preflight(gw, "https://evil.example")
        assert.response(res).is.problem(403)
        assert.is_nil(res.headers["access-control-allow-methods"])
        assert.equal(0, #gw.upstreams.api.requests)
    end)

    it("comes before authentication, for it carries no credentials", function()
        local gw = test.gateway { policies = { { "cors", origins = { APP } }, { "key_auth", keys = { k = "ada" } } } }
        assert.equal(204, preflight(gw, APP).status)
    end)

    for what, request in pairs {
        ["OPTIONS without Access-Control-Request-Method"] = { "OPTIONS", { origin = APP } },
        ["OPTIONS without Origin"] = { "OPTIONS", { ["access-control-request-method"] = "PUT" } },
        ["GET, whatever its headers"] = { "GET", { origin = APP, ["access-control-request-method"] = "PUT" } },
    } do
        it("is not " .. what, function()
            local gw = gateway { origins = { APP } }
            assert.equal(200, gw:request({ method = request[1], path = "/", headers = request[2] }).status)
            assert.equal(1, #gw.upstreams.api.requests)
        end)
    end
end)

describe("cors", function()
    for what, settings in pairs {
        ["without origins"] = {}, ["with no origin"] = { origins = {} }, ["with a bare origin"] = { origins = APP },
        ["with credentials for every origin"] = { origins = { "*" }, credentials = true },
        ["with credentials and every header"] = { origins = { APP }, headers = { "*" }, credentials = true },
        ["with credentials and every method"] = { origins = { APP }, methods = { "*" }, credentials = true },
        ["with credentials and every header exposed"] = { origins = { APP }, expose = { "*" }, credentials = true },
        ["with every origin and one more"] = { origins = { "*", APP } },
        ["with a path in an origin"] = { origins = { APP .. "/" } },
        ["with a host for an origin"] = { origins = { "app.example" } },
        ["with the origin null"] = { origins = { "null" } },
        ["with upper case in an origin"] = { origins = { "https://App.example" } },
        ["with an asterisk within a label"] = { origins = { "https://a*.example" } },
        ["with an asterisk for a host"] = { origins = { "https://*" } },
        ["with two asterisks"] = { origins = { "https://*.*.example" } },
        ["with a header that is no name"] = { origins = { APP }, headers = { "a b" } },
        ["with a method that is no name"] = { origins = { APP }, methods = { "GET, PUT" } },
        ["with an age that is a number"] = { origins = { APP }, max_age = 600 },
    } do
        it("is refused " .. what, function()
            settings[1] = "cors"
            assert.equal(1, #test.errors { policies = { settings } })
        end)
    end
end)
