-- SPDX-License-Identifier: MIT
--
-- Who sent a request: `req.client.ip` (behind the trusted hops) and `req.client.port` of the connection, and what its TLS
-- agreed on (`req.client.tls`). Everything is read from the runtime when it is asked for.

local ffi = require "ffi"
local slot = require "perigee._core.slot"

local C, setmetatable, error, tostring = ffi.C, setmetatable, error, tostring
local ffi_string = ffi.string
local enter = slot.enter

---@class perigee.Client
---@field ip string
---@field port integer 0 for unix sockets
---@field tls perigee.ClientTls|nil `nil` without TLS
---@field spiffe_id string|nil `tls.peer.spiffe_id`, in one word

--- What the handshake with the client agreed on.
---@class perigee.ClientTls
---@field version string such as `"TLSv1.3"`
---@field cipher string its IANA name, such as `"TLS_AES_256_GCM_SHA384"`
---@field server_name string|nil the name that the client asked for (SNI)
---@field alpn string|nil the protocol that both chose, such as `"h2"`
---@field peer perigee.ClientPeer|nil the client's verified certificate; `nil` when it showed none

--- Who the client's certificate says it is. The listener's `client_ca` vouches for it.
---@class perigee.ClientPeer
---@field subject string distinguished name (RFC 2253), cut at 255 bytes
---@field issuer string that of who signed it
---@field san string[] its DNS names, URIs, e-mail and IP addresses, in the order of the certificate
---@field spiffe_id string|nil its SPIFFE ID
---@field fingerprint string SHA-256 of the certificate, hex

local function read_text(s, which)
    return C.peri_ffi_text(s, which) ~= 0 and ffi_string(s.ptr, s.len) or nil
end

local function read_sans(s)
    local list, count = {}, 0
    while C.peri_ffi_peer_san(s, count) ~= 0 do
        count = count + 1
        list[count] = ffi_string(s.ptr, s.len)
    end
    return list
end

local function make_index(fields, others, what, names)
    return function(self, name)
        local s = enter(self)
        local which = fields[name]
        if which then
            return read_text(s, which)
        end
        local other = others[name]
        if other then
            return other(s, self)
        end
        error(what .. " has no field '" .. tostring(name) .. "'; it has " .. names, 2)
    end
end

local function refuser(what)
    return function()
        error(what .. " is read-only", 2)
    end
end

local Peer = {
    __metatable = "perigee.ClientPeer",
    __newindex = refuser "req.client.tls.peer",
    __index = make_index({
        subject = C.PERI_FFI_PEER_SUBJECT, issuer = C.PERI_FFI_PEER_ISSUER,
        spiffe_id = C.PERI_FFI_PEER_SPIFFE_ID, fingerprint = C.PERI_FFI_PEER_FINGERPRINT,
    }, { san = read_sans }, "req.client.tls.peer", "subject, issuer, san, spiffe_id and fingerprint"),
}

local Tls = {
    __metatable = "perigee.ClientTls",
    __newindex = refuser "req.client.tls",
    __index = make_index({
        version = C.PERI_FFI_TLS_VERSION, cipher = C.PERI_FFI_TLS_CIPHER,
        server_name = C.PERI_FFI_TLS_SERVER_NAME, alpn = C.PERI_FFI_TLS_ALPN,
    }, {
        peer = function(s, self)
            local has_peer = C.peri_ffi_text(s, C.PERI_FFI_PEER_FINGERPRINT) ~= 0
            return has_peer and setmetatable({ self[1], self[2] }, Peer) or nil
        end,
    }, "req.client.tls", "version, cipher, server_name, alpn and peer"),
}

local Client = { __metatable = "perigee.Client", __newindex = refuser "req.client" }

function Client.__index(self, name)
    local s = enter(self)
    if name == "ip" then
        return read_text(s, C.PERI_FFI_CLIENT_IP)
    elseif name == "port" then
        return C.peri_ffi_number(s, C.PERI_FFI_CLIENT_PORT)
    elseif name == "tls" then
        return C.peri_ffi_text(s, C.PERI_FFI_TLS_VERSION) ~= 0 and setmetatable({ self[1], self[2] }, Tls) or nil
    elseif name == "spiffe_id" then
        return read_text(s, C.PERI_FFI_PEER_SPIFFE_ID)
    end
    error("req.client has no field '" .. tostring(name) .. "'; it has ip, port, tls and spiffe_id", 2)
end

local client = {}

--- The client of the request `owner`.
function client.new(owner)
    return setmetatable({ owner[1], owner[2] }, Client)
end

return client
