---@meta
-- Made by tools/stubs.py from the annotations in lua/perigee/. Editors read it; it is never run.
--
-- Who sent a request: `req.client.ip` (behind the trusted hops) and `req.client.port` of the connection, and what its TLS
-- agreed on (`req.client.tls`). Everything is read from the runtime when it is asked for.

---@class perigee.Client
---@field ip string
---@field port integer 0 for unix sockets
---@field tls perigee.ClientTls|nil `nil` without TLS
---@field spiffe_id string|nil `tls.peer.spiffe_id`, in one word
local Client = {}

--- What the handshake with the client agreed on.
---@class perigee.ClientTls
---@field version string such as `"TLSv1.3"`
---@field cipher string its IANA name, such as `"TLS_AES_256_GCM_SHA384"`
---@field server_name string|nil the name that the client asked for (SNI)
---@field alpn string|nil the protocol that both chose, such as `"h2"`
---@field peer perigee.ClientPeer|nil the client's verified certificate; `nil` when it showed none
local ClientTls = {}

--- Who the client's certificate says it is. The listener's `client_ca` vouches for it.
---@class perigee.ClientPeer
---@field subject string distinguished name (RFC 2253), cut at 255 bytes
---@field issuer string that of who signed it
---@field san string[] its DNS names, URIs, e-mail and IP addresses, in the order of the certificate
---@field spiffe_id string|nil its SPIFFE ID
---@field fingerprint string SHA-256 of the certificate, hex
local ClientPeer = {}
