-- SPDX-License-Identifier: MIT
--
-- TLS as a test says it was agreed on. There is no TLS in memory: connections begin behind the handshake, with the facts that it
-- would have brought; or they carry a ClientHello, for listeners that look at it and pass it on.

local misuse = require "perigee.test._core.misuse"

local tls = {}

---@class perigee.test.Tls what the handshake agreed on
---@field version? string "TLSv1.3"
---@field cipher? string "TLS_AES_128_GCM_SHA256"
---@field server_name? string what the client asked for
---@field alpn? string the protocol that both chose; requests are HTTP/1.1 all the same
---@field peer? perigee.test.Peer the client's certificate

---@class perigee.test.Peer
---@field subject? string "CN=client"
---@field issuer? string "CN=authority"
---@field san? string[] its names
---@field spiffe_id? string also put into `san`
---@field fingerprint? string 64 hex digits

---@class perigee.test.Hello what a client's TLS asks for
---@field server_name? string
---@field alpn? string[]

local STRINGS = { version = "string", cipher = "string", server_name = "string", alpn = "string", peer = "table" }
local PEER = { subject = "string", issuer = "string", san = "table", spiffe_id = "string", fingerprint = "string" }
local HELLO = { server_name = "string", alpn = "table" }

local function check(what, value, known)
    misuse.check(what .. " is a table", value, "table")
    for name, field in pairs(value) do
        if not known[name] then
            misuse.raise(what .. " has no '" .. tostring(name) .. "'")
        end
        misuse.check(what .. "." .. name .. " is a " .. known[name], field, known[name])
    end
end

local function check_list(what, list, longest)
    for i, text in ipairs(list or {}) do
        misuse.check(what .. "[" .. i .. "] is a string", text, "string")
        if #text == 0 or #text > longest then
            misuse.raise(what .. "[" .. i .. "] is " .. (#text == 0 and "empty" or "too long"))
        end
    end
end

local function names_of(peer)
    local names = { unpack(peer.san or {}) }
    for _, name in ipairs(names) do
        if name == peer.spiffe_id then
            return names
        end
    end
    if peer.spiffe_id then
        table.insert(names, 1, peer.spiffe_id)
    end
    return names
end

--- The facts as C reads them: texts with a zero byte behind each, the names of the certificate last.
---@param facts perigee.test.Tls|true
---@return string
function tls.pack(facts)
    facts = facts == true and {} or facts
    check("tls", facts, STRINGS)
    local peer = facts.peer
    check("tls.peer", peer or {}, PEER)
    check_list("tls.peer.san", peer and peer.san, 2048)
    local texts = {
        facts.version or "TLSv1.3", facts.cipher or "TLS_AES_128_GCM_SHA256", facts.alpn or "", facts.server_name or "",
        peer and (peer.subject or "CN=client") or "", peer and (peer.issuer or "CN=authority") or "",
        peer and peer.spiffe_id or "", peer and (peer.fingerprint or ("0"):rep(64)) or "",
    }
    for _, name in ipairs(peer and names_of(peer) or {}) do
        texts[#texts + 1] = name
    end
    for _, text in ipairs(texts) do
        if text:find("%z") then
            misuse.raise "tls: a text has a zero byte in it"
        end
    end
    return table.concat(texts, "\0") .. "\0\0"
end

-- ---------------------------------------------------------------- ClientHello

local function number(value, size)
    local bytes = ""
    for _ = 1, size do
        bytes = string.char(value % 256) .. bytes
        value = math.floor(value / 256)
    end
    return bytes
end

local function vector(size, text)
    return number(#text, size) .. text
end

local function extension(kind, text)
    return number(kind, 2) .. vector(2, text)
end

--- The first bytes of a client that speaks TLS 1.3 (RFC 8446 4.1.2).
---@param wanted perigee.test.Hello
---@return string
function tls.hello(wanted)
    check("hello", wanted, HELLO)
    check_list("hello.alpn", wanted.alpn, 255)
    local extensions = extension(43, vector(1, "\3\4")) -- supported versions
    if wanted.server_name then
        extensions = extensions .. extension(0, vector(2, "\0" .. vector(2, wanted.server_name)))
    end
    if wanted.alpn then
        local names = ""
        for _, name in ipairs(wanted.alpn) do
            names = names .. vector(1, name)
        end
        extensions = extensions .. extension(16, vector(2, names))
    end
    local head = "\3\3" .. ("r"):rep(32) .. vector(1, "") -- version, random, session
    local body = head .. vector(2, "\19\1") .. vector(1, "\0") .. vector(2, extensions)
    return "\22\3\1" .. vector(2, "\1" .. vector(3, body))
end

return tls
