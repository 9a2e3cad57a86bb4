-- SPDX-License-Identifier: MIT
--
-- perigee.jwt: signed JSON Web Tokens (RFC 7519 over RFC 7515, with the advice of RFC 8725). The algorithms are fixed by whoever
-- verifies, never by the token; each works with one kind of key. `none`, `crit` and encrypted tokens are refused.
--
-- A policy makes a verifier once and calls it for each request. What a token costs there: a table lookup when it was verified
-- before, otherwise two base64 decodings, a MAC or a signature, and the JSON of the claims.

local ffi = require "ffi"
local base64 = require "perigee.base64"
local crypto = require "perigee.crypto"
local json = require "perigee.json"
local jose = require "perigee._core.jose"
local jwks = require "perigee._core.jwks"
local object = require "perigee._core.object"
local scratch = require "perigee._core.scratch"
local time = require "perigee.time"

local C, ffi_string, cast, tonumber, type = ffi.C, ffi.string, ffi.cast, tonumber, type
local find, sub, is_array = string.find, string.sub, json.is_array
local inside = object.inside

local TOKEN_MAX = 16384         -- bytes of a token that is looked at
local CACHED_TOKEN_MAX = 4096   -- bytes of a token that is remembered
local HEADERS_MAX = 64          -- headers of good tokens that are remembered
local CACHE = 1000
local HUGE = math.huge

local jwt = {}

local signature = ffi.new("char[?]", TOKEN_MAX)

-- ------------------------------------------------------------------ taking tokens apart

-- Positions of the two dots, or nil.
local function find_dots(token)
    if #token > TOKEN_MAX then
        return nil
    end
    local first = find(token, ".", 1, true)
    local second = first and find(token, ".", first + 1, true)
    if not second or find(token, ".", second + 1, true) then
        return nil
    end
    return first, second
end

-- The JSON object in the base64url text token[from … to].
local function decode_object(token, from, to)
    local len = to - from + 1
    if len <= 0 then
        return nil
    end
    local out = scratch(len)
    local size = tonumber(C.peri_ffi_base64_decode(cast("const char *", token) + (from - 1), len, 1, out))
    if size < 0 then
        return nil
    end
    local value = json.decode(ffi_string(out, size))
    if type(value) ~= "table" or is_array(value) then
        return nil
    end
    return value
end

--- Takes a token apart without verifying anything.
---@param token string
---@return table|nil header nil when it is not a signed token
---@return table|string claims or message
---@return string|nil signing_input
---@return string|nil signature raw bytes
function jwt.decode(token)
    local first, second = find_dots(token)
    local header = first and decode_object(token, 1, first - 1)
    local claims = header and decode_object(token, first + 1, second - 1)
    local raw = claims and base64.decode_url(sub(token, second + 1))
    if not raw then
        return nil, "not a signed token"
    end
    return header, claims, sub(token, 1, second - 1), raw
end

-- ------------------------------------------------------------------ making verifiers

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

---@class perigee.JwtVerifier
local Verifier, new_verifier = object.class "perigee.JwtVerifier"

local function read_algorithms(names)
    if type(names) ~= "table" or #names == 0 then
        error("jwt: 'algorithms' names the accepted algorithms, such as { \"RS256\" }", 3)
    end
    local accepted = {}
    for i = 1, #names do
        local algorithm = jose[names[i]]
        if not algorithm then
            return nil, "unknown algorithm '" .. tostring(names[i]) .. "'"
        end
        accepted[names[i]] = algorithm
    end
    return accepted
end

local function problem_of_static(key, algorithms)
    for name, algorithm in pairs(algorithms) do
        if algorithm.kind ~= key.kind then
            return "algorithm " .. name .. " needs a key of kind " .. algorithm.kind .. ", not " .. key.kind
        elseif key.macs and not key.macs[name] then
            return "a secret for " .. name .. " has at least " .. algorithm.size .. " bytes (RFC 7518 3.2)"
        end
    end
end

local function read_static(options, algorithms)
    local key
    if options.secret then
        key = jwks.from_secret(options.secret)
    else
        local public, refusal = options.public_key, nil
        if type(public) == "string" then
            public, refusal = crypto.public_key(public)
        end
        if not public then
            return nil, refusal
        end
        key = jwks.from_key(public)
    end
    local problem = problem_of_static(key, algorithms)
    if problem then
        return nil, problem
    end
    return key
end

