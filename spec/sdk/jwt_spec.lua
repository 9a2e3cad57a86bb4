-- SPDX-License-Identifier: MIT

local base64 = require "perigee.base64"
local crypto = require "perigee.crypto"
local json = require "perigee.json"
local jwt = require "perigee.jwt"
local inside = require("perigee._core.object").inside
local keys = require "spec.support.keys"

local SECRET = ("s"):rep(64)
local NOW = 1000000

local function now()
    return NOW
end

-- Puts a token together from its parts, whatever they are: tables become JSON.
local function assemble(header, claims, sign)
    local function part(value)
        return base64.encode_url(type(value) == "table" and json.encode(value) or value)
    end
    local input = part(header) .. "." .. part(claims)
    return input .. "." .. base64.encode_url(sign and sign(input) or "")
end

local function hs256(header, claims, secret)
    return assemble(header or { alg = "HS256" }, claims, function(input)
        return crypto.hmac("sha256", secret or SECRET, input)
    end)
end

local function options(more)
    local all = { algorithms = { "HS256" }, secret = SECRET, now = now }
    for name, value in pairs(more or {}) do
        all[name] = value
    end
    return all
end

local function verifier(more)
    return assert(jwt.verifier(options(more)))
end

-- The code of a refusal; fails when the token is accepted.
local function code_of(token, more)
    local claims, message, code = verifier(more):verify(token)
    assert.is_nil(claims)
    assert.is_string(message)
    return code
end

