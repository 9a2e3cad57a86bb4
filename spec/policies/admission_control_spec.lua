-- SPDX-License-Identifier: MIT

local perigee = require "perigee"
local test = require "perigee.test"

-- A gateway before a service of which `service.status` is the answer, or "refuse" or "hang".
local function gateway(settings, service)
    settings[1] = "admission_control"
    return test.gateway {
        policies = { settings },
        upstreams = { api = function(req)
            local give = service.give
            return give and give(req) or test.reply(service.status or 200, "ok")
        end },
    }
end

-- How many of so many requests were refused here.
local function refused(gw, count, options)
    local before = #gw.upstreams.api.requests
    for _ = 1, count do
        gw:get("/", options)
    end
    return count - (#gw.upstreams.api.requests - before)
end

-- With which probability one more request is to be refused.
local function chance(gw)
    gw:get "/"
    return gw:metrics()['admission_control_rejection_probability{use="#1",worker="0"}']
end

describe("admission_control", function()
    before_each(function()
        math.randomseed(7)
    end)

    it("lets all through while they succeed", function()
        local gw = gateway({}, { status = 404 })
        assert.equal(0, refused(gw, 200))
        assert.equal(0, chance(gw))
    end)

    it("refuses most when all fail, and lets some through all the same", function()
        local gw = gateway({}, { status = 503 })
        local count = refused(gw, 400)
        assert.is_true(count > 270 and count < 330, count .. "")
        assert.equal(count, gw:metrics()['admission_control_refused_total{use="#1"}'])
        assert.equal(0.8, chance(gw))
    end)

    it("answers with a problem document and says when to come back", function()
        local gw = gateway({}, { status = 500 })
        refused(gw, 20)
        local res
        repeat res = gw:get "/" until res.status == 503
        assert.response(res).is.problem(503)
        local entries = gw:access_log()
        assert.equal("UO", entries[#entries].flags)
        assert.equal("urn:perigee:admission_refused", res:json().type)
        assert.equal("1", res.headers["retry-after"])
    end)

    it("refuses in proportion to what fails", function()
        local count = 0
        local gw = gateway({}, { give = function()
            count = count + 1
            return test.reply(count % 2 == 0 and 200 or 500, "half")
        end })
        local share = refused(gw, 1000) / 1000
        assert.near(1 - 0.5 / 0.95, share, 0.05)
    end)

    it("computes the probability as it says", function()
        local service = { status = 200 }
        local gw = gateway({ threshold = 50 }, service)
        refused(gw, 4)
        service.status = 500
        refused(gw, 5)
        assert.near((9 - 4 / 0.5) / 10, chance(gw), 1e-9)
    end)

    it("lets all through again when the failures have left the window", function()
        local service = { status = 500 }
        local gw = gateway({ window = "10s" }, service)
        refused(gw, 100)
        service.status = 200
        gw:advance(10)
        assert.equal(0, refused(gw, 100))
    end)

    it("comes back while requests succeed that are let through", function()
        local service = { status = 500 }
        local gw = gateway({}, service)
        refused(gw, 100)
        service.status = 200
        assert.is_true(refused(gw, 1000) < 400)
        assert.is_true(refused(gw, 100) < 10)
    end)

    it("sees what comes to nothing: nobody there, silence, a broken connection", function()
        for _, failure in ipairs { test.fail.refuse, test.fail.reset } do
            local gw = test.gateway {
                policies = { "admission_control" }, upstreams = { api = { endpoints = { failure } } },
            }
            gw:get "/"
            assert.equal(0.5, chance(gw)) -- 1 / (1 + 1)
        end
        local gw = test.gateway { policies = { "admission_control" }, upstreams = { api = {
            endpoints = { test.fail.hang }, timeouts = { request = "1s" },
        } } }
        gw:get "/"
        assert.equal(0.5, chance(gw))
    end)

    it("does not count clients that left before an answer", function()
        local gw = gateway({}, { give = function() perigee.sleep(5) return test.reply(500, "late") end })
        local pending = gw:send { path = "/" }
        gw:advance(1)
        pending:abort()
        gw:advance(10)
        assert.equal(0, chance(gw))
        assert.equal(0.5, chance(gw))
    end)

    it("takes the statuses for failures that are wanted, and no others", function()
        local service = { status = 429 }
        local gw = gateway({ failures = { 429, 503 } }, service)
        assert.is_true(refused(gw, 100) > 40)
        gw:advance(60)
        service.status = 500
        assert.equal(0, refused(gw, 100))
    end)

    it("refuses nothing below the least rate", function()
        local gw = gateway({ min_rate = 10, window = "10s" }, { status = 500 })
        assert.equal(0, refused(gw, 100))
        assert.is_true(refused(gw, 100) > 40)
    end)

    describe("for gRPC", function()
        local function call(gw, count)
            for _ = 1, count do
                gw:post("/pkg.Service/Method", {
                    headers = { ["content-type"] = "application/grpc", te = "trailers" }, body = "\0\0\0\0\0",
                })
            end
        end

        local function answering(status, is_trailers_only)
            return { give = function()
                local headers = { ["content-type"] = "application/grpc" }
                if is_trailers_only then
                    headers["grpc-status"] = status
                    return test.reply(200, "", headers)
                end
                return test.reply(200, "data", headers, { ["grpc-status"] = status })
            end }
        end

        for _, is_trailers_only in ipairs { false, true } do
            it("looks at the status " .. (is_trailers_only and "in the head" or "in the trailers"), function()
                local gw = gateway({}, answering("14", is_trailers_only))
                call(gw, 1)
                assert.equal(0.5, chance(gw))
            end)
        end

        it("takes for failures what fewer requests could help against", function()
            for code = 0, 16 do
                local gw = gateway({}, answering(code .. ""))
                call(gw, 1)
                local is_failure = code == 4 or code == 8 or code == 10 or code >= 13 and code <= 15
                assert.equal(is_failure and 0.5 or 0, chance(gw), "grpc-status " .. code)
                gw:close()
            end
        end)

        it("does not count a call of which nobody said how it went", function()
            local silent = true
            local gw = gateway({}, { give = function()
                local headers = { ["content-type"] = "application/grpc" }
                return test.reply(200, "data", headers, not silent and { ["grpc-status"] = "14" } or nil)
            end })
            call(gw, 1)
            silent = false
            call(gw, 1)
            assert.equal(0.5, chance(gw))
        end)

        it("counts what the proxy itself answers a call with", function()
            local gw = test.gateway {
                policies = { "admission_control" }, upstreams = { api = { endpoints = { test.fail.refuse } } },
            }
            call(gw, 1)
            assert.equal(0.5, chance(gw))
        end)
    end)

    it("goes on through a reload with what it saw", function()
        local gw = gateway({}, { status = 500 })
        refused(gw, 200)
        assert.is_true(gw:reload {
            policies = { { "admission_control", max_rejection = 90 } },
            upstreams = { api = function() return "good" end },
        })
        assert.equal(0.9, chance(gw))
    end)

    it("looks at each use for itself", function()
        local gw = test.gateway {
            upstreams = { bad = function() return test.reply(500, "bad") end, good = function() return "good" end },
            routes = {
                { name = "a", match = { path = "/a" }, upstream = "bad", policies = { "admission_control" } },
                { name = "b", match = { path = "/b" }, upstream = "good", policies = { "admission_control" } },
            },
        }
        for _ = 1, 100 do
            gw:get "/a"
            assert.response(gw:get "/b").has.status(200)
        end
        assert.is_true(#gw.upstreams.bad.requests < 60)
    end)

    it("refuses nobody in a dry run", function()
        local gw = gateway({ dry_run = true, max_rejection = 99 }, { status = 500 })
        assert.equal(0, refused(gw, 50))
        local sent = chance(gw) / (1 - chance(gw)) -- all of them failed
        assert.is_true(sent < 25, "those that would have been refused count: " .. sent)
    end)

    for what, settings in pairs {
        ["with a threshold of 0"] = { threshold = 0 }, ["with a threshold above all"] = { threshold = 101 },
        ["with too little aggression"] = { aggression = 0.5 }, ["when all may be refused"] = { max_rejection = 100 },
        ["with a window of a moment"] = { window = "10ms" }, ["with a negative rate"] = { min_rate = -1 },
        ["with a failure that is none"] = { failures = { 200 } },
    } do
        it("is refused " .. what, function()
            settings[1] = "admission_control"
            assert.equal(1, #test.errors { policies = { settings } })
        end)
    end
end)
