-- SPDX-License-Identifier: MIT

local base64 = require "perigee.base64"
local crypto = require "perigee.crypto"
local perigee = require "perigee"
local test = require "perigee.test"

-- Few iterations: these tests are about the policy.
local USERS = {
    ada = crypto.password.hash("lovelace", 10),
    bob = { crypto.password.hash("pass:word", 10), groups = { "staff" } },
    ["zoë"] = crypto.password.hash("naïve", 10),
}

local function gateway(more, around)
    local settings = { "basic_auth", users = USERS }
    for name, value in pairs(more or {}) do
        settings[name] = value
    end
    local config = around or {}
    config.policies = { settings }
    return test.gateway(config)
end

local function basic(text, scheme)
    return { headers = { authorization = (scheme or "Basic ") .. base64.encode(text) } }
end

local function first_error(settings)
    settings[1] = "basic_auth"
    local errors = test.errors { policies = { settings } }
    assert.equal(1, #errors)
    return tostring(errors[1].message), errors[1]
end

-- How often PBKDF2 is computed while `run` runs, and with how many iterations each: puts a counter in the place of what
-- crypto.password.verify calls.
local function count_hashing(run)
    local verify, place, iterations = crypto.password.verify, 0, {}
    local name, derive
    repeat
        place = place + 1
        name, derive = debug.getupvalue(verify, place)
    until name == "derive" or not name
    assert.equal("derive", name)
    debug.setupvalue(verify, place, function(...)
        iterations[#iterations + 1] = select(3, ...)
        return derive(...)
    end)
    jit.flush() -- compiled code has the function in it
    local ok, message = pcall(run)
    debug.setupvalue(verify, place, derive)
    jit.flush()
    assert(ok, message)
    return #iterations, iterations
end

describe("basic_auth", function()
    it("lets known users in and says who they are", function()
        local gw = gateway({}, { routes = { { match = { path = "/*" }, handler = function(req)
            return perigee.reply(200, req.consumer .. " " .. (req.ctx.groups and req.ctx.groups[1] or "-"))
        end } } })
        assert.response(gw:get("/", basic "ada:lovelace")).has.body "ada -"
        assert.response(gw:get("/", basic "bob:pass:word")).has.body "bob staff"
        assert.response(gw:get("/", basic "zoë:naïve")).has.body "zoë -"
    end)

    for _, scheme in ipairs { "basic ", "BASIC ", "bAsIc ", "Basic   " } do
        it("reads the scheme " .. scheme:gsub(" ", "_"), function()
            assert.response(gateway():get("/", basic("ada:lovelace", scheme))).has.status(200)
        end)
    end

    local long = ("x"):rep(8000)
    for what, value in pairs {
        ["no credentials"] = false, ["a wrong password"] = "Basic " .. base64.encode "ada:wrong",
        ["an unknown user"] = "Basic " .. base64.encode "eve:lovelace",
        ["an empty password"] = "Basic " .. base64.encode "ada:",
        ["an empty name"] = "Basic " .. base64.encode ":lovelace",
        ["no colon"] = "Basic " .. base64.encode "ada", ["nothing"] = "Basic ", ["the scheme only"] = "Basic",
        ["another scheme"] = "Bearer " .. base64.encode "ada:lovelace",
        ["plain text"] = "Basic ada:lovelace", ["a character that is not base64"] = "Basic YWRhOmx*",
        ["missing padding"] = "Basic " .. base64.encode("ada:lovelace"):gsub("=", "") .. "A",
        ["bytes behind the credentials"] = "Basic " .. base64.encode "ada:lovelace" .. " x",
        ["a name in another case"] = "Basic " .. base64.encode "Ada:lovelace",
        ["a NUL in the password"] = "Basic " .. base64.encode "ada:lovelace\0",
        ["a line feed in the name"] = "Basic " .. base64.encode "ada\n:lovelace",
        ["very long credentials"] = "Basic " .. base64.encode("ada:" .. long),
        ["the hash as password"] = "Basic " .. base64.encode("ada:" .. USERS.ada),
    } do
        it("refuses " .. what, function()
            local gw = gateway()
            local res = gw:get("/", { headers = { authorization = value or nil } })
            assert.response(res).is.problem(401)
            assert.equal('Basic realm="perigee", charset="UTF-8"', res.headers["www-authenticate"])
            assert.equal(0, #gw.upstreams.api.requests)
        end)
    end

    it("refuses two sets of credentials, though one is good", function()
        local good = "Basic " .. base64.encode "ada:lovelace"
        local gw = gateway()
        assert.response(gw:get("/", { headers = { authorization = { good, "Basic x" } } })).has.status(401)
        assert.response(gw:get("/", { headers = { authorization = { good, good } } })).has.status(401)
    end)

    it("says its realm", function()
        local res = gateway({ realm = "The shop" }):get "/"
        assert.equal('Basic realm="The shop", charset="UTF-8"', res.headers["www-authenticate"])
    end)

    it("hashes a password once", function()
        assert.equal(1, count_hashing(function()
            local gw = gateway()
            for _ = 1, 5 do
                assert.response(gw:get("/", basic "ada:lovelace")).has.status(200)
            end
        end))
    end)

    it("hashes a wrong password once, and goes on refusing it", function()
        assert.equal(1, count_hashing(function()
            local gw = gateway()
            for _ = 1, 5 do
                assert.response(gw:get("/", basic "ada:wrong")).has.status(401)
            end
        end))
    end)

    it("hashes for an unknown user too", function()
        assert.equal(2, count_hashing(function()
            local gw = gateway()
            gw:get("/", basic "eve:1")
            gw:get("/", basic "eve:2")
        end))
    end)

    it("hashes for an unknown user as often as for the costliest known one", function()
        local hash = crypto.password.hash
        local users = { a = hash("1", 3), b = hash("2", 7), c = hash("3", 5) }
        local _, iterations = count_hashing(function()
            gateway({ users = users }):get("/", basic "eve:1")
        end)
        assert.same({ 7 }, iterations)
    end)

    it("hashes nothing for what is no credentials", function()
        assert.equal(0, count_hashing(function()
            local gw = gateway()
            gw:get "/"
            gw:get("/", basic "ada")
            gw:get("/", { headers = { authorization = "Bearer x" } })
            gw:get("/", basic("ada:" .. ("x"):rep(5000)))
        end))
    end)

    it("forgets what it remembered when the users change", function()
        local gw = gateway()
        assert.response(gw:get("/", basic "ada:lovelace")).has.status(200)
        local users = { ada = crypto.password.hash("byron", 10) }
        assert.is_true(gw:reload { policies = { { "basic_auth", users = users } } })
        assert.response(gw:get("/", basic "ada:lovelace")).has.status(401)
        assert.response(gw:get("/", basic "ada:byron")).has.status(200)
    end)

    it("writes neither passwords nor hashes to the log", function()
        local gw = gateway()
        gw:get("/", basic "ada:lovelace")
        gw:get("/", basic "ada:wrong-guess")
        for _, line in ipairs(gw:log()) do
            assert.is_nil(line.message:find("lovelace", 1, true) or line.message:find("guess", 1, true)
                or line.message:find("pbkdf2", 1, true))
        end
    end)

    describe("is refused", function()
        it("without users", function()
            assert.matches("required", (first_error {}))
            assert.matches("no user", (first_error { users = {} }))
        end)

        it("with a plain password, which it does not repeat", function()
            local message = first_error { users = { ada = "lovelace" } }
            assert.matches("pbkdf2", message)
            assert.is_nil(message:find("lovelace", 1, true))
        end)

        it("without a hash", function()
            assert.matches("required", (first_error { users = { ada = { groups = { "staff" } } } }))
        end)

        it("with a name that no client can send", function()
            first_error { users = { ["a:b"] = USERS.ada } }
            first_error { users = { [""] = USERS.ada } }
        end)

        it("with a realm that breaks out of its quotes", function()
            first_error { users = USERS, realm = 'a", x="b' }
            first_error { users = USERS, realm = "a\r\nx: y" }
        end)
    end)
end)
