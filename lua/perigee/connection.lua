-- SPDX-License-Identifier: MIT
--
-- A connection that a tcp listener is about to pass on, as on_connect(conn) sees it: before the first byte goes anywhere.

local setmetatable, error, type, tostring = setmetatable, error, type, tostring

---@class perigee.Connection
---@field client { ip: string|nil, port: integer } who connects; without an ip over a unix socket
---@field listener string address of the listener
---@field server_name string|nil name that the client's TLS asks for, where the listener has `sni` or `tls`
---@field alpn string[]|nil protocols that the client's TLS offers, most wanted first, where the listener has `sni` and no `tls`
---@field upstream string|nil set it to the name of the upstream that gets the connection

local connection = {}

-- What is known of each connection; policies reach nothing but the fields above.
local facts_of = setmetatable({}, { __mode = "k" })
local READ_ONLY = { client = true, listener = true, server_name = true, alpn = true }

local Client = { __metatable = "perigee.Connection.client" }

function Client.__index(self, name)
    if name == "ip" or name == "port" then
        return facts_of[self][name]
    end
    error("conn.client has no field '" .. tostring(name) .. "'; it has ip and port", 2)
end

function Client.__newindex()
    error("conn.client is read-only", 2)
end

local Connection = { __metatable = "perigee.Connection" }

function Connection.__index(self, name)
    if READ_ONLY[name] or name == "upstream" then
        return facts_of[self][name]
    end
    error("conn has no field '" .. tostring(name) .. "'; it has client, listener, server_name, alpn and upstream", 2)
end

function Connection.__newindex(self, name, value)
    if name ~= "upstream" then
        error("of conn only 'upstream' can be set", 2)
    elseif type(value) ~= "string" then
        error("conn.upstream is the name of an upstream, not a " .. type(value), 2)
    end
    local facts = facts_of[self]
    if not facts.upstreams[value] then
        error("there is no upstream '" .. value .. "' that a tcp listener can pass connections to", 2)
    end
    facts.upstream = value
end

--- A connection with these facts: ip, port, listener, server_name, alpn, and the names of `upstreams` as keys.
function connection.new(facts)
    local client, object = setmetatable({}, Client), setmetatable({}, Connection)
    facts.client = client
    facts_of[client], facts_of[object] = facts, facts
    return object
end

return connection