describe("a token of the RFCs", function()
    -- RFC 7515 A.1 to A.3: the same claims, which expired in 2011.
    local CLAIMS = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
    local HS256 = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9." .. CLAIMS
        .. ".dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
    local RS256 = "eyJhbGciOiJSUzI1NiJ9." .. CLAIMS .. ".cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOi"
        .. "Zj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75"
        .. "vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ"
        .. "1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw"
    local ES256 = "eyJhbGciOiJFUzI1NiJ9." .. CLAIMS
        .. ".DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"
    local KEYS = { keys = {
        { kty = "oct", kid = "mac",
          k = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow" },
        { kty = "RSA", kid = "rsa", e = "AQAB",
          n = "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-"
              .. "yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsL"
              .. "A9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoud"
              .. "F8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ" },
        { kty = "EC", kid = "ec", crv = "P-256", x = "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
          y = "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0" },
    } }

    local function verify(token, algorithm, at)
        return jwt.verify(token, { algorithms = { algorithm }, keys = KEYS,
            now = function() return at or 1300819379 end })
    end

    it("is accepted before it expires (RFC 7515 A.1, A.2, A.3)", function()
        for algorithm, token in pairs { HS256 = HS256, RS256 = RS256, ES256 = ES256 } do
            local claims, message = verify(token, algorithm)
            assert.same({ iss = "joe", exp = 1300819380, ["http://example.com/is_root"] = true }, claims, message)
        end
    end)

    it("is refused when it has expired", function()
        for algorithm, token in pairs { HS256 = HS256, RS256 = RS256, ES256 = ES256 } do
            local claims, _, code = verify(token, algorithm, 1300819380)
            assert.is_nil(claims)
            assert.equal("expired", code)
        end
    end)

    it("is refused with one character of its signature changed", function()
        for algorithm, token in pairs { HS256 = HS256, RS256 = RS256, ES256 = ES256 } do
            local at = #token - 20
            local other = token:sub(at, at) == "A" and "B" or "A"
            local _, _, code = verify(token:sub(1, at - 1) .. other .. token:sub(at + 1), algorithm)
            assert.equal("signature", code)
        end
    end)

    it("that is unsecured is refused (RFC 7519 6.1)", function()
        local none = "eyJhbGciOiJub25lIn0." .. CLAIMS .. "."
        for _, algorithm in ipairs { "HS256", "RS256", "ES256" } do
            local claims, _, code = verify(none, algorithm)
            assert.is_nil(claims)
            assert.equal("algorithm", code)
        end
    end)
end)

describe("a signed token", function()
    local kinds = {
        HS256 = "oct", HS384 = "oct", HS512 = "oct", RS256 = "rsa", RS384 = "rsa", RS512 = "rsa", PS256 = "rsa",
            PS384 = "rsa",
        PS512 = "rsa", ES256 = "p256", ES384 = "p384", ES512 = "p521", EdDSA = "ed25519",
    }

    local function sign(algorithm)
        local kind = kinds[algorithm]
        return assert(jwt.sign({ sub = "ada" }, { alg = algorithm,
            key = kind == "oct" and SECRET or keys[kind].private }))
    end

    local function static_verifier(algorithm)
        local kind = kinds[algorithm]
        return assert(jwt.verifier {
            algorithms = { algorithm }, now = now,
            secret = kind == "oct" and SECRET or nil, public_key = kind ~= "oct" and keys[kind].public or nil,
        })
    end

    it("is verified by its own algorithm and refused by every other", function()
        for algorithm in pairs(kinds) do
            local token = sign(algorithm)
            for other in pairs(kinds) do
                local claims, message, code = static_verifier(other):verify(token)
                if algorithm == other then
                    assert.same({ sub = "ada" }, claims, message)
                else
                    assert.is_nil(claims, algorithm .. " by " .. other)
                    assert.equal("algorithm", code)
                end
            end
        end
    end)

    it("has the header that was asked for", function()
        local header, claims = jwt.decode(assert(jwt.sign({ sub = "ada" }, { alg = "HS256", key = SECRET,
            kid = "k1" })))
        assert.same({ alg = "HS256", typ = "JWT", kid = "k1" }, header)
        assert.same({ sub = "ada" }, claims)
    end)

    it("can be made with a prepared key", function()
        local key = assert(crypto.private_key(keys.ed25519.private))
        local token = assert(jwt.sign({ sub = "ada" }, { alg = "EdDSA", key = key }))
        assert.same({ sub = "ada" }, static_verifier("EdDSA"):verify(token))
    end)

    it("is not made with a key that does not fit", function()
        local refused = {
            { { sub = 1 }, { alg = "none", key = "" }, "unknown algorithm 'none'" },
            { { sub = 1 }, { alg = "HS256", key = "short" },
                "a secret for HS256 has at least 32 bytes (RFC 7518 3.2)" },
            { { sub = 1 }, { alg = "HS256" }, "a secret for HS256 has at least 32 bytes (RFC 7518 3.2)" },
            { { sub = 1 }, { alg = "RS256", key = SECRET }, "not a PEM private key without a passphrase" },
            { { sub = 1 }, { alg = "RS256", key = keys.p256.private }, "the key cannot sign with RS256" },
            { { sub = 1 }, { alg = "ES256", key = keys.p256.public }, "not a PEM private key without a passphrase" },
            { { sub = 1 }, { alg = "ES256" }, "no key" },
            { { sub = print }, { alg = "HS256", key = SECRET }, "JSON cannot hold a value that is a function" },
        }
        for _, row in ipairs(refused) do
            assert.same({ nil, row[3] }, { jwt.sign(row[1], row[2]) })
        end
    end)
end)

describe("jwt.decode", function()
    it("takes a token apart without verifying it", function()
        local header, claims, input, signature = jwt.decode(hs256(nil, { sub = "ada" }, ("x"):rep(32)))
        assert.same({ alg = "HS256" }, header)
        assert.same({ sub = "ada" }, claims)
        assert.equal(crypto.hmac("sha256", ("x"):rep(32), input), signature)
    end)

    it("refuses what is not a signed token", function()
        for _, text in ipairs { "", "a", "a.b", "a.b.c", "..", "e30.e30", "e30.e30.x.y", "e30.e30.e30.e30.e30",
            "W10.e30.", "e30.W10.",
            "e30.e30.=", ("e"):rep(20000) } do
            assert.same({ nil, "not a signed token" }, { jwt.decode(text) }, text)
        end
    end)
end)

describe("a verifier", function()
    it("needs algorithms and exactly one way to verify", function()
        local message = "jwt: exactly one of 'secret', 'public_key' and 'keys' says how to verify"
        assert.has_error(function() jwt.verifier { algorithms = { "HS256" } } end, message)
        assert.has_error(function()
            jwt.verifier { algorithms = { "HS256" }, secret = SECRET, public_key = keys.rsa.public }
        end, message)
        assert.has_error(function() jwt.verifier { secret = SECRET } end)
        assert.has_error(function() jwt.verifier { algorithms = {}, secret = SECRET } end)
    end)

    it("refuses algorithms that are unknown or do not fit the key", function()
        local rows = {
            { { algorithms = { "none" }, secret = SECRET }, "unknown algorithm 'none'" },
            { { algorithms = { "HS256", "hs384" }, secret = SECRET }, "unknown algorithm 'hs384'" },
            { { algorithms = { "RS256" }, secret = SECRET }, "algorithm RS256 needs a key of kind RSA, not oct" },
            { { algorithms = { "HS256" }, public_key = keys.rsa.public },
                "algorithm HS256 needs a key of kind oct, not RSA" },
            { { algorithms = { "ES384" }, public_key = keys.p256.public },
                "algorithm ES384 needs a key of kind P-384, not P-256" },
            { { algorithms = { "RS256" }, public_key = "secret" }, "not a PEM public key" },
            { { algorithms = { "RS256" }, public_key = keys.rsa_1024_public },
                "the RSA key has 1024 bits; 2048 to 8192 are fine" },
            { { algorithms = { "HS512" }, secret = ("s"):rep(63) },
                "a secret for HS512 has at least 64 bytes (RFC 7518 3.2)" },
        }
        for _, row in ipairs(rows) do
            assert.same({ nil, row[2] }, { jwt.verifier(row[1]) })
        end
    end)

    it("never takes a public key for a secret", function()
        -- The attack: HS256 with the text of the RSA public key as the secret.
        local forged = hs256(nil, { sub = "root" }, keys.rsa.public)
        local rsa = assert(jwt.verifier { algorithms = { "RS256" }, public_key = keys.rsa.public, now = now })
        local claims, _, code = rsa:verify(forged)
        assert.is_nil(claims)
        assert.equal("algorithm", code)
        local n = "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp"
        local both = assert(jwt.verifier { algorithms = { "RS256", "HS256" }, now = now, keys = { keys = {
            { kty = "EC", crv = "P-256", kid = "1", x = "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
              y = "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0" } } } })
        claims, _, code = both:verify(hs256({ alg = "HS256", kid = "1" }, {}, n))
        assert.is_nil(claims)
        assert.equal("key", code)
    end)

    it("refuses every spelling of none", function()
        for _, name in ipairs { "none", "None", "NONE", "nOnE", "" } do
            assert.equal("algorithm", code_of(assemble({ alg = name }, { sub = "root" }, function() return "x" end)))
            assert.equal("algorithm", code_of(assemble({ alg = name }, { sub = "root" })))
        end
    end)

    it("refuses a token without a signature", function()
        assert.equal("signature", code_of(assemble({ alg = "HS256" }, { sub = "root" })))
        assert.equal("malformed", code_of("eyJhbGciOiJIUzI1NiJ9.e30"))
    end)

    it("refuses critical header fields", function()
        assert.equal("malformed", code_of(hs256({ alg = "HS256", crit = { "exp" } }, {})))
        assert.equal("malformed", code_of(hs256({ alg = "HS256", crit = { "b64" }, b64 = false }, {})))
        assert.equal("malformed", code_of(hs256({ alg = "HS256", crit = json.null }, {})))
    end)

    it("refuses malformed tokens", function()
        local good = hs256(nil, { sub = "ada" })
        local signature = good:match("[^.]+$")
        for _, token in ipairs {
            "", ".", "..", "...", "a.b.c", good .. ".", "." .. good, good .. ".x.y", good:gsub("%.", ""), good
                .. " ", " " .. good,
            good .. "=", ("a"):rep(20000) .. ".b.c", ("."):rep(1000), "\0", assemble("[]", {}), assemble("null", {}),
            assemble("1", {}), assemble('{"alg":"HS256","alg":"HS256"}', {}), assemble({ alg = 1 }, {}),
                assemble({}, {}),
            assemble({ alg = "HS256", kid = 7 }, {}), assemble(("["):rep(5000), {}), "!!!." .. signature .. "."
                .. signature,
        } do
            local code = code_of(token)
            assert.is_true(code == "malformed" or code == "signature", token .. ": " .. code)
        end
    end)

    it("refuses claims that are not an object, even signed", function()
        for _, claims in ipairs { "[]", "null", "1", '"x"', "", "{", '{"a":1,"a":2}', ("["):rep(200) } do
            assert.equal("malformed", code_of(hs256(nil, claims)), claims)
        end
    end)

    it("refuses a signature that another text means too", function()
        local token = hs256(nil, { sub = "ada" })
        -- The last character of a 32-byte MAC has two unused bits.
        local alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
        local last = alphabet:find(token:sub(-1), 1, true)
        assert.equal("signature", code_of(token:sub(1, -2) .. alphabet:sub(last + 1, last + 1)))
    end)

    it("refuses the signature of other claims", function()
        local one, two = hs256(nil, { sub = "ada" }), hs256(nil, { sub = "root" })
        local mixed = two:match("^(.*%.)") .. one:match("[^.]+$")
        assert.equal("signature", code_of(mixed))
    end)

    it("checks the issuer", function()
        assert.is_table(verifier({ issuer = "me" }):verify(hs256(nil, { iss = "me" })))
        assert.is_table(verifier({ issuer = { "you", "me" } }):verify(hs256(nil, { iss = "me" })))
        for _, iss in ipairs { "you", 7, json.null, json.array { "me" } } do
            assert.equal("issuer", code_of(hs256(nil, { iss = iss }), { issuer = "me" }))
        end
        assert.equal("issuer", code_of(hs256(nil, {}), { issuer = "me" }))
    end)

    it("checks the audience, one or several", function()
        assert.is_table(verifier({ audience = "api" }):verify(hs256(nil, { aud = "api" })))
        assert.is_table(verifier({ audience = "api" }):verify(hs256(nil, { aud = { "web", "api" } })))
        assert.is_table(verifier({ audience = { "x", "api" } }):verify(hs256(nil, { aud = { "api" } })))
        for _, aud in ipairs { "web", 7, json.null, json.array {}, { "web" }, { 7, { "api" } }, { api = "api" } } do
            assert.equal("audience", code_of(hs256(nil, { aud = aud }), { audience = "api" }))
        end
        assert.equal("audience", code_of(hs256(nil, {}), { audience = "api" }))
    end)

    it("checks exp and nbf to the second, and with a leeway", function()
        assert.is_table(verifier():verify(hs256(nil, { exp = NOW + 1 })))
        assert.equal("expired", code_of(hs256(nil, { exp = NOW })))
        assert.is_table(verifier({ leeway = 5 }):verify(hs256(nil, { exp = NOW - 4 })))
        assert.equal("expired", code_of(hs256(nil, { exp = NOW - 5 }), { leeway = 5 }))
        assert.is_table(verifier():verify(hs256(nil, { nbf = NOW })))
        assert.equal("not_yet_valid", code_of(hs256(nil, { nbf = NOW + 1 })))
        assert.is_table(verifier({ leeway = 5 }):verify(hs256(nil, { nbf = NOW + 5 })))
        assert.equal("not_yet_valid", code_of(hs256(nil, { nbf = NOW + 6 }), { leeway = 5 }))
    end)

    it("refuses times that are not numbers", function()
        for _, name in ipairs { "exp", "nbf", "iat" } do
            for _, value in ipairs { tostring(NOW + 10), true, json.null, {}, json.array {} } do
                assert.equal("claims", code_of(hs256(nil, { [name] = value })), name)
            end
        end
    end)

    it("takes the time that it is given", function()
        local token = hs256(nil, { exp = 500 })
        assert.is_table(verifier():verify(token, 499))
        assert.is_nil((verifier():verify(token, 500)))
    end)
end)

describe("a JWK set", function()
    local function public_jwk(kid, more)
        local jwk = { kty = "EC", crv = "P-256", kid = kid, x = "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
            y = "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0" }
        for name, value in pairs(more or {}) do
            jwk[name] = value
        end
        return jwk
    end

    local function secret_jwk(kid, secret, more)
        local jwk = { kty = "oct", kid = kid, k = base64.encode_url(secret) }
        for name, value in pairs(more or {}) do
            jwk[name] = value
        end
        return jwk
    end

    local ONE, TWO = ("1"):rep(32), ("2"):rep(32)

    local function set_verifier(list, algorithms)
        return jwt.verifier { algorithms = algorithms or { "HS256" }, keys = { keys = list }, now = now }
    end

    it("is read from text or a table", function()
        local set = { keys = { secret_jwk("1", ONE) } }
        for _, given in ipairs { set, json.encode(set) } do
            local made = assert(jwt.verifier { algorithms = { "HS256" }, keys = given, now = now })
            assert.is_table(made:verify(hs256({ alg = "HS256", kid = "1" }, {}, ONE)))
        end
    end)

    it("gives the key that the token names", function()
        local made = assert(set_verifier { secret_jwk("1", ONE), secret_jwk("2", TWO) })
        assert.is_table(made:verify(hs256({ alg = "HS256", kid = "1" }, {}, ONE)))
        assert.is_table(made:verify(hs256({ alg = "HS256", kid = "2" }, {}, TWO)))
        local _, _, code = made:verify(hs256({ alg = "HS256", kid = "1" }, {}, TWO))
        assert.equal("signature", code)
        _, _, code = made:verify(hs256({ alg = "HS256", kid = "3" }, {}, ONE))
        assert.equal("key", code)
    end)

    it("gives the only key that fits when the token names none", function()
        local made = assert(set_verifier({ public_jwk("1"), secret_jwk("2", TWO) }, { "HS256", "ES256" }))
        assert.is_table(made:verify(hs256(nil, {}, TWO)))
        made = assert(set_verifier { secret_jwk("1", ONE), secret_jwk("2", TWO) })
        local _, _, code = made:verify(hs256(nil, {}, TWO))
        assert.equal("key", code)
    end)

    it("binds a key to its alg", function()
        local made = assert(set_verifier({ secret_jwk("1", SECRET, { alg = "HS512" }) }, { "HS256", "HS512" }))
        local _, _, code = made:verify(hs256({ alg = "HS256", kid = "1" }, {}))
        assert.equal("key", code)
        assert.is_table(made:verify(assert(jwt.sign({}, { alg = "HS512", key = SECRET, kid = "1" }))))
    end)

    it("does not use a secret that is too short for the algorithm", function()
        local made = assert(set_verifier({ secret_jwk("1", ONE) }, { "HS256", "HS512" }))
        local token = assemble({ alg = "HS512", kid = "1" }, {}, function(input) return crypto.hmac("sha512", ONE,
            input) end)
        local _, _, code = made:verify(token)
        assert.equal("key", code)
    end)

    it("skips keys that are for something else or unknown", function()
        local foreign = {
            public_jwk("1", { use = "enc" }), public_jwk("2", { key_ops = json.array { "sign" } }), public_jwk("3",
                { alg = "ES384" }),
            public_jwk("4", { alg = "RSA-OAEP" }), public_jwk("5", { crv = "secp256k1" }), public_jwk("6",
                { x = "AAAA" }),
            public_jwk(7), { kty = "OKP", crv = "X25519", kid = "8", x = "AAAA" }, { kty = "AKP" }, {}, "x",
                json.null,
            secret_jwk("9", "short"), secret_jwk("10", ONE, { k = 7 }), public_jwk("11", { alg = { } }),
                public_jwk("12", { use = 1 }),
        }
        local made, message = set_verifier(foreign, { "ES256", "HS256" })
        assert.is_nil(made)
        assert.equal("the JWK set has no key that verifies signatures", message)
        table.insert(foreign, secret_jwk("good", ONE, { use = "sig", key_ops = { "verify" }, alg = "HS256" }))
        made = assert(set_verifier(foreign))
        assert.is_table(made:verify(hs256({ alg = "HS256", kid = "good" }, {}, ONE)))
    end)

    it("is refused when it is none, empty or too large, and never quoted", function()
        local no_set = "not a JWK set: JSON of at most 1 MiB with an array 'keys'"
        local padding = (" "):rep(1024 * 1024)
        local rows = {
            { "", no_set }, { "secret", no_set }, { "[]", no_set }, { "{}", no_set }, { '{"keys":7}', no_set },
                { {}, no_set }, { 7, no_set },
            { '{"keys":[]}' .. padding, no_set }, { ("["):rep(100000), no_set },
            { '{"keys":[]}', "the JWK set has no key that verifies signatures" },
            { '{"keys":{}}', "the JWK set has no key that verifies signatures" },
        }
        for _, row in ipairs(rows) do
            assert.same({ nil, row[2] }, { jwt.verifier { algorithms = { "HS256" }, keys = row[1] } })
        end
        local many = {}
        for i = 1, 101 do
            many[i] = secret_jwk(tostring(i), ONE)
        end
        assert.same({ nil, "the JWK set has more than 100 keys" }, { set_verifier(many) })
        many[101] = nil
        assert.is_table(set_verifier(many))
    end)

    it("with a broken member does not crash", function()
        local set = { keys = { { kty = "RSA", n = ("A"):rep(100000), e = "AQAB" }, { kty = "EC", crv = {}, x = {},
            y = {} } } }
        assert.is_nil((jwt.verifier { algorithms = { "RS256" }, keys = set }))
    end)
end)

describe("the cache of a verifier", function()
    it("gives the same claims for the same token", function()
        local made = verifier()
        local token = hs256(nil, { sub = "ada", exp = NOW + 10 })
        local first = made:verify(token)
        assert.equal(first, made:verify(token))
    end)

    it("forgets a token when it expires", function()
        local made = verifier()
        local token = hs256(nil, { exp = NOW + 10 })
        assert.is_table(made:verify(token, NOW))
        assert.is_table(made:verify(token, NOW + 9))
        local claims, _, code = made:verify(token, NOW + 10)
        assert.is_nil(claims)
        assert.equal("expired", code)
    end)

    it("still holds to nbf when the clock goes back", function()
        local made = verifier()
        local token = hs256(nil, { nbf = NOW })
        assert.is_table(made:verify(token, NOW))
        local _, _, code = made:verify(token, NOW - 1)
        assert.equal("not_yet_valid", code)
    end)

    it("never holds more than its size, and keeps what is used", function()
        local made = verifier { cache = 10 }
        local favourite = hs256(nil, { sub = "favourite" })
        local claims = made:verify(favourite)
        for i = 1, 200 do
            assert.is_table(made:verify(hs256(nil, { sub = tostring(i) })))
            assert.equal(claims, made:verify(favourite))
        end
        local held = 0
        for _ in pairs(inside(made).young) do held = held + 1 end
        for _ in pairs(inside(made).old) do held = held + 1 end
        assert.is_true(held <= 10, "it holds " .. held)
        assert.is_true(held >= 5)
    end)

    it("drops what is not used any more", function()
        local made = verifier { cache = 4 }
        local token = hs256(nil, { sub = "ada" })
        local claims = made:verify(token)
        for i = 1, 10 do
            made:verify(hs256(nil, { sub = tostring(i) }))
        end
        local again = made:verify(token)
        assert.not_equal(claims, again)
        assert.same(claims, again)
    end)

    it("holds nothing when it is off, nothing bad, and nothing large", function()
        local off = verifier { cache = 0 }
        local token = hs256(nil, { sub = "ada" })
        assert.not_equal(off:verify(token), off:verify(token))
        local made = verifier()
        made:verify(token:sub(1, -3) .. "AA")
        made:verify(hs256(nil, { exp = NOW - 1 }))
        made:verify(hs256(nil, { sub = ("x"):rep(5000) }))
        assert.is_nil(next(inside(made).young))
    end)

    it("does not remember the header of a token that nobody signed", function()
        local made = verifier()
        made:verify(assemble({ alg = "HS256", typ = "x" }, {}, function() return ("x"):rep(32) end))
        assert.is_nil(next(inside(made).headers))
        for i = 1, 100 do
            assert.is_table(made:verify(hs256({ alg = "HS256", typ = tostring(i) }, {})))
        end
        local held = 0
        for _ in pairs(inside(made).headers) do held = held + 1 end
        assert.is_true(held <= 64)
    end)
end)