local function read_keys(this, options)
    local given = (options.secret and 1 or 0) + (options.public_key and 1 or 0) + (options.keys and 1 or 0)
    if given ~= 1 then
        error("jwt: exactly one of 'secret', 'public_key' and 'keys' says how to verify", 3)
    end
    local problem
    if options.keys then
        this.keys, problem = jwks.parse(options.keys)
    else
        this.key, problem = read_static(options, this.algorithms)
    end
    return problem
end

-- A set of the strings that are accepted, or nil when anything is.
local function accepted_set(value)
    if value == nil then
        return nil
    end
    local set = {}
    for _, item in ipairs(type(value) == "table" and value or { value }) do
        set[item] = true
    end
    return set
end

--- Prepares keys and checks for many tokens. Nil and a message when a key cannot be read or does not fit an algorithm.
---@param options perigee.JwtOptions
---@return perigee.JwtVerifier|nil
---@return string|nil message
function jwt.verifier(options)
    local this = {}
    local problem
    this.algorithms, problem = read_algorithms(options.algorithms)
    problem = problem or read_keys(this, options)
    if problem then
        return nil, problem
    end
    this.issuers, this.audiences = accepted_set(options.issuer), accepted_set(options.audience)
    this.leeway = options.leeway or 0
    this.now = options.now or time.now
    this.half = math.ceil((options.cache or CACHE) / 2)
    this.young, this.old, this.count = {}, {}, 0
    this.headers, this.header_count = {}, 0
    return new_verifier(this)
end

-- ------------------------------------------------------------------ keys for tokens

-- The one key of the set that the token means: by `kid`, or the only one that fits.
local function find_key(this, kid, alg, kind)
    local found
    for i = 1, #this.keys do
        local key = this.keys[i]
        local fits = key.kind == kind and (key.alg == nil or key.alg == alg) and (not key.macs or key.macs[alg] ~= nil)
        if fits and kid ~= nil and key.kid == kid then
            return key
        elseif fits and kid == nil then
            if found then
                return nil
            end
            found = key
        end
    end
    return found
end

-- What verifying a token with this header takes: { algorithm, handle }.
local function read_header(this, token, last)
    local header = decode_object(token, 1, last)
    if not header or type(header.alg) ~= "string" or (header.kid ~= nil and type(header.kid) ~= "string") then
        return nil, "not a signed token", "malformed"
    end
    local algorithm = this.algorithms[header.alg]
    if not algorithm then
        return nil, "the token's algorithm is not accepted", "algorithm"
    elseif header.crit ~= nil then
        return nil, "the token has critical header fields", "malformed"
    end
    local key = this.key or find_key(this, header.kid, header.alg, algorithm.kind)
    if not key or key.kind ~= algorithm.kind then
        return nil, "no key fits the token", "key"
    end
    return { algorithm = algorithm, handle = inside(key.macs and key.macs[header.alg] or key.key).handle }
end

-- Headers of good tokens are remembered by their text; an attacker cannot fill the table without a key.
local function remember_header(this, text, header)
    if this.header_count >= HEADERS_MAX then
        this.headers, this.header_count = {}, 0
    end
    this.headers[text] = header
    this.header_count = this.header_count + 1
end

local function is_signed(header, token, last)
    local text_len = #token - last - 1
    local len = tonumber(C.peri_ffi_base64_decode(cast("const char *", token) + (last + 1), text_len, 1, signature))
    if len <= 0 then
        return false
    end
    local algorithm = header.algorithm
    if algorithm.kind == "oct" then
        return C.peri_ffi_hmac_verify(header.handle, token, last, signature, len) == 1
    end
    return C.peri_ffi_key_verify(header.handle, algorithm.scheme, algorithm.digest, token, last, signature, len) == 1
end

-- ------------------------------------------------------------------ claims

local function is_number_or_nil(value)
    return value == nil or type(value) == "number"
end

local function has_audience(accepted, aud)
    if type(aud) == "string" then
        return accepted[aud] ~= nil
    elseif is_array(aud) then
        for i = 1, #aud do
            if type(aud[i]) == "string" and accepted[aud[i]] then
                return true
            end
        end
    end
    return false
end

-- What does not depend on the time.
local function check_claims(this, claims)
    if not (is_number_or_nil(claims.exp) and is_number_or_nil(claims.nbf) and is_number_or_nil(claims.iat)) then
        return "a time in the token is not a number", "claims"
    elseif this.issuers and not (type(claims.iss) == "string" and this.issuers[claims.iss]) then
        return "the token's issuer is not accepted", "issuer"
    elseif this.audiences and not has_audience(this.audiences, claims.aud) then
        return "the token is for another audience", "audience"
    end
end

-- ------------------------------------------------------------------ remembered tokens

