-- SPDX-License-Identifier: MIT

local base64 = require "perigee.base64"
local crypto = require "perigee.crypto"
local keys = require "spec.support.keys"

local hex, unhex = crypto.to_hex, crypto.from_hex

-- RFC 7520 3.3, 3.1 and 4: the key of "bilbo.baggins@hobbiton.example".
local COOKBOOK_RSA = {
    kty = "RSA",
    n = "n4EPtAOCc9AlkeQHPzHStgAbgs7bTZLwUBZdR8_KuKPEHLd4rHVTeT-O-XV2jRojdNhxJWTDvNd7nqQ0VEiZQHz_AJmSCpMaJMRBSF"
        .. "KrKb2wqVwGU_NsYOYL-QtiWN2lbzcEe6XC0dApr5ydQLrHqkHHig3RBordaZ6Aj-oBHqFEHYpPe7Tpe-OfVfHd1E6cS6M1FZcD1"
        .. "NNLYD5lFHpPI9bTwJlsde3uhGqC0ZCuEHg8lhzwOHrtIQbS0FVbb9k3-tVTU4fg_3L_vniUFAKwuCLqKnS2BYwdq_mzSnbLY7h_"
        .. "qixoR7jig3__kRhuaxwUkRz5iaiQkqgc5gHdrNP5zw",
    e = "AQAB",
}
local COOKBOOK_EC = {
    kty = "EC", crv = "P-521",
    x = "AHKZLLOsCOzz5cY97ewNUajB957y-C-U88c3v13nmGZx6sYl_oJXu9A5RkTKqjqvjyekWF-7ytDyRXYgCF5cj0Kt",
    y = "AdymlHvOiLxXkEhayXQnNCvDX4h9htZaCJN34kfmC6pV5OhQHiraVySsUdaQkAgDPrwQrJmbnX9cwlGfP-HqHZR1",
}
local COOKBOOK_PAYLOAD = "SXTigJlzIGEgZGFuZ2Vyb3VzIGJ1c2luZXNzLCBGcm9kbywgZ29pbmcgb3V0IHlvdXIgZG9vci4gWW91IHN0Z"
    .. "XAgb250byB0aGUgcm9hZCwgYW5kIGlmIHlvdSBkb24ndCBrZWVwIHlvdXIgZmVldCwgdGhlcmXigJlzIG5vIGtub3dpbmcgd2hlcmUg"
    .. "eW91IG1pZ2h0IGJlIHN3ZXB0IG9mZiB0by4"

describe("crypto.hash", function()
    it("gives the digests of FIPS 180-4", function()
        assert.equal("a9993e364706816aba3e25717850c26c9cd0d89d", hex(crypto.hash("sha1", "abc")))
        assert.equal("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", hex(crypto.hash("sha256",
            "abc")))
        assert.equal("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", hex(crypto.hash("sha256", "")))
        assert.equal("cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed8086072ba1e7cc2358baeca134c825a7",
            hex(crypto.hash("sha384", "abc")))
        assert.equal("ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a"
            .. "3feebbd454d4423643ce80e2a9ac94fa54ca49f", hex(crypto.hash("sha512", "abc")))
    end)

    it("raises an error for an unknown digest", function()
        assert.has_error(function() crypto.hash("md5", "x") end,
            "unknown digest 'md5'; there are sha1, sha256, sha384 and sha512")
    end)
end)

