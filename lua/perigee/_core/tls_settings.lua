-- SPDX-License-Identifier: MIT
--
-- TLS of listeners and upstreams: their settings, and their normalised form. Files are named here and read by C, from the same
-- snapshot as everything else.

local tls_settings = {}

local function file(doc, fields)
    local field = { type = "string", min = 1, doc = doc }
    for name, value in pairs(fields or {}) do
        field[name] = value
    end
    return field
end

local PROTOCOLS = { "h2", "http/1.1" }

local MIN_VERSION = {
    type = "string", enum = { "1.2", "1.3" }, default = "1.2", doc = "The oldest version that is spoken.",
}

local certificate = {
    type = "table",
    fields = {
        cert = file("PEM file: the certificate, then its chain.", { required = true }),
        key = file("PEM file of its key.", { required = true }),
        ocsp = file "DER file of an OCSP response to staple.",
        hosts = {
            type = "list", items = { type = "string", min = 1, max = 253 }, min = 1, max = 64,
            doc = 'Server names it is shown for, exact or `"*.suffix"`. Without it: the DNS names in it.',
        },
    },
}

local function check_listener(tls)
    if tls.cert and tls.certificates then
        return "needs either cert and key, or certificates"
    elseif not tls.cert and not tls.key and not tls.certificates and not tls.directory then
        return "needs cert and key, certificates, or a directory with them"
    elseif (tls.cert == nil) ~= (tls.key == nil) then
        return "cert and key go together"
    elseif tls.client_auth ~= "none" and tls.client_ca == nil then
        return "client_auth needs client_ca: whom client certificates must come from"
    elseif tls.client_auth == "none" and tls.client_ca ~= nil then
        return 'client_ca is of no use while client_auth is "none"'
    end
    return nil
end

local listener = {
    type = "table", check = check_listener,
    fields = {
        cert = file "PEM file: the certificate, then its chain.",
        key = file "PEM file of its key.",
        ocsp = file "DER file of an OCSP response to staple.",
        certificates = {
            type = "list", items = certificate, min = 1, max = 256,
            doc = "Several certificates, chosen by server name; the first is shown to everybody else. Those of the "
                .. "same names with different kinds of key stand side by side.",
        },
        directory = file("Folder of certificates that another program writes, such as an ACME client: `NAME.crt` or "
            .. "`NAME.pem` with `NAME.key`, and folders with `fullchain.pem` and `privkey.pem`. Each is shown for the "
            .. "DNS names in it; those named above come first, then these in the order of their names."),
        client_ca = file "PEM file: whom client certificates must come from.",
        client_auth = {
            type = "string", enum = { "none", "optional", "require" }, default = "none",
            doc = "Whether clients are asked for a certificate.",
        },
        min_version = MIN_VERSION,
        alpn = {
            type = "list", items = { type = "string", enum = { "h2", "http/1.1" } }, min = 1, max = 2,
            default = PROTOCOLS, doc = "Protocols that are offered.",
        },
    },
}

--- TLS of a listener.
tls_settings.listener = {
    type = "one_of", of = { { type = "string", enum = { "dev" } }, listener },
    doc = 'TLS with the clients. Certificates are read again at every reload. `"dev"`: with a certificate for '
        .. "localhost that `perigee dev` makes; nothing else serves it.",
}

local function check_upstream(tls)
    if (tls.cert == nil) ~= (tls.key == nil) then
        return "cert and key go together"
    elseif not tls.verify and (tls.ca or tls.san) then
        return "ca and san are of no use without verify"
    end
    return nil
end

--- TLS of an upstream.
tls_settings.upstream = {
    type = "table", check = check_upstream,
    fields = {
        verify = { type = "boolean", default = true, doc = "`false`: believe any server. For tests only." },
        ca = file "PEM file: whom the servers' certificates must come from. Without it: the system's authorities.",
        sni = {
            type = "string", min = 1, max = 253,
            doc = "Name that is asked for and expected. Without it: the host of the address.",
        },
        san = {
            type = "list", items = { type = "string", min = 1, max = 2048 }, min = 1, max = 64,
            doc = "Names (DNS or URI, such as a SPIFFE ID) of which the certificate must carry one, in place of `sni`.",
        },
        cert = file "PEM file: the certificate to show when asked, then its chain.",
        key = file "PEM file of its key.",
        min_version = MIN_VERSION,
    },
    doc = "TLS with the servers; `{}` is enough.",
}

--- The normalised form of a listener's TLS.
---@param tls table|string|nil
---@param is_tcp boolean it passes TCP on: no protocol is offered
---@return table|nil
function tls_settings.write_listener(tls, is_tcp)
    if tls == "dev" then
        return { dev = true, client_auth = "none", min_version = "1.2", alpn = not is_tcp and PROTOCOLS or nil }
    end
    return tls and {
        certificates = tls.certificates or tls.cert and { { cert = tls.cert, key = tls.key, ocsp = tls.ocsp } } or nil,
        directory = tls.directory,
        client_ca = tls.client_ca,
        client_auth = tls.client_auth,
        min_version = tls.min_version,
        alpn = not is_tcp and tls.alpn or nil,
    }
end

return tls_settings
