-- SPDX-License-Identifier: MIT
--
-- The signature algorithms of JOSE by name (RFC 7518 3.1, RFC 8037). `kind` is the one kind of key an algorithm works with:
-- keys and algorithms meet only through it, so a public key can never serve as an HMAC secret (RFC 8725 2.1).

local ffi = require "ffi"

local C = ffi.C

---@class perigee.JoseAlgorithm
---@field kind "oct"|"RSA"|"P-256"|"P-384"|"P-521"|"Ed25519"
---@field scheme integer|nil PERI_FFI_SIGN_*; nil for HMAC
---@field digest integer PERI_FFI_SHA*
---@field hash string|nil name of an HMAC's digest
---@field size integer|nil least bytes of an HMAC secret (RFC 7518 3.2)

---@type table<string, perigee.JoseAlgorithm>
local algorithms = { EdDSA = { kind = "Ed25519", scheme = C.PERI_FFI_SIGN_EDDSA, digest = 0 } }

local DIGESTS = { [256] = C.PERI_FFI_SHA256, [384] = C.PERI_FFI_SHA384, [512] = C.PERI_FFI_SHA512 }
local CURVES = { [256] = "P-256", [384] = "P-384", [512] = "P-521" }

for bits, digest in pairs(DIGESTS) do
    algorithms["HS" .. bits] = { kind = "oct", digest = digest, hash = "sha" .. bits, size = bits / 8 }
    algorithms["RS" .. bits] = { kind = "RSA", digest = digest, scheme = C.PERI_FFI_SIGN_PKCS1 }
    algorithms["PS" .. bits] = { kind = "RSA", digest = digest, scheme = C.PERI_FFI_SIGN_PSS }
    algorithms["ES" .. bits] = { kind = CURVES[bits], digest = digest, scheme = C.PERI_FFI_SIGN_ECDSA }
end

return algorithms