describe("crypto.hmac", function()
    it("gives the MACs of RFC 4231", function()
        local key, data = ("\11"):rep(20), "Hi There"
        assert.equal("b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7", hex(crypto.hmac("sha256",
            key, data)))
        assert.equal("afd03944d84895626b0825f4ab46907f15f9dadbe4101ec682aa034c7cebc59cfaea9ea9076ede7f4af152e8b2fa9cb6",
            hex(crypto.hmac("sha384", key, data)))
        assert.equal("87aa7cdea5ef619d4ff0b4241a1d6cb02379f4e2ce4ec2787ad0b30545e17cdedaa833b7d6b8a702038b274ea"
            .. "ea3f4e4be9d914eeb61f1702e696c203a126854", hex(crypto.hmac("sha512", key,
            data)))
        assert.equal("60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
            hex(crypto.hmac("sha256", ("\170"):rep(131), "Test Using Larger Than Block-Size Key - Hash Key First")))
        assert.equal("b617318655057264e28bc0b6fb378c8ef146be00", hex(crypto.hmac("sha1", key, data)))
    end)

    it("does not mix up keys that alternate", function()
        local one, two = crypto.hmac("sha256", "one", "x"), crypto.hmac("sha256", "two", "x")
        assert.not_equal(one, two)
        assert.equal(one, crypto.hmac("sha256", "one", "x"))
        assert.not_equal(one, crypto.hmac("sha1", "one", "x"))
    end)

    it("takes an empty key and empty data", function()
        assert.equal("b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad", hex(crypto.hmac("sha256",
            "", "")))
    end)

    it("keeps a prepared key usable for any number of MACs", function()
        local key = crypto.hmac_key("sha256", "Jefe")
        local wanted = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        for _ = 1, 3 do
            assert.equal(wanted, hex(key:compute "what do ya want for nothing?"))
        end
    end)

    it("verifies whole MACs only", function()
        local key = crypto.hmac_key("sha256", "k")
        local mac = key:compute "data"
        assert.is_true(key:verify("data", mac))
        assert.is_false(key:verify("date", mac))
        assert.is_false(key:verify("data", mac:sub(1, 31)))
        assert.is_false(key:verify("data", mac .. "\0"))
        assert.is_false(key:verify("data", ""))
        assert.is_false(key:verify("data", "\0" .. mac:sub(2)))
    end)

    it("raises an error instead of crashing when a method gets another table", function()
        local key = crypto.hmac_key("sha256", "k")
        assert.has_error(function() key.compute({}, "data") end)
        assert.has_error(function() key.verify({}, "data", "mac") end)
    end)
end)

