-- SPDX-License-Identifier: MIT

local test = require "perigee.test"

local function gateway(settings)
    settings[1] = "ip_restriction"
    return test.gateway {
        listeners = { { address = "127.0.0.1:8080", trusted_hops = 1 } },
        policies = { settings },
    }
end

local function get(gw, ip)
    return gw:get("/", { headers = { ["x-forwarded-for"] = ip } })
end

describe("ip_restriction", function()
    local INNER = { allow = { "10.0.0.0/8", "192.0.2.7", "2001:db8::/32", "::1" } }
    local NO_NET = { deny = { "203.0.113.0/24", "2001:db8:bad::/48" } }
    local BOTH = {
        allow = { "10.0.0.0/8", "2001:db8::/32" }, deny = { "10.6.6.0/24", "10.1.1.1", "2001:db8:bad::/48" },
    }
    local cases = {
        { INNER, "10.1.2.3", 200 }, { INNER, "10.255.255.255", 200 }, { INNER, "11.0.0.0", 403 },
        { INNER, "9.255.255.255", 403 },
        { INNER, "192.0.2.7", 200 }, { INNER, "192.0.2.8", 403 }, { INNER, "2001:db8:1::2", 200 },
        { INNER, "2001:DB8:0:0::1", 200 }, { INNER, "2001:db9::1", 403 }, { INNER, "::1", 200 }, { INNER, "::2", 403 },
        { INNER, "::ffff:10.1.2.3", 200 }, { INNER, "::ffff:11.1.2.3", 403 },
        { NO_NET, "203.0.113.9", 403 }, { NO_NET, "203.0.114.9", 200 }, { NO_NET, "::ffff:203.0.113.9", 403 },
        { NO_NET, "2001:db8:bad::1", 403 }, { NO_NET, "2001:db8:bae::1", 200 }, { NO_NET, "::1", 200 },
        { BOTH, "10.1.2.3", 200 }, { BOTH, "10.6.6.6", 403 }, { BOTH, "10.1.1.1", 403 }, { BOTH, "10.1.1.2", 200 },
        { BOTH, "192.0.2.1", 403 }, { BOTH, "2001:db8::1", 200 }, { BOTH, "2001:db8:bad::1", 403 },
        { { allow = { "0.0.0.0/0" } }, "198.51.100.1", 200 }, { { allow = { "0.0.0.0/0" } }, "::1", 403 },
        { { deny = { "0.0.0.0/0", "::/0" } }, "198.51.100.1", 403 }, { { deny = { "0.0.0.0/0", "::/0" } }, "::1", 403 },
        -- what looks like an address and is none is nobody's
        { NO_NET, "1.2.3.4.5", 403 }, { NO_NET, "abc", 403 }, { NO_NET, "203.0.113.09", 403 }, { INNER, "10.1", 403 },
    }
    for _, case in ipairs(cases) do
        local settings, ip, status = unpack(case)
        local allow, deny = settings.allow and settings.allow[1] or "-", settings.deny and settings.deny[1] or "-"
        it(("answers %d to %s with allow %s … and deny %s …"):format(status, ip, allow, deny), function()
            local gw = gateway { allow = settings.allow, deny = settings.deny }
            local res = get(gw, ip)
            assert.response(res).has.status(status)
            assert.equal(status == 200 and 1 or 0, #gw.upstreams.api.requests)
            if status == 403 then
                assert.response(res).is.problem(403)
            end
        end)
    end

    it("believes no header that no trusted hop wrote", function()
        local gw = test.gateway { policies = { { "ip_restriction", allow = { "10.0.0.0/8" } } } }
        assert.response(get(gw, "10.1.2.3")).has.status(403)
    end)

    it("looks at the connection where no hop is trusted", function()
        local gw = test.gateway { policies = { { "ip_restriction", allow = { "10.0.0.0/8" } } } }
        assert.response(gw:get("/", { client = "10.1.2.3" })).has.status(200)
        assert.response(gw:get("/", { client = "192.0.2.1" })).has.status(403)
    end)

    it("refuses what has no address, whatever is configured", function()
        for _, settings in ipairs { { allow = { "0.0.0.0/0", "::/0" } }, { deny = { "10.0.0.0/8" } } } do
            settings[1] = "ip_restriction"
            local gw = test.gateway { policies = { settings } }
            assert.response(gw:get("/", { client = "unix" })).has.status(403)
        end
    end)

    it("looks at what the last hop says, not at what the client put before", function()
        local gw = gateway { allow = { "10.0.0.0/8" } }
        assert.response(get(gw, "10.1.2.3, 203.0.113.9")).has.status(403)
        assert.response(get(gw, "203.0.113.9, 10.1.2.3")).has.status(200)
    end)

    it("does not name networks in its answer", function()
        local res = get(gateway { allow = { "10.77.0.0/16" } }, "192.0.2.1")
        assert.is_nil(res.body:find("10.77", 1, true))
    end)

    for what, settings in pairs {
        ["without a list"] = {}, ["with an empty list"] = { allow = {} }, ["with a name"] = { allow = { "localhost" } },
        ["with a network that is too long"] = { deny = { "10.0.0.0/33" } },
        ["with a bare string"] = { allow = "10.0.0.0/8" },
        ["with an address and a port"] = { allow = { "10.0.0.1:80" } }, ["with a number"] = { allow = { 10 } },
        ["with one wrong entry among good ones"] = { allow = { "10.0.0.0/8", "::1", "10.0.0" } },
    } do
        it("is refused " .. what, function()
            settings[1] = "ip_restriction"
            assert.equal(1, #test.errors { policies = { settings } })
        end)
    end

    it("is refused with the entry that is wrong", function()
        local errors = test.errors { policies = { { "ip_restriction", allow = { "10.0.0.0/8", "10.0.0" } } } }
        assert.matches("allow", errors[1].path)
        assert.matches("entry 2", errors[1].message)
    end)
end)
