-- SPDX-License-Identifier: MIT
--
-- perigee.crypto: digests, MACs, signatures, random bytes and password hashes, on OpenSSL. Everything takes and gives raw bytes;
-- `to_hex` and perigee.base64 make text of them. Keys are prepared once (in a module or in init), never per request.

local ffi = require "ffi"
local base64 = require "perigee.base64"
local jose = require "perigee._core.jose"
local object = require "perigee._core.object"
local scratch = require "perigee._core.scratch"

local C, ffi_string, tonumber = ffi.C, ffi.string, tonumber
local inside = object.inside

local DIGESTS = {
    sha1 = C.PERI_FFI_SHA1, sha256 = C.PERI_FFI_SHA256, sha384 = C.PERI_FFI_SHA384, sha512 = C.PERI_FFI_SHA512,
}
local RANDOM_MAX = 65536

local crypto = {}

local message = ffi.new("char[256]")

local function find_digest(name)
    local digest = DIGESTS[name]
    if not digest then
        error("unknown digest '" .. tostring(name) .. "'; there are sha1, sha256, sha384 and sha512", 3)
    end
    return digest
end

-- ------------------------------------------------------------------ digests and MACs

--- Digest of `data` by "sha1", "sha256", "sha384" or "sha512".
---@param algorithm string
---@param data string
---@return string digest raw bytes
function crypto.hash(algorithm, data)
    local digest, out = find_digest(algorithm), scratch(C.PERI_FFI_DIGEST_MAX)
    local len = C.peri_ffi_digest(digest, data, #data, out)
    assert(len > 0, "the digest failed")
    return ffi_string(out, len)
end

---@class perigee.HmacKey
local HmacKey, new_hmac_key = object.class "perigee.HmacKey"

--- A prepared HMAC key: several times cheaper per MAC than crypto.hmac with a key that changes.
---@param algorithm string
---@param key string
---@return perigee.HmacKey
function crypto.hmac_key(algorithm, key)
    local handle = C.peri_ffi_hmac_new(find_digest(algorithm), key, #key)
    assert(handle ~= nil, "the HMAC key could not be set up")
    return new_hmac_key { handle = ffi.gc(handle, C.peri_ffi_hmac_free) }
end

--- MAC of `data`.
---@param data string
---@return string mac raw bytes
function HmacKey:compute(data)
    local out = scratch(C.PERI_FFI_DIGEST_MAX)
    local len = C.peri_ffi_hmac_compute(inside(self).handle, data, #data, out)
    assert(len > 0, "the HMAC failed")
    return ffi_string(out, len)
end

--- Is `mac` the whole MAC of `data`? Compares in constant time.
---@param data string
---@param mac string
---@return boolean
function HmacKey:verify(data, mac)
    return C.peri_ffi_hmac_verify(inside(self).handle, data, #data, mac, #mac) == 1
end

-- The last key of each algorithm, prepared: a caller nearly always has one.
local last_keys, last_prepared = {}, {}

--- HMAC of `data` (RFC 2104).
---@param algorithm string
---@param key string
---@param data string
---@return string mac raw bytes
function crypto.hmac(algorithm, key, data)
    if last_keys[algorithm] ~= key then
        last_prepared[algorithm] = crypto.hmac_key(algorithm, key)
        last_keys[algorithm] = key
    end
    return last_prepared[algorithm]:compute(data)
end

-- ------------------------------------------------------------------ signatures

local KINDS = {
    [C.PERI_FFI_KEY_RSA] = "RSA", [C.PERI_FFI_KEY_P256] = "P-256", [C.PERI_FFI_KEY_P384] = "P-384",
    [C.PERI_FFI_KEY_P521] = "P-521", [C.PERI_FFI_KEY_ED25519] = "Ed25519",
}

---@class perigee.Key
---@field kind "RSA"|"P-256"|"P-384"|"P-521"|"Ed25519"
local Key, new_key_object = object.class "perigee.Key"

local function find_algorithm(name)
    local algorithm = jose[name]
    if not algorithm or not algorithm.scheme then
        error("unknown signature algorithm '" .. tostring(name) .. "'", 3)
    end
    return algorithm
end

local function new_key(handle)
    if handle == nil then
        return nil, ffi_string(message)
    end
    local kind = KINDS[C.peri_ffi_key_kind(handle)]
    return new_key_object { handle = ffi.gc(handle, C.peri_ffi_key_free), public = { kind = kind } }
end

--- A key that verifies, from PEM: a public key or a certificate (whose dates are not looked at).
---@param pem string
---@return perigee.Key|nil
---@return string|nil message
function crypto.public_key(pem)
    return new_key(C.peri_ffi_key_from_pem(pem, #pem, 0, message, ffi.sizeof(message)))
end

--- A key that signs and verifies, from PEM without a passphrase.
---@param pem string
---@return perigee.Key|nil
---@return string|nil message
function crypto.private_key(pem)
    return new_key(C.peri_ffi_key_from_pem(pem, #pem, 1, message, ffi.sizeof(message)))
end

local CURVES = { ["P-256"] = C.PERI_FFI_KEY_P256, ["P-384"] = C.PERI_FFI_KEY_P384, ["P-521"] = C.PERI_FFI_KEY_P521 }

local function members_of(jwk)
    if jwk.kty == "RSA" then
        return C.PERI_FFI_KEY_RSA, jwk.n, jwk.e
    elseif jwk.kty == "EC" then
        return CURVES[jwk.crv], jwk.x, jwk.y
    elseif jwk.kty == "OKP" and jwk.crv == "Ed25519" then
        return C.PERI_FFI_KEY_ED25519, jwk.x, ""
    end
end

--- A key that verifies, from the public members of a JWK (RFC 7517): RSA, EC P-256, P-384 and P-521, OKP Ed25519.
---@param jwk table
---@return perigee.Key|nil
---@return string|nil message
function crypto.jwk(jwk)
    local kind, a, b = members_of(jwk)
    if not kind then
        return nil, "the key is not RSA, EC P-256, P-384 or P-521, or OKP Ed25519"
    end
    a = type(a) == "string" and base64.decode_url(a)
    b = type(b) == "string" and base64.decode_url(b)
    if not a or not b then
        return nil, "a member of the key is missing or not base64url"
    end
    return new_key(C.peri_ffi_key_from_jwk(kind, a, #a, b, #b, message, ffi.sizeof(message)))
end

--- Is `signature` good for `data`? Algorithms by their JOSE names: RS, PS, ES with 256, 384, 512, and EdDSA; ECDSA signatures are
--- r || s. False when key and algorithm do not fit.
---@param algorithm string
---@param data string
---@param signature string raw bytes
---@return boolean
function Key:verify(algorithm, data, signature)
    local how = find_algorithm(algorithm)
    return C.peri_ffi_key_verify(inside(self).handle, how.scheme, how.digest, data, #data, signature, #signature) == 1
end

--- Signs `data`. Nil and a message when key and algorithm do not fit, or the key is public.
---@param algorithm string
---@param data string
---@return string|nil signature raw bytes
---@return string|nil message
function Key:sign(algorithm, data)
    local how, out = find_algorithm(algorithm), scratch(C.PERI_FFI_SIGNATURE_MAX)
    local len = C.peri_ffi_key_sign(inside(self).handle, how.scheme, how.digest, data, #data, out)
    if len < 0 then
        return nil, "the key cannot sign with " .. algorithm
    end
    return ffi_string(out, len)
end

--- key:sign(algorithm, data).
---@param key perigee.Key
---@param algorithm string
---@param data string
---@return string|nil signature
---@return string|nil message
function crypto.sign(key, algorithm, data)
    return Key.sign(key, algorithm, data)
end

--- key:verify(algorithm, data, signature).
---@param key perigee.Key
---@param algorithm string
---@param data string
---@param signature string
---@return boolean
function crypto.verify(key, algorithm, data, signature)
    return Key.verify(key, algorithm, data, signature)
end

-- ------------------------------------------------------------------ bytes

--- `count` random bytes (at most 65536), fit for keys and tokens.
---@param count integer
---@return string
function crypto.random(count)
    if type(count) ~= "number" or not (count >= 0 and count <= RANDOM_MAX) then
        error("crypto.random gives 0 to 65536 bytes", 2)
    end
    local out = scratch(count)
    assert(C.peri_ffi_random(out, count) == 0, "the system gives no random bytes")
    return ffi_string(out, count)
end

--- Same bytes? The time depends on the length only; strings of different length are told apart at once.
---@param a string
---@param b string
---@return boolean
function crypto.equal(a, b)
    return #a == #b and C.peri_ffi_equal(a, b, #a) == 1
end

--- Lower-case hex.
---@param data string
---@return string
function crypto.to_hex(data)
    local out = scratch(2 * #data)
    C.peri_ffi_hex_encode(data, #data, out)
    return ffi_string(out, 2 * #data)
end

--- The bytes of hex text in either case.
---@param text string
---@return string|nil data
---@return string|nil message
function crypto.from_hex(text)
    local out = scratch(#text)
    local len = tonumber(C.peri_ffi_hex_decode(text, #text, out))
    if len < 0 then
        return nil, "not hex"
    end
    return ffi_string(out, len)
end

-- ------------------------------------------------------------------ passwords

-- A hash is "$pbkdf2-sha256$i=ITERATIONS$SALT$HASH", salt and hash in standard base64 without padding (the PHC form). It is
-- computed in the worker, which serves nobody else meanwhile: at the default a guess costs a few milliseconds, at the bound
-- about a tenth of a second. So a password store of many users belongs behind a service of its own, and policies remember what
-- they verified. One way to make a hash outside of Perigee:
--
--   python3 -c 'import base64,getpass,hashlib,os; s=os.urandom(16); p=getpass.getpass().encode()
--   b=lambda x: base64.b64encode(x).decode().rstrip("="); h=hashlib.pbkdf2_hmac("sha256",p,s,30000)
--   print("$pbkdf2-sha256$i=30000$%s$%s" % (b(s),b(h)))'

local password = {}
crypto.password = password

local ITERATIONS, ITERATIONS_MAX = 30000, 300000
local SALT_MIN, SALT_MAX, HASH_LEN = 8, 64, 32

local function derive(plain, salt, iterations)
    local out = ffi.new("char[?]", HASH_LEN)
    local status = C.peri_ffi_pbkdf2(plain, #plain, salt, #salt, iterations, out, HASH_LEN)
    assert(status == 0, "PBKDF2 failed")
    return ffi_string(out, HASH_LEN)
end

local function strip(text)
    return (text:gsub("=+$", ""))
end

local function unstrip(text)
    return base64.decode(text .. ("="):rep(-#text % 4))
end

local function parse_hash(hash)
    local iterations, salt, digest = hash:match("^%$pbkdf2%-sha256%$i=(%d+)%$([%w+/]+)%$([%w+/]+)$")
    iterations = tonumber(iterations)
    salt, digest = salt and unstrip(salt), digest and unstrip(digest)
    if not (iterations and salt and digest) then
        return nil, "not a hash of the form $pbkdf2-sha256$i=30000$salt$hash"
    elseif iterations < 1 or iterations > ITERATIONS_MAX then
        return nil, "the hash has " .. iterations .. " iterations; 1 to " .. ITERATIONS_MAX .. " are fine"
    elseif #salt < SALT_MIN or #salt > SALT_MAX or #digest ~= HASH_LEN then
        return nil, "the salt has 8 to 64 bytes, the hash 32"
    end
    return iterations, salt, digest
end

--- Salted hash of a password: PBKDF2 with HMAC-SHA256, as a line of text.
---@param plain string
---@param iterations? integer 30000 by default, at most 300000
---@return string
function password.hash(plain, iterations)
    iterations = iterations or ITERATIONS
    if type(iterations) ~= "number" or not (iterations >= 1 and iterations <= ITERATIONS_MAX) then
        error("a password hash has 1 to 300000 iterations", 2)
    end
    local salt = crypto.random(16)
    local digest = derive(plain, salt, iterations)
    return "$pbkdf2-sha256$i=" .. iterations .. "$" .. strip(base64.encode(salt)) .. "$" .. strip(base64.encode(digest))
end

--- Nil when `hash` is of the form that password.verify reads, otherwise what is wrong with it.
---@param hash string
---@return string|nil message
function password.problem(hash)
    local iterations, refusal = parse_hash(hash)
    return not iterations and refusal or nil
end

--- Is `plain` the password of `hash`? False and a message when the hash cannot be read.
---@param plain string
---@param hash string
---@return boolean
---@return string|nil message
function password.verify(plain, hash)
    local iterations, salt, digest = parse_hash(hash)
    if not iterations then
        return false, salt
    end
    return crypto.equal(derive(plain, salt, iterations), digest)
end

return crypto