describe("crypto bytes", function()
    it("are random, and as many as asked", function()
        assert.equal("", crypto.random(0))
        local seen = {}
        for _ = 1, 100 do
            local bytes = crypto.random(16)
            assert.equal(16, #bytes)
            assert.is_nil(seen[bytes])
            seen[bytes] = true
        end
        assert.equal(65536, #crypto.random(65536))
        assert.has_error(function() crypto.random(65537) end)
        assert.has_error(function() crypto.random(-1) end)
    end)

    it("are compared whole", function()
        assert.is_true(crypto.equal("abc", "abc"))
        assert.is_true(crypto.equal("", ""))
        assert.is_false(crypto.equal("abc", "abd"))
        assert.is_false(crypto.equal("abc", "ab"))
        assert.is_false(crypto.equal("a\0b", "a\0c"))
    end)

    it("become hex and come back", function()
        assert.equal("00ff10", hex "\0\255\16")
        assert.equal("\0\255\16", unhex "00Ff10")
        for _, text in ipairs { "0", "zz", "0x10", " 00" } do
            assert.same({ nil, "not hex" }, { unhex(text) })
        end
    end)
end)

describe("signatures", function()
    local function cookbook(header, signature)
        return header .. "." .. COOKBOOK_PAYLOAD, base64.decode_url(signature)
    end

    it("verify RS256 as in RFC 7520 4.1", function()
        local input, signature = cookbook("eyJhbGciOiJSUzI1NiIsImtpZCI6ImJpbGJvLmJhZ2dpbnNAaG9iYml0b24uZXhhbXBsZSJ9",
            "MRjdkly7_-oTPTS3AXP41iQIGKa80A0ZmTuV5MEaHoxnW2e5CZ5NlKtainoFmKZopdHM1O2U4mwzJdQx996ivp83xuglII7PND"
                .. "i84wnB-BDkoBwA78185hX-Es4JIwmDLJK3lfWRa-XtL0RnltuYv746iYTh_qHRD68BNt1uSNCrUCTJDt5aAE6x8wW1K"
                .. "t9eRo4QPocSadnHXFxnt8Is9UzpERV0ePPQdLuW3IS_de3xyIrDaLGdjluPxUAhb6L2aXic1U12podGU0KLUQSE_oI-"
                .. "ZnmKJ3F4uOZDnd6QZWJushZ41Axf_fcIe8u9ipH84ogoree7vjbU5y18kDquDg")
        local key = assert(crypto.jwk(COOKBOOK_RSA))
        assert.is_true(key:verify("RS256", input, signature))
        assert.is_false(key:verify("RS256", input .. "x", signature))
        assert.is_false(key:verify("RS384", input, signature))
        assert.is_false(key:verify("PS256", input, signature))
        assert.is_true(key:verify("RS256", input, signature))
    end)

    it("verify PS384 as in RFC 7520 4.2", function()
        local input, signature = cookbook("eyJhbGciOiJQUzM4NCIsImtpZCI6ImJpbGJvLmJhZ2dpbnNAaG9iYml0b24uZXhhbXBsZSJ9",
            "cu22eBqkYDKgIlTpzDXGvaFfz6WGoz7fUDcfT0kkOy42miAh2qyBzk1xEsnk2IpN6-tPid6VrklHkqsGqDqHCdP6O8TTB5dDDI"
                .. "tllVo6_1OLPpcbUrhiUSMxbbXUvdvWXzg-UD8biiReQFlfz28zGWVsdiNAUf8ZnyPEgVFn442ZdNqiVJRmBqrYRXe8P"
                .. "_ijQ7p8Vdz0TTrxUeT3lm8d9shnr2lfJT8ImUjvAA2Xez2Mlp8cBE5awDzT0qI0n6uiP1aCN_2_jLAeQTlqRHtfa64Q"
                .. "QSUmFAAjVKPbByi7xho0uTOcbH510a6GYmJUAfmWjwZ6oD4ifKo8DYM-X72Eaw")
        local key = assert(crypto.jwk(COOKBOOK_RSA))
        assert.is_true(key:verify("PS384", input, signature))
        assert.is_false(key:verify("PS512", input, signature))
        assert.is_false(key:verify("RS384", input, signature))
    end)

    it("verify ES512 as in RFC 7520 4.3", function()
        local input, signature = cookbook("eyJhbGciOiJFUzUxMiIsImtpZCI6ImJpbGJvLmJhZ2dpbnNAaG9iYml0b24uZXhhbXBsZSJ9",
            "AE_R_YZCChjn4791jSQCrdPZCNYqHXCTZH0-JZGYNlaAjP2kqaluUIIUnC9qvbu9Plon7KRTzoNEuT4Va2cmL1eJAQy3mtPBu_"
                .. "u_sDDyYjnAMDxXPn7XrT0lw-kvAD890jl8e2puQens_IEKBpHABlsbEPX6sFY8OcGDqoRuBomu9xQ2")
        local key = assert(crypto.jwk(COOKBOOK_EC))
        assert.equal("P-521", key.kind)
        assert.is_true(key:verify("ES512", input, signature))
        assert.is_false(key:verify("ES512", input .. "x", signature))
        assert.is_false(key:verify("ES256", input, signature))
    end)

    it("verify ES512 as in RFC 7515 A.4", function()
        local key = assert(crypto.jwk {
            kty = "EC", crv = "P-521",
            x = "AekpBQ8ST8a8VcfVOTNl353vSrDCLLJXmPk06wTjxrrjcBpXp5EOnYG_NjFZ6OvLFV1jSfS9tsz4qUxcWceqwQGk",
            y = "ADSmRA43Z1DSNx_RvcLI87cdL07l6jQyyBXMoxVg_l2Th-x3S1WDhjDly79ajL4Kkd0AZMaZmh9ubmf63e3kyMj2",
        })
        assert.is_true(key:verify("ES512", "eyJhbGciOiJFUzUxMiJ9.UGF5bG9hZA", base64.decode_url(
            "AdwMgeerwtHoh-l192l60hp9wAHZFVJbLfD_UxMi70cwnZOYaRI1bKPWROc-mZZqwqT2SI-KGDKB34XO0aw_7XdtAG8GaSwFKd"
                .. "CAPZgoXD2YBJZCPEX3xKpRwcdOO8KpEHwJjyqOgzDO7iKvU8vcnwNrmxYbSW9ERBXukOXolLzeO_Jn")))
    end)

    it("verify EdDSA as in RFC 8037 A.4", function()
        local key = assert(crypto.jwk { kty = "OKP", crv = "Ed25519", x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcH"
            .. "URo" })
        local input = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc"
        local signature = base64.decode_url(
            "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg")
        assert.is_true(key:verify("EdDSA", input, signature))
        assert.is_false(key:verify("EdDSA", input .. "x", signature))
        assert.is_false(key:verify("EdDSA", input, signature:sub(1, 63)))
        assert.is_false(key:verify("ES256", input, signature))
    end)

    local pairs_of_keys = {
        { "rsa", { "RS256", "RS384", "RS512", "PS256", "PS384", "PS512" } },
        { "p256", { "ES256" } }, { "p384", { "ES384" } }, { "p521", { "ES512" } }, { "ed25519", { "EdDSA" } },
    }

    it("of RSA are as long as the key, also where they begin with a zero", function()
        local public = assert(crypto.public_key(keys.rsa.public))
        local signature = base64.decode_url(
            "AOy7lM_REor9D3umsw7iaFK1V69pi07x5jO7sdDeIXPoB4iRNmTOCeaduzWop3rSsECn9u_3qsztbgZdYfUyxDkrcNZVeHuo"
            .. "y3hby4PugDA1irN7efnvke1VP6E-Pg-_HPGN9END1E5c4tu1LQDtCSYGzOM8yUFt_F-XP3oKyBPzXgpJhRsyIMvHxEHztUx_"
            .. "VnvX6jqIaGVfpa7GB0b4EJ5riPt9OFoW9PnNh0nInhSS6EVWTSk3K4ekdcopmytKOkVozZw_kcya3nGrdxWR25ytezZ6ivdG"
            .. "NUjgk3hd1ZcF3zjnNWI3kjnMt2w-tKPQ5VhN7jszn75jxF4g-T2ofA")
        assert.is_true(public:verify("PS256", "data", signature))
        assert.is_false(public:verify("PS256", "data", signature:sub(2)))
        assert.is_false(public:verify("PS256", "data", "\0" .. signature))
    end)

    it("go from a private key to its public key, for every algorithm, and nowhere else", function()
        for _, row in ipairs(pairs_of_keys) do
            local private = assert(crypto.private_key(keys[row[1]].private))
            local public = assert(crypto.public_key(keys[row[1]].public))
            for _, algorithm in ipairs(row[2]) do
                local signature = assert(private:sign(algorithm, "data"))
                assert.is_true(public:verify(algorithm, "data", signature), algorithm)
                assert.is_true(private:verify(algorithm, "data", signature), algorithm)
                assert.is_false(public:verify(algorithm, "date", signature), algorithm)
                assert.is_false(public:verify(algorithm, "data", signature .. "\0"), algorithm)
                assert.is_false(public:verify(algorithm, "data", signature:sub(2)), algorithm)
                assert.is_false(public:verify(algorithm, "data", ""), algorithm)
            end
        end
    end)

    it("are refused when key and algorithm do not fit", function()
        for _, row in ipairs(pairs_of_keys) do
            local private = assert(crypto.private_key(keys[row[1]].private))
            for _, other in ipairs(pairs_of_keys) do
                for _, algorithm in ipairs(other[2]) do
                    if other ~= row then
                        assert.same({ nil, "the key cannot sign with " .. algorithm }, { private:sign(algorithm,
                            "data") })
                        assert.is_false(private:verify(algorithm, "data", ("x"):rep(64)))
                    end
                end
            end
        end
    end)

    it("are not made by a public key", function()
        local public = assert(crypto.public_key(keys.p256.public))
        assert.same({ nil, "the key cannot sign with ES256" }, { public:sign("ES256", "data") })
    end)

    it("of ECDSA have the fixed length of JOSE, and DER is refused", function()
        local private = assert(crypto.private_key(keys.p256.private))
        for _ = 1, 20 do
            assert.equal(64, #private:sign("ES256", "data"))
        end
        assert.equal(96, #assert(crypto.private_key(keys.p384.private)):sign("ES384", "data"))
        assert.equal(132, #assert(crypto.private_key(keys.p521.private)):sign("ES512", "data"))
        assert.is_false(private:verify("ES256", "data", "\48\6\2\1\1\2\1\1"))
    end)

    it("of zeros are refused (CVE-2022-21449)", function()
        local public = assert(crypto.public_key(keys.p256.public))
        assert.is_false(public:verify("ES256", "data", ("\0"):rep(64)))
        assert.is_false(public:verify("ES256", "data", ("\0"):rep(31) .. "\1" .. ("\0"):rep(31) .. "\1"))
        assert.is_false(public:verify("ES256", "data", ("\255"):rep(64)))
    end)

    it("name no algorithm that is unknown or not for signing", function()
        local public = assert(crypto.public_key(keys.rsa.public))
        for _, name in ipairs { "none", "HS256", "ES256K", "RS1", "" } do
            assert.has_error(function() public:verify(name, "data", "x") end, "unknown signature algorithm '"
                .. name .. "'")
        end
    end)

    it("can be written as functions of the key", function()
        local private = assert(crypto.private_key(keys.ed25519.private))
        local signature = crypto.sign(private, "EdDSA", "data")
        assert.is_true(crypto.verify(private, "EdDSA", "data", signature))
        assert.has_error(function() crypto.verify({}, "EdDSA", "data", signature) end)
    end)
end)

describe("keys", function()
    it("can be read from a certificate", function()
        local key = assert(crypto.public_key(keys.p256_certificate))
        local signature = assert(crypto.private_key(keys.p256.private)):sign("ES256", "data")
        assert.equal("P-256", key.kind)
        assert.is_true(key:verify("ES256", "data", signature))
    end)

    it("are refused when they are not PEM of the right kind", function()
        for _, text in ipairs { "", "secret", keys.p256.private,
            "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----",
            keys.p256.public:sub(1, 100), ("x"):rep(100000) } do
            local key, message = crypto.public_key(text)
            assert.is_nil(key)
            assert.equal("not a PEM public key", message)
        end
        for _, text in ipairs { keys.p256.public, keys.encrypted_private, "" } do
            local key, message = crypto.private_key(text)
            assert.is_nil(key)
            assert.equal("not a PEM private key without a passphrase", message)
        end
    end)

    it("are refused when they are too small or of an unknown curve", function()
        assert.same({ nil, "the RSA key has 1024 bits; 2048 to 8192 are fine" },
            { crypto.public_key(keys.rsa_1024_public) })
        assert.same({ nil, "the key is not RSA, EC P-256, P-384 or P-521, or Ed25519" },
            { crypto.public_key(keys.secp256k1_public) })
    end)

    it("of a JWK are refused when a member is missing, malformed or not on the curve", function()
        local n, x = COOKBOOK_RSA.n, COOKBOOK_EC.x
        local bad = {
            { kty = "RSA", n = n }, { kty = "RSA", e = "AQAB" }, { kty = "RSA", n = n, e = "AQ" }, { kty = "RSA",
                n = n, e = "" },
            { kty = "RSA", n = "AQAB", e = "AQAB" }, { kty = "RSA", n = 7, e = "AQAB" }, { kty = "RSA", n = n .. "=",
                e = "AQAB" },
            { kty = "EC", crv = "P-521", x = x, y = x }, { kty = "EC", crv = "P-256", x = x, y = COOKBOOK_EC.y },
            { kty = "EC", crv = "P-521", x = x }, { kty = "EC", crv = "secp256k1", x = x, y = x }, { kty = "EC",
                x = x, y = x },
            { kty = "OKP", crv = "Ed25519", x = "AAAA" }, { kty = "OKP", crv = "X25519", x = x }, { kty = "OKP",
                crv = "Ed25519" },
            { kty = "oct", k = "AAAA" }, { kty = {} }, {},
        }
        for i, jwk in ipairs(bad) do
            local key, message = crypto.jwk(jwk)
            assert.is_nil(key, "row " .. i)
            assert.is_string(message)
        end
    end)
end)

describe("crypto.password", function()
    it("verifies what it hashed and nothing else", function()
        local hash = crypto.password.hash("lovelace", 1000)
        assert.matches("^%$pbkdf2%-sha256%$i=1000%$[%w+/]+%$[%w+/]+$", hash)
        assert.is_true(crypto.password.verify("lovelace", hash))
        assert.is_false(crypto.password.verify("Lovelace", hash))
        assert.is_false(crypto.password.verify("", hash))
        assert.not_equal(hash, crypto.password.hash("lovelace", 1000))
    end)

    it("takes 30000 iterations when nothing is said", function()
        assert.matches("%$i=30000%$", crypto.password.hash "x")
    end)

    it("reads a hash made elsewhere", function()
        -- python3: hashlib.pbkdf2_hmac("sha256", b"password", b"saltsaltsalt", 1000)
        local hash = "$pbkdf2-sha256$i=1000$c2FsdHNhbHRzYWx0$sYIePhT5IXESDKvnouJXtE5pTJ6Znbmef4vViYmc9Uc"
        assert.is_true(crypto.password.verify("password", hash))
    end)

    it("refuses hashes of another form with the reason, without hashing", function()
        local good = crypto.password.hash("x", 1)
        local forms = {
            "", "x", "$apr1$abc$def", "$pbkdf2-sha256$1000$c2FsdA$aGFzaA", good .. "$", good:gsub("i=1", "i=-1"),
                good .. "=",
            good:gsub("sha256", "sha1"), good:sub(1, -2),
        }
        for _, hash in ipairs(forms) do
            local is_good, message = crypto.password.verify("x", hash)
            assert.is_false(is_good, hash)
            assert.is_string(message, hash)
            assert.equal(message, crypto.password.problem(hash))
        end
        assert.is_nil(crypto.password.problem(good))
        assert.equal("the hash has 1000000000 iterations; 1 to 300000 are fine",
            crypto.password.problem((good:gsub("i=1", "i=1000000000"))))
        assert.equal("the salt has 8 to 64 bytes, the hash 32", crypto.password.problem("$pbkdf2-sha256$i=1$AAAA$AAAA"))
    end)

    it("raises an error for a count of iterations out of bounds", function()
        assert.has_error(function() crypto.password.hash("x", 0) end)
        assert.has_error(function() crypto.password.hash("x", 300001) end)
    end)
end)
