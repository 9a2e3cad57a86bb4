-- SPDX-License-Identifier: MIT

local perigee = require "perigee"
local test = require "perigee.test"

local KEYS = { s3cret = "ada", other = { "bob", groups = { "staff", "night" } } }

local function gateway(more, around)
    local settings = { "key_auth", keys = KEYS }
    for name, value in pairs(more or {}) do
        settings[name] = value
    end
    local config = around or {}
    config.policies = { settings }
    return test.gateway(config)
end

local function first_error(settings)
    settings[1] = "key_auth"
    local errors = test.errors { policies = { settings } }
    assert.equal(1, #errors)
    return tostring(errors[1].message or errors[1]), errors[1]
end

-- Answers with what the policy found.
local function who()
    return { policies = {}, routes = { { match = { path = "/*" }, handler = function(req)
        local groups = req.ctx.groups
        return perigee.reply(200, tostring(req.consumer) .. " " .. (groups and groups[1] .. "," .. groups[2] or "-"))
    end } } }
end

local function key(value)
    return { headers = { ["x-api-key"] = value } }
end

describe("key_auth", function()
    it("lets a known key in and says whose it is", function()
        local gw = gateway({}, who())
        assert.response(gw:get("/", key "s3cret")).has.body "ada -"
        assert.response(gw:get("/", key "other")).has.body "bob staff,night"
    end)

    for what, headers in pairs {
        ["without a key"] = {}, ["with an unknown key"] = { ["x-api-key"] = "guess" },
        ["with the beginning of a key"] = { ["x-api-key"] = "s3cre" },
        ["with a key and more"] = { ["x-api-key"] = "s3crets" },
        ["with a key in another case"] = { ["x-api-key"] = "S3CRET" },
        ["with an empty key"] = { ["x-api-key"] = "" },
        ["with a key in another header"] = { ["authorization"] = "s3cret" },
        ["with the name of a consumer"] = { ["x-api-key"] = "ada" },
        ["with a very long key"] = { ["x-api-key"] = ("s3cret"):rep(1000) },
    } do
        it("refuses a request " .. what, function()
            local gw = gateway()
            local res = gw:get("/", { headers = headers })
            assert.response(res).is.problem(401)
            assert.matches("^ApiKey", res.headers["www-authenticate"])
            assert.equal(0, #gw.upstreams.api.requests)
        end)
    end

    it("does not say in its answer which key was tried", function()
        local res = gateway():get("/", key "a-wrong-guess")
        assert.is_nil(res.body:find("guess", 1, true))
    end)

    it("does not write keys to the log", function()
        local gw = gateway()
        gw:get("/", key "a-wrong-guess")
        gw:get("/", key "s3cret")
        for _, line in ipairs(gw:log()) do
            assert.is_nil(line.message:find("s3cret", 1, true) or line.message:find("guess", 1, true))
        end
    end)

    it("looks into the header that is configured, in any case", function()
        local gw = gateway { header = "X-Key" }
        assert.response(gw:get("/", { headers = { ["x-key"] = "s3cret" } })).has.status(200)
        assert.response(gw:get("/", key "s3cret")).has.status(401)
    end)

    it("does not look into the query unless told to", function()
        assert.response(gateway():get "/?api_key=s3cret").has.status(401)
    end)

    describe("with a query parameter", function()
        it("takes the key from there, decoded", function()
            local gw = gateway { query = "api_key" }
            assert.response(gw:get "/?a=1&api_key=s3cret").has.status(200)
            assert.response(gw:get "/?api_key=%733cret").has.status(200)
            assert.response(gw:get "/?api_key=").has.status(401)
            assert.response(gw:get "/?xapi_key=s3cret").has.status(401)
        end)

        it("believes the header when there are both", function()
            local gw = gateway { query = "api_key" }
            assert.response(gw:get("/?api_key=s3cret", key "guess")).has.status(401)
            assert.response(gw:get("/?api_key=guess", key "s3cret")).has.status(200)
        end)
    end)

    it("sends the key on by default", function()
        local gw = gateway { query = "api_key" }
        gw:get("/?api_key=s3cret", key "s3cret")
        local seen = gw.upstreams.api.requests[1]
        assert.equal("s3cret", seen.headers["x-api-key"])
        assert.equal("api_key=s3cret", seen.query)
    end)

    describe("with hide", function()
        it("removes every copy of the header", function()
            local gw = gateway { hide = true }
            gw:get("/", { headers = { ["X-API-Key"] = { "s3cret", "again" }, ["x-a"] = "1" } })
            local seen = gw.upstreams.api.requests[1]
            assert.is_nil(seen.headers["x-api-key"])
            assert.equal("1", seen.headers["x-a"])
        end)

        it("removes every copy of the parameter and nothing else", function()
            local gw = gateway { hide = true, query = "api_key" }
            gw:get "/?a=1&api_key=s3cret&api_key=x&api%5Fkey=y&b=%20"
            assert.equal("a=1&b=%20", gw.upstreams.api.requests[1].query)
        end)

        it("removes the parameter when the header held the key", function()
            local gw = gateway { hide = true, query = "api_key" }
            gw:get("/?api_key=stray", key "s3cret")
            assert.equal("", gw.upstreams.api.requests[1].query or "")
        end)
    end)

    it("answers, but refuses nobody, in a dry run", function()
        assert.response(gateway({ dry_run = true }):get "/").has.status(200)
    end)

    it("fails closed", function()
        local gw = test.gateway { policies = { { "key_auth", keys = KEYS, when = function() error "broken" end } } }
        assert.response(gw:get("/", key "s3cret")).has.status(503)
    end)

    describe("is refused", function()
        it("without keys", function()
            assert.matches("required", (first_error {}))
            assert.matches("no key", (first_error { keys = {} }))
        end)

        it("with an empty key, an empty name or a name with control characters", function()
            first_error { keys = { [""] = "ada" } }
            first_error { keys = { k = "" } }
            first_error { keys = { k = "a\nb" } }
            first_error { keys = { k = { groups = { "a" } } } }
        end)

        it("with a header that is no name", function()
            assert.matches("expected the name", (first_error { keys = KEYS, header = "a b" }))
        end)

        it("without showing keys", function()
            local message, err = first_error { keys = { ["sec-ret"] = 5 } }
            assert.is_nil(message:find("sec-ret", 1, true) or tostring(err.path):find("sec-ret", 1, true))
        end)
    end)
end)
