-- SPDX-License-Identifier: MIT

local base64 = require "perigee.base64"
local crypto = require "perigee.crypto"
local json = require "perigee.json"
local jwt = require "perigee.jwt"
local keys = require "spec.support.keys"
local perigee = require "perigee"
local test = require "perigee.test"

local SECRET = ("s"):rep(64)

local function gateway(more, around)
    local settings = { "jwt" }
    for name, value in pairs(more or {}) do
        settings[name] = value
    end
    if not (settings.secret or settings.public_key or settings.jwks_file) then
        settings.secret = SECRET
    end
    local config = around or {}
    config.policies = { settings }
    return test.gateway(config)
end

local function first_error(settings)
    settings[1] = "jwt"
    local errors = test.errors { policies = { settings } }
    assert.equal(1, #errors)
    return tostring(errors[1].path) .. ": " .. tostring(errors[1].message)
end

local function sign(claims, alg, key, kid)
    return assert(jwt.sign(claims, { alg = alg or "HS256", key = key or SECRET, kid = kid }))
end

local function bearer(token)
    return { headers = { authorization = "Bearer " .. token } }
end

-- Puts a token together from any parts, signed with HS256.
local function assemble(header, claims, secret)
    local function part(value)
        return base64.encode_url(type(value) == "table" and json.encode(value) or value)
    end
    local input = part(header) .. "." .. part(claims)
    return input .. "." .. base64.encode_url(crypto.hmac("sha256", secret or SECRET, input))
end

-- A gateway whose handler answers with what the policy found.
local function who(more)
    return gateway(more, { routes = { { match = { path = "/*" }, handler = function(req)
        local groups = req.ctx.groups
        groups = type(groups) == "table" and table.concat(groups, " ") or groups
        return perigee.reply(200, { consumer = req.consumer, claims = req.ctx.jwt, groups = groups })
    end } } })
end

-- The refusal of a token: the error code and the description in the challenge.
local function refusal(gw, options)
    local res = gw:get("/", options)
    assert.response(res).is.problem(401)
    assert.equal(0, #gw.upstreams.api.requests)
    local challenge = res.headers["www-authenticate"]
    assert.matches('^Bearer realm="perigee"', challenge)
    return challenge:match 'error="([^"]*)"', challenge:match 'error_description="([^"]*)"'
end

describe("jwt", function()
    it("lets in a request with a good token and says whose it is", function()
        local body = who():get("/", bearer(sign { sub = "ada", role = "admin" })):json()
        assert.equal("ada", body.consumer)
        assert.same({ sub = "ada", role = "admin" }, body.claims)
    end)

    it("asks for a token without naming an error (RFC 6750 3.1)", function()
        local gw = gateway()
        local res = gw:get "/"
        assert.response(res).is.problem(401)
        assert.equal("urn:perigee:unauthorized", res:json().type)
        assert.equal('Bearer realm="perigee"', res.headers["www-authenticate"])
        assert.equal(0, #gw.upstreams.api.requests)
    end)

    it("answers another scheme, or the scheme alone, as if there were no token", function()
        for _, value in ipairs { "Basic " .. sign { sub = "ada" }, "Bearer", "Bearer ", "", "Bearers x" } do
            assert.is_nil((refusal(gateway(), { headers = { authorization = value } })))
        end
    end)

    for _, scheme in ipairs { "bearer ", "BEARER ", "BeArEr ", "Bearer   " } do
        it("reads the scheme " .. scheme:gsub(" ", "_"), function()
            local options = { headers = { authorization = scheme .. sign { sub = "ada" } } }
            assert.response(gateway():get("/", options)).has.status(200)
        end)
    end

    it("refuses two tokens (RFC 6750 2), though one is good", function()
        local good = "Bearer " .. sign { sub = "ada" }
        for _, second in ipairs { good, "Bearer x.y.z", "Basic x" } do
            local gw = gateway()
            local res = gw:get("/", { headers = { authorization = { good, second } } })
            assert.response(res).is.problem(400)
            assert.equal("urn:perigee:bad_request", res:json().type)
            assert.matches('error="invalid_request"', res.headers["www-authenticate"], 1, true)
            assert.equal(0, #gw.upstreams.api.requests)
        end
    end)

    describe("refuses a token", function()
        local good = sign { sub = "ada" }
        local head, claims, signature = good:match "^([^.]+)%.([^.]+)%.([^.]+)$"
        local none = base64.encode_url '{"alg":"none"}'
        local cases = {
            ["of one part"] = head, ["of two parts"] = head .. "." .. claims,
            ["of four parts"] = good .. ".x", ["without a signature"] = head .. "." .. claims .. ".",
            ["whose signature is cut"] = good:sub(1, -3),
            ["whose claims were changed"] = head .. "." .. base64.encode_url '{"sub":"eve"}' .. "." .. signature,
            ["whose header was changed"] = base64.encode_url '{"alg":"HS256" }' .. "." .. claims .. "." .. signature,
            ["with the algorithm none"] = none .. "." .. claims .. ".",
            ["with the algorithm None"] = base64.encode_url '{"alg":"None"}' .. "." .. claims .. "." .. signature,
            ["with an algorithm that is not accepted"] = sign({ sub = "ada" }, "HS512"),
            ["with an unknown algorithm"] = assemble({ alg = "HS999" }, { sub = "ada" }),
            ["with an algorithm that is no string"] = assemble({ alg = { "HS256" } }, { sub = "ada" }),
            ["without an algorithm"] = assemble({ typ = "JWT" }, { sub = "ada" }),
            ["with critical header fields"] = assemble({ alg = "HS256", crit = { "exp" } }, { sub = "ada" }),
            ["signed with another secret"] = sign({ sub = "ada" }, "HS256", ("x"):rep(64)),
            ["whose claims are a list"] = assemble({ alg = "HS256" }, "[1]"),
            ["whose claims are no JSON"] = assemble({ alg = "HS256" }, "{sub}"),
            ["whose header is no JSON"] = assemble("x", { sub = "ada" }),
            ["with padding"] = good .. "=", ["with a space in it"] = head .. " ." .. claims .. "." .. signature,
            ["that is very long"] = sign { sub = ("a"):rep(20000) },
            ["that has expired"] = sign { sub = "ada", exp = 1767225599 },
            ["that expires now"] = sign { sub = "ada", exp = 1767225600 },
            ["that is not valid yet"] = sign { sub = "ada", nbf = 1767225700 },
            ["whose expiry is text"] = sign { sub = "ada", exp = "2099" },
            ["whose beginning is text"] = sign { sub = "ada", nbf = "1999" },
            ["whose subject has a line feed"] = sign { sub = "ada\nx-admin: 1" },
            ["whose subject has a NUL"] = sign { sub = "ada\0" },
            ["whose subject has a DEL"] = sign { sub = "ada\127" },
            ["whose subject has a control character"] = sign { sub = "\1ada" },
        }
        for what, token in pairs(cases) do
            it(what, function()
                local code, description = refusal(gateway(), bearer(token))
                assert.equal("invalid_token", code)
                assert.matches("^[%w ,.'-]+$", description)
            end)
        end
    end)

    it("takes the public key of RS256 for no secret of HS256", function()
        local forged = sign({ sub = "eve" }, "HS256", keys.rsa.public)
        assert.equal("invalid_token", (refusal(gateway { public_key = keys.rsa.public }, bearer(forged))))
        assert.equal("invalid_token",
            (refusal(gateway { public_key = keys.rsa.public, algorithms = { "RS256", "PS256" } }, bearer(forged))))
    end)

    it("accepts a token until it expires, remembered or not", function()
        local gw = gateway()
        local token = bearer(sign { sub = "ada", exp = 1767225600 + 60 })
        assert.response(gw:get("/", token)).has.status(200)
        assert.response(gw:get("/", token)).has.status(200)
        gw:advance(59)
        assert.response(gw:get("/", token)).has.status(200)
        gw:advance(2)
        assert.response(gw:get("/", token)).has.status(401)
    end)

    it("accepts a token from the time that it says", function()
        local gw = gateway()
        local token = bearer(sign { sub = "ada", nbf = 1767225600 + 10 })
        assert.response(gw:get("/", token)).has.status(401)
        gw:advance(11)
        assert.response(gw:get("/", token)).has.status(200)
    end)

    it("allows clocks to differ by the leeway", function()
        local gw = gateway { leeway = "30s" }
        local now = 1767225600
        assert.response(gw:get("/", bearer(sign { exp = now - 29 }))).has.status(200)
        assert.response(gw:get("/", bearer(sign { exp = now - 31 }))).has.status(401)
        assert.response(gw:get("/", bearer(sign { nbf = now + 29 }))).has.status(200)
        assert.response(gw:get("/", bearer(sign { nbf = now + 31 }))).has.status(401)
    end)

    describe("with an issuer or an audience", function()
        local cases = {
            { "issuer", "me", { iss = "me" }, 200 }, { "issuer", "me", { iss = "you" }, 401 },
            { "issuer", "me", {}, 401 }, { "issuer", "me", { iss = { "me" } }, 401 },
            { "issuer", "me", { iss = "me " }, 401 },
            { "issuer", { "me", "you" }, { iss = "you" }, 200 }, { "issuer", { "me", "you" }, { iss = "they" }, 401 },
            { "audience", "shop", { aud = "shop" }, 200 }, { "audience", "shop", { aud = { "x", "shop" } }, 200 },
            { "audience", "shop", { aud = { "x" } }, 401 }, { "audience", "shop", {}, 401 },
            { "audience", "shop", { aud = { shop = true } }, 401 }, { "audience", "shop", { aud = 1 }, 401 },
            { "audience", { "shop", "api" }, { aud = "api" }, 200 }, { "audience", "shop", { aud = "shopper" }, 401 },
        }
        for _, case in ipairs(cases) do
            local setting, wanted, claims, status = unpack(case)
            it(("answers %d when %s is %s and the token says %s"):format(status, setting, json.encode(wanted),
                json.encode(claims)), function()
                assert.response(gateway({ [setting] = wanted }):get("/", bearer(sign(claims)))).has.status(status)
            end)
        end
    end)

    describe("with required claims", function()
        local cases = {
            { { sub = "ada", exp = 1767225700 }, 200 }, { { sub = "ada" }, 401 }, { { exp = 1767225700 }, 401 },
            { {}, 401 },
            { { sub = json.null, exp = 1767225700 }, 401 },
        }
        for _, case in ipairs(cases) do
            it(("answers %d to %s"):format(case[2], json.encode(case[1])), function()
                local gw = gateway { required_claims = { "exp", "sub" } }
                assert.response(gw:get("/", bearer(sign(case[1])))).has.status(case[2])
                assert.response(gw:get("/", bearer(sign(case[1])))).has.status(case[2]) -- remembered
            end)
        end
    end)

    it("takes the subject for the consumer only when it is a string", function()
        for _, claims in ipairs { {}, { sub = 5 }, { sub = json.null }, { sub = { "ada" } }, { sub = "" } } do
            local res = who():get("/", bearer(sign(claims)))
            assert.response(res).has.status(200)
            assert.is_nil(res:json().consumer)
        end
    end)

    it("finds groups in the claims groups and roles", function()
        assert.equal("a b", who():get("/", bearer(sign { groups = { "a", "b" } })):json().groups)
        assert.equal("c", who():get("/", bearer(sign { roles = { "c" } })):json().groups)
        assert.equal("d", who():get("/", bearer(sign { roles = "d" })):json().groups)
    end)

    it("forgets the groups of whoever came before", function()
        local gw = test.gateway {
            policies = { { "key_auth", keys = { k = { "bob", groups = { "admin" } } } }, { "jwt", secret = SECRET },
                { "acl", allow = { "admin" } } },
        }
        local options = bearer(sign { sub = "ada" })
        options.headers["x-api-key"] = "k"
        assert.response(gw:get("/", options)).has.status(403)
    end)

    describe("with a key of kind", function()
        local pairs_of = {
            { "rsa", "RS256" }, { "rsa", "RS384" }, { "rsa", "RS512" }, { "rsa", "PS256" }, { "rsa", "PS384" },
            { "rsa", "PS512" }, { "p256", "ES256" }, { "p384", "ES384" }, { "p521", "ES512" }, { "ed25519", "EdDSA" },
        }
        for _, pair in ipairs(pairs_of) do
            local kind, alg = pair[1], pair[2]
            it(kind .. " verifies " .. alg, function()
                local gw = gateway { public_key = keys[kind].public, algorithms = { alg } }
                local token = sign({ sub = "ada" }, alg, keys[kind].private)
                assert.response(gw:get("/", bearer(token))).has.status(200)
                assert.response(gw:get("/", bearer(token:sub(1, -6) .. "AAAAA"))).has.status(401)
            end)
        end

        for kind, alg in pairs { rsa = "RS256", p256 = "ES256", p384 = "ES384", p521 = "ES512", ed25519 = "EdDSA" } do
            it(kind .. " means " .. alg .. " when no algorithm is named", function()
                local gw = gateway { public_key = keys[kind].public }
                assert.response(gw:get("/", bearer(sign({ sub = "ada" }, alg, keys[kind].private)))).has.status(200)
            end)
        end

        it("rsa does not mean PS256 when no algorithm is named", function()
            local gw = gateway { public_key = keys.rsa.public }
            assert.response(gw:get("/", bearer(sign({}, "PS256", keys.rsa.private)))).has.status(401)
        end)

        for _, alg in ipairs { "HS256", "HS384", "HS512" } do
            it("secret verifies " .. alg, function()
                local gw = gateway { algorithms = { alg } }
                assert.response(gw:get("/", bearer(sign({ sub = "ada" }, alg)))).has.status(200)
            end)
        end
    end)

    describe("with a JWK set", function()
        local function oct(kid, secret)
            return { kty = "oct", kid = kid, k = base64.encode_url(secret) }
        end
        local SET = json.encode { keys = { oct("one", SECRET), oct("two", ("t"):rep(64)) } }
        local settings = { jwks_file = SET, algorithms = { "HS256" } }

        it("uses the key that the token names", function()
            local gw = gateway(settings)
            assert.response(gw:get("/", bearer(sign({}, "HS256", SECRET, "one")))).has.status(200)
            assert.response(gw:get("/", bearer(sign({}, "HS256", ("t"):rep(64), "two")))).has.status(200)
            assert.response(gw:get("/", bearer(sign({}, "HS256", SECRET, "two")))).has.status(401)
            assert.response(gw:get("/", bearer(sign({}, "HS256", SECRET, "three")))).has.status(401)
        end)

        it("accepts no HMAC unless told to", function()
            local gw = gateway { jwks_file = SET }
            assert.response(gw:get("/", bearer(sign({}, "HS256", SECRET, "one")))).has.status(401)
        end)

        it("is told how to write the file when it gets its name", function()
            assert.matches('jwks_file = file "keys.json"', first_error { jwks_file = "keys.json" }, 1, true)
        end)

        for what, set in pairs {
            ["no JSON"] = "{", ["a list"] = "[]", ["without keys"] = "{}",
            ["with keys that are no list"] = '{"keys":1}',
            ["empty"] = '{"keys":[]}', ["with keys that it cannot use"] = '{"keys":[{"kty":"x"},1,null]}',
            ["larger than 1 MiB"] = '{"keys":[],"x":"' .. ("x"):rep(1048576) .. '"}',
        } do
            it("refuses one that is " .. what, function()
                assert.matches("jwks_file", first_error { jwks_file = set })
            end)
        end
    end)

    describe("looks for the token", function()
        it("in another header, with or without the scheme", function()
            local gw = gateway { header = "X-Token" }
            local token = sign { sub = "ada" }
            assert.response(gw:get("/", { headers = { ["x-token"] = token } })).has.status(200)
            assert.response(gw:get("/", { headers = { ["x-token"] = "Bearer " .. token } })).has.status(200)
            assert.response(gw:get("/", bearer(token))).has.status(401)
        end)

        it("in a cookie, when the header has none", function()
            local gw = gateway { cookie = "session" }
            local good, bad = sign { sub = "ada" }, sign({ sub = "eve" }, "HS256", ("x"):rep(64))
            local function get(cookie, authorization)
                return gw:get("/", { headers = { cookie = cookie, authorization = authorization } })
            end
            assert.response(get("a=1; session=" .. good)).has.status(200)
            assert.response(get("session=" .. good, "Basic x")).has.status(200)
            assert.response(get("session=" .. good, "Bearer " .. bad)).has.status(401)
            assert.response(get("session=" .. bad)).has.status(401)
            assert.response(get("xsession=" .. good)).has.status(401)
        end)

        it("in no cookie unless told to", function()
            assert.response(gateway():get("/", { headers = { cookie = "session=" .. sign {} } })).has.status(401)
        end)
    end)

    describe("forwards claims", function()
        local function seen(claims, headers, more)
            local gw = gateway { forward_claims = { sub = "X-User", role = "x-role", groups = "x-groups", n = "x-n" } }
            local options = bearer(sign(claims))
            for name, value in pairs(headers or {}) do
                options.headers[name] = value
            end
            for _ = 1, more or 1 do
                assert.response(gw:get("/", options)).has.status(200)
            end
            return gw.upstreams.api.requests[more or 1].headers
        end

        it("as headers: strings as they are, the rest as JSON", function()
            local headers = seen { sub = "zoë lee", role = "", groups = { "a,b", "c" }, n = 12345678901 }
            assert.equal("zoë lee", headers["x-user"])
            assert.equal("", headers["x-role"])
            assert.equal('["a,b","c"]', headers["x-groups"])
            assert.equal("12345678901", headers["x-n"])
        end)

        it("in the place of what the client sent", function()
            local sent = { ["X-User"] = { "root", "root" }, ["X-ROLE"] = "admin", ["x-n"] = "1" }
            local headers = seen({ sub = "ada" }, sent)
            assert.same({ "ada" }, headers:all "x-user")
            assert.is_nil(headers["x-role"])
            assert.is_nil(headers["x-n"])
        end)

        it("alike when the token is remembered", function()
            local headers = seen({ sub = "ada", n = 1.5 }, { ["x-role"] = "admin" }, 3)
            assert.same({ "ada" }, headers:all "x-user")
            assert.equal("1.5", headers["x-n"])
            assert.is_nil(headers["x-role"])
        end)

        it("and leaves null out", function()
            assert.is_nil(seen({ sub = json.null }, { ["x-user"] = "root" })["x-user"])
        end)

        it("but not one that would break a header", function()
            local gw = gateway { forward_claims = { role = "x-role" } }
            assert.equal("invalid_token", (refusal(gw, bearer(sign { role = "a\r\nx-admin: 1" }))))
        end)

        it("and leaves what the client sent alone in a dry run", function()
            local gw = gateway { forward_claims = { role = "x-role" }, dry_run = true }
            gw:get("/", { headers = { ["x-role"] = "admin" } })
            assert.equal("admin", gw.upstreams.api.requests[1].headers["x-role"])
        end)
    end)

    it("does not repeat tokens in answers or in the log", function()
        local gw = gateway()
        local token = sign({ sub = "ada" }, "HS256", ("x"):rep(64))
        local res = gw:get("/", bearer(token))
        assert.is_nil(res.body:find(token:sub(1, 20), 1, true))
        for _, line in ipairs(gw:log()) do
            assert.is_nil(line.message:find(token:sub(1, 20), 1, true))
        end
    end)

    it("stops accepting tokens of a key that a reload removed", function()
        local gw = gateway()
        local token = bearer(sign { sub = "ada" })
        assert.response(gw:get("/", token)).has.status(200)
        assert.is_true(gw:reload { policies = { { "jwt", secret = ("n"):rep(64) } } })
        assert.response(gw:get("/", token)).has.status(401)
    end)

    describe("is refused", function()
        it("without a key, or with two", function()
            assert.matches("needs one of 'secret', 'public_key' and 'jwks_file'", first_error {}, 1, true)
            local message = first_error { secret = SECRET, public_key = "x" }
            assert.matches("'secret' and 'public_key' are two ways", message, 1, true)
        end)

        it("with a secret that is too short, which it does not show", function()
            local message = first_error { secret = "short-secret" }
            assert.matches("secret: a secret for HS256 has at least 32 bytes", message)
            assert.is_nil(message:find("short-secret", 1, true))
            assert.matches("at least 64", first_error { secret = ("s"):rep(63), algorithms = { "HS512" } })
        end)

        it("with a public key that is none", function()
            local empty = "-----BEGIN PUBLIC KEY-----\nAA==\n-----END PUBLIC KEY-----\n"
            assert.matches("public_key", first_error { public_key = empty })
            assert.matches("public_key", first_error { public_key = "ada" })
        end)

        it("with algorithms that do not fit the key", function()
            assert.matches("HS256 needs a key of kind oct",
                first_error { public_key = keys.rsa.public, algorithms = { "HS256" } })
            assert.matches("RS256 needs a key of kind RSA",
                first_error { secret = SECRET, algorithms = { "HS256", "RS256" } })
            assert.matches("ES256", first_error { public_key = keys.p384.public, algorithms = { "ES256" } })
        end)

        it("with a header that is no name", function()
            assert.matches("header: expected the name", first_error { secret = SECRET, header = "a b" })
            assert.matches("forward_claims", first_error { secret = SECRET, forward_claims = { sub = "a:" } })
        end)

        it("with the algorithm none, an unknown one, or none at all", function()
            first_error { secret = SECRET, algorithms = { "none" } }
            assert.matches("did you mean \"HS256\"", first_error { secret = SECRET, algorithms = { "HS265" } }, 1, true)
            first_error { secret = SECRET, algorithms = {} }
        end)

        it("with a JWK set from a URL, which comes later", function()
            local message = first_error { jwks_url = "https://a.example/keys", secret = SECRET }
            assert.matches("not supported yet", message)
        end)
    end)
end)
