---@meta
-- Made by tools/stubs.py from the annotations in lua/perigee/. Editors read it; it is never run.
--
-- perigee.crypto: digests, MACs, signatures, random bytes and password hashes, on OpenSSL. Everything takes and gives raw bytes;
-- `to_hex` and perigee.base64 make text of them. Keys are prepared once (in a module or in init), never per request.

---@class perigee.HmacKey
local HmacKey = {}

--- MAC of `data`.
---@param data string
---@return string mac raw bytes
function HmacKey:compute(data) end

--- Is `mac` the whole MAC of `data`? Compares in constant time.
---@param data string
---@param mac string
---@return boolean
function HmacKey:verify(data, mac) end

---@class perigee.Key
---@field kind "RSA"|"P-256"|"P-384"|"P-521"|"Ed25519"
local Key = {}

---@class perigee.crypto.module
local crypto = {}
crypto.password = {}

--- Digest of `data` by "sha1", "sha256", "sha384" or "sha512".
---@param algorithm string
---@param data string
---@return string digest raw bytes
function crypto.hash(algorithm, data) end

--- A prepared HMAC key: several times cheaper per MAC than crypto.hmac with a key that changes.
---@param algorithm string
---@param key string
---@return perigee.HmacKey
function crypto.hmac_key(algorithm, key) end

--- HMAC of `data` (RFC 2104).
---@param algorithm string
---@param key string
---@param data string
---@return string mac raw bytes
function crypto.hmac(algorithm, key, data) end

--- A key that verifies, from PEM: a public key or a certificate (whose dates are not looked at).
---@param pem string
---@return perigee.Key|nil
---@return string|nil message
function crypto.public_key(pem) end

--- A key that signs and verifies, from PEM without a passphrase.
---@param pem string
---@return perigee.Key|nil
---@return string|nil message
function crypto.private_key(pem) end

--- A key that verifies, from the public members of a JWK (RFC 7517): RSA, EC P-256, P-384 and P-521, OKP Ed25519.
---@param jwk table
---@return perigee.Key|nil
---@return string|nil message
function crypto.jwk(jwk) end

--- key:sign(algorithm, data).
---@param key perigee.Key
---@param algorithm string
---@param data string
---@return string|nil signature
---@return string|nil message
function crypto.sign(key, algorithm, data) end

--- key:verify(algorithm, data, signature).
---@param key perigee.Key
---@param algorithm string
---@param data string
---@param signature string
---@return boolean
function crypto.verify(key, algorithm, data, signature) end

--- `count` random bytes (at most 65536), fit for keys and tokens.
---@param count integer
---@return string
function crypto.random(count) end

--- Same bytes? The time depends on the length only; strings of different length are told apart at once.
---@param a string
---@param b string
---@return boolean
function crypto.equal(a, b) end

--- Lower-case hex.
---@param data string
---@return string
function crypto.to_hex(data) end

--- The bytes of hex text in either case.
---@param text string
---@return string|nil data
---@return string|nil message
function crypto.from_hex(text) end

--- Salted hash of a password: PBKDF2 with HMAC-SHA256, as a line of text.
---@param plain string
---@param iterations? integer 30000 by default, at most 300000
---@return string
function crypto.password.hash(plain, iterations) end

--- Nil when `hash` is of the form that password.verify reads, otherwise what is wrong with it.
---@param hash string
---@return string|nil message
function crypto.password.problem(hash) end

--- Is `plain` the password of `hash`? False and a message when the hash cannot be read.
---@param plain string
---@param hash string
---@return boolean
---@return string|nil message
function crypto.password.verify(plain, hash) end

return crypto
