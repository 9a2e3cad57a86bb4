---@meta
-- Made by tools/stubs.py from the annotations in lua/perigee/. Editors read it; it is never run.
--
-- perigee.jwt: signed JSON Web Tokens (RFC 7519 over RFC 7515, with the advice of RFC 8725). The algorithms are fixed by whoever
-- verifies, never by the token; each works with one kind of key. `none`, `crit` and encrypted tokens are refused.
--
-- A policy makes a verifier once and calls it for each request. What a token costs there: a table lookup when it was verified
-- before, otherwise two base64 decodings, a MAC or a signature, and the JSON of the claims.

---@class perigee.JwtOptions
---@field algorithms string[] HS, RS, PS, ES with 256, 384 or 512, and EdDSA: the only ones that are accepted
---@field secret? string for HS algorithms: at least as long as the digest
---@field public_key? string|perigee.Key PEM
---@field keys? string|table a JWK set, as text or decoded
---@field issuer? string|string[] what `iss` must be (one of)
---@field audience? string|string[] what `aud` must hold (one of)
---@field leeway? number seconds that clocks may differ; 0 by default
---@field cache? integer verified tokens to remember; 1000 by default, 0 for none
---@field now? fun(): number the clock; perigee.time.now by default
local JwtOptions = {}

---@class perigee.JwtVerifier
local JwtVerifier = {}

---@class perigee.JwtSignOptions
---@field alg string
---@field key string|perigee.Key the secret for HS algorithms; otherwise a private key, as PEM or from crypto.private_key
---@field kid? string names the key in the header
local JwtSignOptions = {}

---@class perigee.jwt.module
local jwt = {}

--- Takes a token apart without verifying anything.
---@param token string
---@return table|nil header nil when it is not a signed token
---@return table|string claims or message
---@return string|nil signing_input
---@return string|nil signature raw bytes
function jwt.decode(token) end

--- Prepares keys and checks for many tokens. Nil and a message when a key cannot be read or does not fit an algorithm.
---@param options perigee.JwtOptions
---@return perigee.JwtVerifier|nil
---@return string|nil message
function jwt.verifier(options) end

--- Verifies one token. Prepares the keys each time: where many tokens come, keep a jwt.verifier.
---@param token string
---@param options perigee.JwtOptions
---@return table|nil claims
---@return string|nil message
---@return string|nil code as for verifier:verify, or "key" when the options cannot be used
function jwt.verify(token, options) end

--- A token with these claims.
---@param claims table
---@param options perigee.JwtSignOptions
---@return string|nil token
---@return string|nil message
function jwt.sign(claims, options) end

return jwt
