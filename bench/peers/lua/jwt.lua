-- SPDX-License-Identifier: MIT
-- HS256 token and token bucket for nginx. The MAC context is made once per worker and re-armed with the key schedule it
-- holds, which is the cheapest way OpenSSL 3 has (a one-shot HMAC() costs twice as much). The bucket is a packed struct
-- in a shared dictionary, as in lua-resty-limit-traffic. Claims are read with lua-cjson where it is installed, else with
-- patterns, which is cheaper still.

local ffi = require "ffi"
local base64 = require "ngx.base64"
local has_cjson, cjson = pcall(require, "cjson.safe")

local C = ffi.C
local find, sub, match = string.find, string.sub, string.match

ffi.cdef [[
typedef struct evp_mac_st EVP_MAC;
typedef struct evp_mac_ctx_st EVP_MAC_CTX;
struct ossl_param { const char *key; unsigned data_type; const void *data; size_t data_size; size_t return_size; };
EVP_MAC *EVP_MAC_fetch(void *libctx, const char *algorithm, const char *properties);
EVP_MAC_CTX *EVP_MAC_CTX_new(EVP_MAC *mac);
int EVP_MAC_init(EVP_MAC_CTX *ctx, const char *key, size_t keylen, const struct ossl_param *params);
int EVP_MAC_update(EVP_MAC_CTX *ctx, const char *data, size_t datalen);
int EVP_MAC_final(EVP_MAC_CTX *ctx, unsigned char *out, size_t *outl, size_t outsize);
int CRYPTO_memcmp(const void *a, const void *b, size_t len);
struct bench_bucket { double tokens; double last; };
]]

local UTF8_STRING = 4
local LIMIT, BURST = 1000000, 1000000

local bucket_ptr = ffi.typeof "const struct bench_bucket *"
local bucket = ffi.new "struct bench_bucket"
local mac = ffi.new "unsigned char[64]"
local mac_len = ffi.new "size_t[1]"

local function new_context(secret)
    local params = ffi.new("struct ossl_param[2]")
    local digest = "SHA256"
    params[0].key, params[0].data_type, params[0].data, params[0].data_size = "digest", UTF8_STRING, digest, #digest
    local ctx = C.EVP_MAC_CTX_new(C.EVP_MAC_fetch(nil, "HMAC", nil))
    assert(C.EVP_MAC_init(ctx, secret, #secret, params) == 1, "HMAC")
    return ctx
end

local function read_alg(json)
    if has_cjson then
        local header = cjson.decode(json)
        return header and header.alg
    end
    return match(json, '"alg":"([^"]*)"')
end

local function read_claims(json)
    if has_cjson then
        local claims = cjson.decode(json)
        if claims then
            return claims.sub, claims.iss, claims.exp, claims.nbf
        end
        return nil
    end
    return match(json, '"sub":"([^"]*)"'), match(json, '"iss":"([^"]*)"'),
        tonumber(match(json, '"exp":(%d+)')), tonumber(match(json, '"nbf":(%d+)'))
end

local Jwt = {}
Jwt.__index = Jwt

function Jwt.new(secret)
    return setmetatable({ context = new_context(secret), buckets = ngx.shared.buckets }, Jwt)
end

function Jwt:is_signed(signing_input, signature)
    local ctx = self.context
    C.EVP_MAC_init(ctx, nil, 0, nil)
    C.EVP_MAC_update(ctx, signing_input, #signing_input)
    C.EVP_MAC_final(ctx, mac, mac_len, 64)
    return #signature == 32 and C.CRYPTO_memcmp(mac, signature, 32) == 0
end

function Jwt:verify(token)
    local dot1 = find(token, ".", 1, true)
    local dot2 = dot1 and find(token, ".", dot1 + 1, true)
    if not dot2 then
        return nil
    end
    local decode = base64.decode_base64url
    local header, payload = decode(sub(token, 1, dot1 - 1)), decode(sub(token, dot1 + 1, dot2 - 1))
    local signature = decode(sub(token, dot2 + 1))
    if not header or not payload or not signature or read_alg(header) ~= "HS256" then
        return nil
    end
    if not self:is_signed(sub(token, 1, dot2 - 1), signature) then
        return nil
    end
    local subject, issuer, expires, not_before = read_claims(payload)
    local now = ngx.time()
    if not subject or issuer ~= "bench" or not expires or expires <= now or (not_before and not_before > now) then
        return nil
    end
    return subject
end

function Jwt:take(key)
    local now, tokens = ngx.now(), BURST
    local packed = self.buckets:get(key)
    if packed then
        local old = ffi.cast(bucket_ptr, packed)
        tokens = math.min(BURST, old.tokens + (now - old.last) * LIMIT)
    end
    if tokens < 1 then
        return false
    end
    bucket.tokens, bucket.last = tokens - 1, now
    self.buckets:set(key, ffi.string(bucket, 16))
    return true
end

function Jwt:access()
    local authorization = ngx.var.http_authorization
    if not authorization or sub(authorization, 1, 7) ~= "Bearer " then
        return ngx.exit(401)
    end
    local subject = self:verify(sub(authorization, 8))
    if not subject then
        return ngx.exit(401)
    end
    if not self:take(subject) then
        return ngx.exit(429)
    end
end

return Jwt
