-- SPDX-License-Identifier: MIT
--
-- Where tokens are in requests, what verifies them, and what their claims mean to the policy.

local perigee = require "perigee"

local token = {}

-- ------------------------------------------------------------------ settings

local BY_KIND = { RSA = "RS256", ["P-256"] = "ES256", ["P-384"] = "ES384", ["P-521"] = "ES512", Ed25519 = "EdDSA" }

-- The algorithms that are accepted when the configuration names none.
local function usual_algorithms(conf)
    if conf.secret then
        return { "HS256" }
    elseif conf.public_key then
        local key = perigee.crypto.public_key(conf.public_key)
        return { key and BY_KIND[key.kind] or "RS256" }
    end
    return { "RS256", "PS256", "ES256", "EdDSA" }
end

local KEYS = { "secret", "public_key", "jwks_file" }

-- The one setting that says how to verify, or nil and a message.
local function key_setting(conf)
    local found
    for _, name in ipairs(KEYS) do
        if conf[name] and found then
            return nil, "'" .. found .. "' and '" .. name .. "' are two ways to verify; use one"
        end
        found = conf[name] and name or found
    end
    return found, not found and "needs one of 'secret', 'public_key' and 'jwks_file'" or nil
end

--- What verifies tokens as the settings say; nil, a message and the setting that is wrong.
function token.verifier(conf)
    local setting, problem = key_setting(conf)
    if not setting then
        return nil, problem
    elseif conf.jwks_file and not conf.jwks_file:find("^%s*{") then
        return nil, 'is the content of a JWK set: write jwks_file = file "keys.json"', setting
    end
    local verifier, message = perigee.jwt.verifier {
        algorithms = conf.algorithms or usual_algorithms(conf),
        secret = conf.secret, public_key = conf.public_key, keys = conf.jwks_file,
        issuer = conf.issuer, audience = conf.audience, leeway = conf.leeway,
    }
    return verifier, message, setting
end

-- ------------------------------------------------------------------ requests

--- The token of a request, or nil; true as the second result when the header occurs twice: what the upstream would take for
--- the token might be the one that was not verified.
function token.find(req, header, cookie)
    local found, problem = req.headers:credentials(header, "bearer")
    if problem == "repeated" then
        return nil, true
    elseif problem == "scheme" and header ~= "authorization" then
        found = req.headers:get(header)
    end
    if not found and cookie then
        found = req.cookies:get(cookie)
    end
    return found
end

-- ------------------------------------------------------------------ claims

-- A claim as the value of a header: strings as they are, the rest as JSON. Nil when there is none, or it is null.
local function text_of(value)
    if value == nil or value == perigee.json.null or type(value) == "string" then
        return type(value) == "string" and value or nil
    end
    return perigee.json.encode(value)
end

local function has_controls(text)
    return text:find("[%z\1-\31\127]") ~= nil
end

local function find_problem(claims, required)
    for i = 1, #required do
        if text_of(claims[required[i]]) == nil then
            return "a required claim is missing"
        end
    end
    if type(claims.sub) == "string" and has_controls(claims.sub) then
        return "its subject has control characters"
    end
end

--- What claims mean: `problem`, or `consumer`, `groups` and the `values` of the headers that forward the claims `names`.
function token.read(claims, required, names)
    local problem, values = find_problem(claims, required), {}
    for i = 1, #names do
        local text = text_of(claims[names[i]])
        if text and has_controls(text) then
            problem = problem or "a claim has control characters"
        end
        values[i] = text
    end
    return {
        problem = problem,
        consumer = type(claims.sub) == "string" and claims.sub or nil,
        groups = claims.groups or claims.roles,
        values = values,
    }
end

return token