-- Two generations: lookups move a token to the young one; when that is half the cache, it becomes the old one and the old one
-- is dropped. Costs no list and no clock.
local function remember(this, token, entry)
    if this.count >= this.half then
        this.old, this.young, this.count = this.young, {}, 0
    end
    this.young[token] = entry
    this.count = this.count + 1
end

local function check_times(entry, now)
    if now >= entry.expires then
        return nil, "the token has expired", "expired"
    elseif now < entry.begins then
        return nil, "the token is not valid yet", "not_yet_valid"
    end
    return entry.claims
end

local function find_header(this, token, text)
    local header = this.headers[text]
    if header then
        return header
    end
    return read_header(this, token, #text)
end

local function verify_new(this, token)
    local first, second = find_dots(token)
    if not first then
        return nil, "not a signed token", "malformed"
    end
    local text = sub(token, 1, first - 1)
    local header, problem, code = find_header(this, token, text)
    if not header then
        return nil, problem, code
    elseif not is_signed(header, token, second - 1) then
        return nil, "the signature is not good", "signature"
    elseif not this.headers[text] then
        remember_header(this, text, header)
    end
    local claims = decode_object(token, first + 1, second - 1)
    if not claims then
        return nil, "the claims are not a JSON object", "malformed"
    end
    problem, code = check_claims(this, claims)
    if problem then
        return nil, problem, code
    end
    return {
        claims = claims,
        expires = claims.exp and claims.exp + this.leeway or HUGE,
        begins = claims.nbf and claims.nbf - this.leeway or -HUGE,
    }
end

--- The claims of a token whose signature, times, issuer and audience are good. They are shared by all requests with the same
--- token: read them, never change them. On failure nil, a message for people, and a code: "malformed", "algorithm", "key",
--- "signature", "claims", "issuer", "audience", "expired" or "not_yet_valid".
---@param token string
---@param now? number seconds since 1970; the verifier's clock by default
---@return table|nil claims
---@return string|nil message
---@return string|nil code
function Verifier:verify(token, now)
    local this = inside(self)
    now = now or this.now()
    local entry = this.young[token]
    if entry then
        return check_times(entry, now)
    end
    entry = this.old[token]
    if entry then
        remember(this, token, entry)
        return check_times(entry, now)
    end
    local message, code
    entry, message, code = verify_new(this, token)
    if not entry then
        return nil, message, code
    end
    if this.half > 0 and #token <= CACHED_TOKEN_MAX and now < entry.expires then
        remember(this, token, entry)
    end
    return check_times(entry, now)
end

--- Verifies one token. Prepares the keys each time: where many tokens come, keep a jwt.verifier.
---@param token string
---@param options perigee.JwtOptions
---@return table|nil claims
---@return string|nil message
---@return string|nil code as for verifier:verify, or "key" when the options cannot be used
function jwt.verify(token, options)
    local verifier, problem = jwt.verifier(options)
    if not verifier then
        return nil, problem, "key"
    end
    return verifier:verify(token)
end

-- ------------------------------------------------------------------ signing

---@class perigee.JwtSignOptions
---@field alg string
---@field key string|perigee.Key the secret for HS algorithms; otherwise a private key, as PEM or from crypto.private_key
---@field kid? string names the key in the header

local function sign_input(input, algorithm, name, key)
    if algorithm.kind == "oct" then
        if type(key) ~= "string" or #key < algorithm.size then
            return nil, "a secret for " .. name .. " has at least " .. algorithm.size .. " bytes (RFC 7518 3.2)"
        end
        return crypto.hmac(algorithm.hash, key, input)
    end
    local problem
    if type(key) == "string" then
        key, problem = crypto.private_key(key)
    end
    if not key then
        return nil, problem or "no key"
    end
    return key:sign(name, input)
end

--- A token with these claims.
---@param claims table
---@param options perigee.JwtSignOptions
---@return string|nil token
---@return string|nil message
function jwt.sign(claims, options)
    local algorithm = jose[options.alg]
    if not algorithm then
        return nil, "unknown algorithm '" .. tostring(options.alg) .. "'"
    end
    local text, problem = json.encode(claims)
    if not text then
        return nil, problem
    end
    local header = json.encode { alg = options.alg, typ = "JWT", kid = options.kid }
    local input = base64.encode_url(header) .. "." .. base64.encode_url(text)
    local raw
    raw, problem = sign_input(input, algorithm, options.alg, options.key)
    if not raw then
        return nil, problem
    end
    return input .. "." .. base64.encode_url(raw)
end

return jwt
