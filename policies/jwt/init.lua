-- SPDX-License-Identifier: MIT
--
-- Lets in requests with a good JSON Web Token (RFC 6750, RFC 7519, RFC 8725). What a token says is in `req.ctx.jwt` (read it,
-- never change it: the requests with the same token share it), its `sub` in `req.consumer`, its groups in `req.ctx.groups`.

local perigee = require "perigee"
local is_token = require("perigee.algo.token").is
local token = require "policies.jwt.token"

local ALGORITHMS = {
    "HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA",
}

local REALM = 'Bearer realm="perigee"'

local function check_header(name)
    if not is_token(name) then
        return "expected the name of a header field such as \"authorization\""
    end
end

local function check(conf)
    local _, message, setting = token.verifier(conf)
    return message, setting
end

local strings = { type = "one_of", of = { "string", { type = "list", items = "string", min = 1 } } }

local function one_or_more(doc)
    return { type = strings.type, of = strings.of, doc = doc }
end

local Jwt = perigee.policy {
    name = "jwt",
    stage = "auth",
    check = check,
    schema = {
        algorithms = {
            type = "list", items = { type = "string", enum = ALGORITHMS }, min = 1,
            doc = "The only algorithms that are accepted. Without it: HS256 for a secret, the usual one of a public "
                .. "key; RS256, PS256, ES256 and EdDSA for a JWK set.",
        },
        secret = {
            type = "string", min = 1, secret = true, doc = "Key of HS algorithms, at least as long as the digest.",
        },
        public_key = { type = "string", min = 1, doc = "Public key or certificate as PEM: `file \"key.pem\"`." },
        jwks_file = { type = "string", min = 1, secret = true, doc = "JWK set: `file \"keys.json\"`." },
        jwks_url = { type = "string", unsupported = true, doc = "Comes with a later version." },
        issuer = one_or_more("What `iss` must be, or a list of them. Without it: not looked at."),
        audience = one_or_more("What `aud` must hold, or a list of which it must hold one. Without it: not looked at."),
        leeway = { type = "duration", default = "0s", max = "1h", doc = "How far clocks may differ." },
        header = {
            type = "string", default = "authorization", check = check_header, doc = "Header that carries the token.",
        },
        cookie = { type = "string", min = 1, doc = "Cookie that may carry the token when the header does not." },
        required_claims = {
            type = "list", items = "string", doc = "Claims that must be there, such as `exp` and `sub`.",
        },
        forward_claims = {
            type = "map", values = { type = "string", check = check_header },
            doc = "Header by claim, for the upstream. What the client sends under these names is dropped.",
        },
    },
}

--- Where the token is: recordings mask it there.
function Jwt:credentials(conf)
    return { "header:" .. conf.header:lower(), conf.cookie and "cookie:" .. conf.cookie }
end

function Jwt:init()
    local conf = self.conf
    self.verifier = assert(token.verifier(conf))
    self.header, self.cookie = conf.header:lower(), conf.cookie
    self.required = conf.required_claims or {}
    self.claims, self.headers = {}, {} -- what is forwarded, and as what
    for claim, header in pairs(conf.forward_claims or {}) do
        self.claims[#self.claims + 1], self.headers[#self.headers + 1] = claim, header:lower()
    end
    self.known = setmetatable({}, { __mode = "k" }) -- what token.read made of claims
end

local function refuse(self, req, status, title, detail, challenge)
    for i = 1, #self.headers do -- a dry run goes on
        req.headers:remove(self.headers[i])
    end
    local kind = status == 400 and "urn:perigee:bad_request" or "urn:perigee:unauthorized"
    return perigee.reply(status, {
        type = kind, title = title, status = status, detail = detail, request_id = req.id,
    }, { ["content-type"] = "application/problem+json", ["www-authenticate"] = challenge })
end

local function refuse_token(self, req, message)
    return refuse(self, req, 401, "Unauthorized", "The token is refused: " .. message .. ".",
        REALM .. ', error="invalid_token", error_description="' .. message .. '"')
end

function Jwt:on_request(req)
    local text, is_ambiguous = token.find(req, self.header, self.cookie)
    if is_ambiguous then
        return refuse(self, req, 400, "Bad Request", "The request has more than one token.",
            REALM .. ', error="invalid_request", error_description="more than one token"')
    elseif not text then
        return refuse(self, req, 401, "Unauthorized", "The request needs a token.", REALM)
    end
    local claims, message = self.verifier:verify(text)
    if not claims then
        return refuse_token(self, req, message)
    end
    local known = self.known[claims]
    if not known then
        known = token.read(claims, self.required, self.claims)
        self.known[claims] = known
    end
    if known.problem then
        return refuse_token(self, req, known.problem)
    end
    local ctx, headers = req.ctx, req.headers
    req.consumer, ctx.jwt, ctx.groups = known.consumer, claims, known.groups
    for i = 1, #self.headers do
        headers:set(self.headers[i], known.values[i])
    end
end

return Jwt
