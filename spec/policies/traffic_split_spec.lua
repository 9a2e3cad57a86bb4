-- SPDX-License-Identifier: MIT

local perigee = require "perigee"
local test = require "perigee.test"

local function named(name)
    return function() return name end
end

local function gateway(settings, others, config)
    settings[1] = "traffic_split"
    config = config or {}
    config.policies = others or {}
    table.insert(config.policies, settings)
    config.upstreams = { a = named "a", b = named "b", c = named "c" }
    config.routes = { { name = "test", match = { path = "/*" }, upstream = "a" } }
    return test.gateway(config)
end

-- How many of `count` requests each upstream got; the request number i has the headers headers_of(i).
local function shares(gw, count, headers_of)
    local got = { a = 0, b = 0, c = 0 }
    for i = 1, count do
        local name = gw:get("/", { headers = headers_of and headers_of(i) }).body
        got[name] = got[name] + 1
    end
    return got
end

local function user(i)
    return { ["x-user"] = "user-" .. i }
end

describe("traffic_split", function()
    it("splits by weight", function()
        math.randomseed(5)
        local got = shares(gateway { upstreams = { { "a", weight = 3 }, { "b", weight = 1 } } }, 400)
        assert.is_true(got.b > 75 and got.b < 125, "b got " .. got.b)
        assert.equal(400, got.a + got.b)
    end)

    it("takes bare names for equal shares", function()
        math.randomseed(5)
        local got = shares(gateway { upstreams = { "a", "b", "c" } }, 300)
        for name, count in pairs(got) do
            assert.is_true(count > 75 and count < 125, name .. " got " .. count)
        end
    end)

    it("sends nothing where the weight is 0", function()
        local parts = { { "a", weight = 0 }, { "b", weight = 1 }, { "c", weight = 0 } }
        assert.same({ a = 0, b = 100, c = 0 }, shares(gateway { upstreams = parts }, 100))
        assert.same({ a = 0, b = 100, c = 0 }, shares(gateway { upstreams = parts, by = "header:x-user" }, 100, user))
    end)

    it("splits keys by weight too", function()
        local got = shares(gateway { upstreams = { { "a", weight = 9 }, "b" }, by = "header:x-user" }, 500, user)
        assert.is_true(got.b > 30 and got.b < 70, "b got " .. got.b)
    end)

    it("puts a key where its hash says, as any other proxy would", function()
        for i = 1, 20 do
            local hex = perigee.crypto.to_hex(perigee.crypto.hash("sha256", "user-" .. i))
            local place = math.floor(tonumber(hex:sub(1, 8), 16) / 2 ^ 32 * 1e6)
            for bound, name in pairs { [place] = "b", [place + 1] = "a" } do
                local parts = { { "a", weight = bound }, { "b", weight = 1e6 - bound } }
                local gw = gateway { upstreams = parts, by = "header:x-user" }
                assert.equal(name, gw:get("/", { headers = user(i) }).body)
                gw:close()
            end
        end
    end)

    it("keeps a key where it is, for every request, in every proxy, and after a reload", function()
        local settings = { upstreams = { "a", "b", "c" }, by = "header:X-User" }
        local gw, other = gateway(settings), gateway(settings)
        local first = {}
        for i = 1, 30 do
            first[i] = gw:get("/", { headers = user(i) }).body
            assert.equal(first[i], other:get("/", { headers = user(i) }).body)
        end
        assert.is_true(gw:reload {
            policies = { settings }, upstreams = { a = named "a", b = named "b", c = named "c" },
        })
        for i = 1, 30 do
            assert.equal(first[i], gw:get("/", { headers = user(i) }).body)
        end
    end)

    it("only moves users to a canary that grows, never back", function()
        local before
        for _, weight in ipairs { 1, 5, 20, 50, 100 } do
            local parts = { { "a", weight = 100 - weight }, { "b", weight = weight } }
            local gw, now = gateway { upstreams = parts, by = "header:x-user" }, {}
            for i = 1, 100 do
                now[i] = gw:get("/", { headers = user(i) }).body
                assert.is_false(before ~= nil and before[i] == "b" and now[i] == "a", "user " .. i .. " went back")
            end
            before = now
        end
        assert.equal("b", before[1])
    end)

    it("keeps clients, cookies and consumers together", function()
        local ways = {
            client = function(i) return { client = "192.0.2." .. i } end,
            ["cookie:session"] = function(i) return { headers = { cookie = "a=1; session=s" .. i } } end,
            consumer = function(i) return { headers = { ["x-api-key"] = "key" .. i } } end,
        }
        local keys = {}
        for i = 1, 40 do
            keys["key" .. i] = "consumer-" .. i
        end
        for by, options in pairs(ways) do
            local others = by == "consumer" and { { "key_auth", keys = keys } } or nil
            local gw = gateway({ upstreams = { "a", "b" }, by = by }, others)
            local seen = {}
            for i = 1, 40 do
                local name = gw:get("/", options(i)).body
                assert.equal(name, gw:get("/", options(i)).body, by)
                seen[name] = true
            end
            assert.same({ a = true, b = true }, seen, by)
        end
    end)

    it("splits at random who has no key", function()
        for _, headers in ipairs { {}, { ["x-user"] = "" } } do
            math.randomseed(5)
            local gw = gateway { upstreams = { "a", "b" }, by = "header:x-user" }
            local got = shares(gw, 100, function() return headers end)
            assert.is_true(got.a > 25 and got.b > 25)
        end
    end)

    it("lets a request name its upstream, when it may", function()
        local function choose(name)
            return { headers = { ["x-version"] = name } }
        end
        local gw = gateway { upstreams = { "a", { "b", weight = 0 } }, header = "X-Version" }
        assert.equal("b", gw:get("/", choose "b").body)
        assert.equal("a", gw:get("/", choose "c").body) -- not among them
        assert.equal("a", gw:get("/").body)
        assert.equal("a", gateway({ upstreams = { "a", { "b", weight = 0 } } }):get("/", choose "b").body)
    end)

    it("sends every attempt of a request to the same upstream", function()
        local count = 0
        local function fail_once()
            count = count + 1
            return count % 2 == 1 and test.reply(503) or "b"
        end
        local gw = test.gateway {
            policies = { { "retry" }, { "traffic_split", upstreams = { "a", "b" } } },
            upstreams = { a = fail_once, b = fail_once },
            routes = { { match = { path = "/*" }, upstream = "a" } },
        }
        for _ = 1, 20 do
            assert.response(gw:get "/").has.status(200)
            assert.equal(0, #gw.upstreams.a.requests % 2)
        end
        assert.is_true(#gw.upstreams.a.requests > 0 and #gw.upstreams.b.requests > 0)
    end)

    it("splits over 64 upstreams, and no more", function()
        local function errors(count)
            local upstreams, parts = {}, {}
            for i = 1, count do
                upstreams["u" .. i], parts[i] = named "u", "u" .. i
            end
            return test.errors { upstreams = upstreams, policies = { { "traffic_split", upstreams = parts } },
                routes = { { match = {}, upstream = "u1" } } }
        end
        assert.same({}, errors(64))
        assert.equal(1, #errors(65))
    end)

    it("is refused with an upstream that there is none of, and says which one", function()
        local errors = test.errors {
            upstreams = { stable = named "a", canary = named "b" },
            policies = { { "traffic_split", upstreams = { { "stable", weight = 9 }, { "canry", weight = 1 } } } },
        }
        assert.equal(1, #errors)
        assert.equal("policies[1].upstreams[2].upstream", errors[1].path)
        assert.equal("there is no upstream 'canry'; did you mean 'canary'?", errors[1].message)
    end)

    for what, settings in pairs {
        ["without upstreams"] = {}, ["with none"] = { upstreams = {} },
        ["with no weight at all"] = { upstreams = { { "a", weight = 0 } } },
        ["with an upstream twice"] = { upstreams = { "a", "a" } },
        ["with half a weight"] = { upstreams = { { "a", weight = 0.5 } } },
        ["with a negative weight"] = { upstreams = { { "a", weight = -1 } } },
        ["with a number for an upstream"] = { upstreams = { 7 } },
        ["by something unknown"] = { upstreams = { "a" }, by = "ip" },
        ["by a header whose name is none"] = { upstreams = { "a" }, by = "header:a b" },
        ["by a header without a name"] = { upstreams = { "a" }, by = "header:" },
        ["by a cookie without a name"] = { upstreams = { "a" }, by = "cookie:" },
        ["with a header that is no name"] = { upstreams = { "a" }, header = "a b" },
    } do
        it("is refused " .. what, function()
            settings[1] = "traffic_split"
            assert.equal(1, #test.errors { policies = { settings }, upstreams = { a = named "a" } })
        end)
    end
end)
