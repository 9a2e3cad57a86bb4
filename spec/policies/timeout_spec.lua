-- SPDX-License-Identifier: MIT

local test = require "perigee.test"

local function gateway(settings, answer, upstream)
    settings[1] = "timeout"
    upstream = upstream or {}
    upstream.endpoints = { answer or test.fail.hang }
    return test.gateway { policies = { settings }, upstreams = { api = upstream } }
end

local function span(gw, headers)
    local before = gw:now()
    local res = gw:get("/", { headers = headers })
    return gw:now() - before, res
end

describe("timeout", function()
    it("limits how long the answer is waited for", function()
        local took, res = span(gateway { request = "2s" })
        assert.near(2, took, 0.01)
        assert.response(res).is.problem(504)
        assert.equal("urn:perigee:upstream_timeout", res:json().type)
    end)

    it("may allow more than the upstream", function()
        local took = span(gateway({ request = "20s" }, nil, { timeouts = { request = "1s" } }))
        assert.near(20, took, 0.01)
    end)

    it("leaves requests alone that it is not for", function()
        local gw = gateway({ request = "2s", when = { path = "/other" } }, nil, { timeouts = { request = "5s" } })
        assert.near(5, span(gw), 0.01)
    end)

    it("limits each attempt", function()
        local gw = gateway({ per_try = "1s" }, nil, { retries = { attempts = 2, backoff = { base = "0s" } } })
        assert.near(3, span(gw), 0.01)
        assert.equal(3, #gw.upstreams.api.requests)
    end)

    it("limits the only attempt where there are no retries", function()
        assert.near(1, span(gateway { per_try = "1s", request = "3s" }), 0.01)
    end)

    it("limits the time without a byte of the response", function()
        local gw = gateway({ idle = "3s" }, function()
            return test.stream { "ab", 10, "c" }
        end)
        local before = gw:now()
        assert.error_matches(function() gw:get "/" end, "before the response was complete")
        assert.near(3, gw:now() - before, 0.01)
    end)

    it("limits the whole exchange", function()
        local took, res = span(gateway { stream = "4s", request = "0s" })
        assert.near(4, took, 0.01)
        assert.equal("urn:perigee:duration_exceeded", res:json().type)
    end)

    describe("with a deadline", function()
        local HEADER = "x-wait"

        it("ends when the client waits no longer", function()
            local took, res = span(gateway { deadline = HEADER }, { [HEADER] = "1500" })
            assert.near(1.5, took, 0.01)
            assert.equal("urn:perigee:deadline_exceeded", res:json().type)
        end)

        it("is reckoned from the beginning of the request, whatever has passed since", function()
            local gw = test.gateway {
                policies = { { "fault", delay = { time = "1s" } }, { "timeout", deadline = HEADER } },
                upstreams = { api = test.fail.hang },
            }
            assert.near(3, span(gw, { [HEADER] = "3000" }), 0.01)
        end)

        it("may be a millisecond, or a number of ten digits", function()
            assert.near(0.001, span(gateway { deadline = HEADER }, { [HEADER] = "1" }), 0.002)
            assert.near(1.5, span(gateway { deadline = HEADER }, { [HEADER] = "0000001500" }), 0.01)
        end)

        it("is never longer than the other timeouts", function()
            local took, res = span(gateway { deadline = HEADER, request = "2s" }, { [HEADER] = "9000" })
            assert.near(2, took, 0.01)
            assert.equal("urn:perigee:upstream_timeout", res:json().type)
        end)

        for what, value in pairs {
            ["nothing"] = false, ["zero"] = "0", ["a word"] = "soon", ["a negative number"] = "-5",
            ["a fraction"] = "1.5", ["a number of eleven digits"] = "00000000001",
        } do
            it("is not there when the client says " .. what, function()
                local took = span(gateway { deadline = HEADER, request = "2s" }, { [HEADER] = value or nil })
                assert.near(2, took, 0.01)
            end)
        end
    end)

    it("changes nothing in a dry run", function()
        assert.near(15, span(gateway { request = "2s", dry_run = true }), 0.01)
    end)

    it("is refused without a limit, or with a malformed header", function()
        assert.equal(1, #test.errors { policies = { "timeout" } })
        assert.equal(1, #test.errors { policies = { { "timeout", deadline = "x y" } } })
    end)
end)
