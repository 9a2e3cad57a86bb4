-- SPDX-License-Identifier: MIT

local perigee = require "perigee"
local test = require "perigee.test"

-- A gateway whose requests go to `api`, and copies to `shadow`.
local function gateway(settings, shadow, more)
    settings = settings or {}
    settings[1], settings.upstream = "mirror", settings.upstream or "shadow"
    local policies = more or {}
    table.insert(policies, settings)
    return test.gateway {
        policies = policies,
        upstreams = {
            api = function(req) return "api " .. req.body end,
            shadow = shadow or function() return "shadow" end,
        },
        routes = { { name = "test", match = { path = "/*" }, upstream = "api" } },
    }
end

local function answer()
    return "ok"
end

local function copies(gw)
    gw:advance(0)
    return gw.upstreams.shadow.requests
end

local function count(gw, result)
    return gw:metrics()[('mirror_copies_total{route="test",result="%s"}'):format(result)] or 0
end

describe("mirror", function()
    it("sends a copy and answers with the original", function()
        local gw = gateway()
        assert.response(gw:get "/a%20b?x=1&y=%2F").has.body("api ")
        local copy = copies(gw)[1]
        assert.equal("GET /a%20b?x=1&y=%2F", copy.method .. " " .. copy.target)
        assert.equal(1, #copies(gw))
        assert.equal(1, count(gw, "sent"))
    end)

    it("copies body and headers", function()
        local gw = gateway()
        gw:post("/", { body = "text", headers = {
            ["x-a"] = { "1", "2" }, cookie = { "a=1", "b=2" }, ["content-type"] = "text/x-mine",
            host = "shop.example:81",
        } })
        local copy = copies(gw)[1]
        assert.equal("POST text", copy.method .. " " .. copy.body)
        assert.equal("1, 2", copy.headers["x-a"])
        assert.equal("a=1; b=2", copy.headers["cookie"])
        assert.equal("text/x-mine", copy.headers["content-type"])
        assert.equal("shop.example:81", copy.headers["host"])
    end)

    it("sends nothing and waits for no body in a dry run, and counts", function()
        local gw = gateway { dry_run = true }
        local request = gw:send { method = "POST", path = "/", chunks = { "a", 5, "b" } }
        gw:advance(1)
        assert.equal(1, count(gw, "skipped")) -- the second half of the body is still to come
        assert.response(request:wait()).has.body("api ab")
        assert.equal(0, #copies(gw))
    end)

    it("marks copies, and only them", function()
        local gw = gateway { header = "X-Shadow" }
        gw:get("/", { headers = { ["x-shadow"] = "forged" } })
        assert.same({ "1" }, copies(gw)[1].headers:all "x-shadow")
        gw:get "/"
        assert.is_nil(gw.upstreams.api.requests[2].headers["x-shadow"])
    end)

    it("leaves out the headers that it is told to", function()
        local gw = gateway { remove = { "Authorization", "cookie" } }
        gw:get("/", { headers = { authorization = "Bearer x", cookie = "a=1", ["x-a"] = "1" } })
        local headers = copies(gw)[1].headers
        assert.is_nil(headers["authorization"] or headers["cookie"])
        assert.equal("1", headers["x-a"])
        assert.equal("Bearer x", gw.upstreams.api.requests[1].headers["authorization"])
    end)

    it("leaves out what belongs to the connection", function()
        local gw = gateway()
        gw:post("/", { chunks = { "a", "b" }, headers = {
            te = "trailers", ["keep-alive"] = "timeout=5", ["proxy-connection"] = "keep-alive", ["x-a"] = "1",
        } })
        local headers = copies(gw)[1].headers
        assert.equal("1", headers["x-a"])
        assert.equal("2", headers["content-length"])
        for _, name in ipairs { "te", "keep-alive", "proxy-connection", "transfer-encoding", "expect", "trailer" } do
            assert.is_nil(headers[name], name)
        end
    end)

    it("copies small shares too", function()
        local gw = gateway { percent = 1 }
        math.randomseed(21)
        for _ = 1, 500 do
            gw:get "/"
        end
        local got = #copies(gw)
        assert.is_true(got >= 1 and got <= 15, got .. " of 500")
    end)

    it("copies a share", function()
        local gw, expected = gateway { percent = 30 }, 0
        math.randomseed(21)
        for _ = 1, 100 do
            expected = expected + (math.random() * 100 < 30 and 1 or 0)
        end
        math.randomseed(21)
        for _ = 1, 100 do
            gw:get "/"
        end
        assert.equal(expected, #copies(gw))
    end)

    it("copies nothing at 0 percent", function()
        local gw = gateway { percent = 0 }
        for _ = 1, 50 do
            gw:get "/"
        end
        assert.equal(0, #copies(gw))
    end)

    describe("leaves the original alone when the mirror", function()
        for what, shadow in pairs {
            ["fails"] = function() return test.reply(500) end,
            ["breaks off"] = test.fail.reset, ["refuses connections"] = test.fail.refuse,
            ["cannot be reached"] = test.fail.timeout, ["never answers"] = test.fail.hang,
            ["is slow"] = function() perigee.sleep(60) return "late" end,
            ["answers without end"] = function()
                local parts = {}
                for i = 1, 40 do
                    parts[i] = ("x"):rep(65536)
                end
                return test.stream(parts)
            end,
        } do
            it(what, function()
                local gw = gateway({ timeout = "2s" }, shadow)
                local began = gw:now()
                for _ = 1, 3 do
                    assert.response(gw:post("/", { body = "x" })).has.body("api x")
                end
                assert.near(0, gw:now() - began, 0.01)
                gw:advance(120)
                assert.equal(3, count(gw, "sent") + count(gw, "failed"))
                assert.equal(what == "fails" and 3 or 0, count(gw, "sent"))
            end)
        end
    end)

    it("has only so many copies under way", function()
        local gw = gateway({ max_active = 2, timeout = "5s" }, test.fail.hang)
        for _ = 1, 5 do
            assert.response(gw:get "/").has.status(200)
            gw:advance(0)
        end
        assert.equal(3, count(gw, "dropped"))
        gw:advance(6)
        assert.equal(2, count(gw, "failed"))
        for _ = 1, 3 do
            gw:get "/"
            gw:advance(0)
        end
        assert.equal(4, count(gw, "dropped"))
        gw:advance(6)
        assert.equal(4, count(gw, "failed"))
    end)

    it("copies no body beyond the limit, which passes all the same", function()
        local gw = gateway { max_body = "1k" }
        for _, body in ipairs { ("x"):rep(1024), ("x"):rep(1025), ("x"):rep(200000) } do
            assert.response(gw:post("/", { body = body })).has.body("api " .. body)
        end
        local long = { ("x"):rep(1000), 1, ("y"):rep(1000) }
        assert.response(gw:post("/", { chunks = long })).has.body("api " .. long[1] .. long[3])
        assert.response(gw:post("/", { chunks = { "a", 1, "b" } })).has.body("api ab")
        local got = copies(gw)
        assert.equal(2, #got)
        assert.equal("ab", got[2].body)
        assert.equal(3, count(gw, "dropped"))
    end)

    it("does not wait for the body of a gRPC stream", function()
        local gw = gateway()
        gw:post("/", { body = "x", headers = { ["content-type"] = "application/grpc+proto" } })
        assert.equal(0, #copies(gw))
    end)

    it("copies nothing that a policy before it refused", function()
        local gw = gateway({}, nil, { { "key_auth", keys = { k = "ada" } } })
        assert.response(gw:get "/").has.status(401)
        assert.equal(0, #copies(gw))
    end)

    it("copies what a client sent that left at once", function()
        local gw = gateway()
        gw:send({ path = "/" }):abort()
        assert.is_true(#copies(gw) <= 1)
    end)

    it("is refused with an upstream that there is none of, and says which one", function()
        local errors = test.errors {
            upstreams = { api = answer, shadow = answer }, policies = { { "mirror", upstream = "shadows" } },
        }
        assert.equal(1, #errors)
        assert.equal("policies[1].upstream", errors[1].path)
        assert.equal("there is no upstream 'shadows'; did you mean 'shadow'?", errors[1].message)
    end)

    for what, settings in pairs {
        ["without an upstream"] = {}, ["to a URL"] = { upstream = "http://a/b" },
        ["to an upstream whose name no URL can hold"] = { upstream = "a/b" },
        ["with more than all"] = { upstream = "a", percent = 101 },
        ["with a header that is no name"] = { upstream = "a", header = "a b" },
        ["with a large body"] = { upstream = "a", max_body = "2m" },
        ["without a limit"] = { upstream = "a", max_active = 0 },
    } do
        it("is refused " .. what, function()
            settings[1] = "mirror"
            assert.equal(1, #test.errors { policies = { settings }, upstreams = { a = answer, ["a/b"] = answer } })
        end)
    end
end)
