-- SPDX-License-Identifier: MIT
--
-- The keys that a verifier may use: one from the configuration, or a JWK set (RFC 7517). A key is bound to its kind, and to its
-- `alg` when the set names one. Knows nothing of tokens.

local base64 = require "perigee.base64"
local crypto = require "perigee.crypto"
local json = require "perigee.json"
local jose = require "perigee._core.jose"

local TEXT_MAX = 1024 * 1024
local KEYS_MAX = 100

local jwks = {}

---@class perigee.VerifyKey
---@field kind string as in perigee._core.jose
---@field alg string|nil the only algorithm the key may be used with
---@field kid string|nil
---@field key perigee.Key|nil for signatures
---@field macs table<string, perigee.HmacKey>|nil by algorithm, for secrets that are long enough

--- A secret, prepared for those of the HMAC algorithms that it is long enough for.
---@param secret string
---@return perigee.VerifyKey
function jwks.from_secret(secret)
    local macs = {}
    for name, algorithm in pairs(jose) do
        if algorithm.kind == "oct" and #secret >= algorithm.size then
            macs[name] = crypto.hmac_key(algorithm.hash, secret)
        end
    end
    return { kind = "oct", macs = macs }
end

---@param key perigee.Key
---@return perigee.VerifyKey
function jwks.from_key(key)
    return { kind = key.kind, key = key }
end

local function contains(list, wanted)
    for i = 1, #list do
        if list[i] == wanted then
            return true
        end
    end
    return false
end

-- Is the key meant for verifying signatures with an algorithm that we know (RFC 7517 4.2 to 4.4)?
local function is_for_us(jwk)
    return (jwk.use == nil or jwk.use == "sig")
        and (jwk.alg == nil or jose[jwk.alg] ~= nil)
        and (jwk.kid == nil or type(jwk.kid) == "string")
        and (jwk.key_ops == nil or (type(jwk.key_ops) == "table" and contains(jwk.key_ops, "verify")))
end

local function read_key(jwk)
    if jwk.kty == "oct" then
        local secret = type(jwk.k) == "string" and base64.decode_url(jwk.k)
        local found = secret and jwks.from_secret(secret)
        return found and next(found.macs) and found
    end
    local key = crypto.jwk(jwk)
    return key and jwks.from_key(key)
end

--- The usable keys of a JWK set. Keys of other kinds or for other uses are skipped (RFC 7517 5); a set without any usable key
--- is refused, and so is one of more than 1 MiB or 100 keys.
---@param set string|table JSON text or the decoded object
---@return perigee.VerifyKey[]|nil
---@return string|nil message never quotes the set
function jwks.parse(set)
    if type(set) == "string" then
        set = json.decode(set, TEXT_MAX)
    end
    local list = type(set) == "table" and set.keys
    if type(list) ~= "table" then
        return nil, "not a JWK set: JSON of at most 1 MiB with an array 'keys'"
    elseif #list > KEYS_MAX then
        return nil, "the JWK set has more than " .. KEYS_MAX .. " keys"
    end
    local found = {}
    for i = 1, #list do
        local jwk = list[i]
        local key = type(jwk) == "table" and is_for_us(jwk) and read_key(jwk)
        if key and (jwk.alg == nil or jose[jwk.alg].kind == key.kind) then
            key.alg, key.kid = jwk.alg, jwk.kid
            found[#found + 1] = key
        end
    end
    if #found == 0 then
        return nil, "the JWK set has no key that verifies signatures"
    end
    return found
end

return jwks
