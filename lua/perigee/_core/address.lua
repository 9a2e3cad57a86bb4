-- SPDX-License-Identifier: MIT
--
-- Addresses as they are written in configurations: "host:port", "[IPv6]:port" and "unix:/path".

local address = {}

--- What an address looks like, for messages.
address.example = '"host:port", "[IPv6]:port" or "unix:/path"'

local UNIX_PATH_MAX = 107 -- sun_path of Linux without its terminator

--- True for a dotted IPv4 literal.
---@param host string
---@return boolean
function address.is_ipv4(host)
    local a, b, c, d = host:match("^(%d%d?%d?)%.(%d%d?%d?)%.(%d%d?%d?)%.(%d%d?%d?)$")
    return a ~= nil and tonumber(a) <= 255 and tonumber(b) <= 255 and tonumber(c) <= 255 and tonumber(d) <= 255
end

--- True for the text between the brackets of an IPv6 literal: at most eight groups, one "::", or "::" with an IPv4 tail.
---@param text string
---@return boolean
function address.is_ipv6(text)
    local head, tail = text:match("^(.*:)([^:]*%.[^:]*)$")
    if head then
        if not address.is_ipv4(tail) then
            return false
        end
        text = head .. "0:0"
    end
    local _, gaps = text:gsub("::", "")
    if text:find(":::", 1, true) or gaps > 1 or text:find("^:[^:]") or text:find("[^:]:$") then
        return false
    end
    local groups = 0
    for group in text:gmatch("[^:]+") do
        if not group:find("^%x%x?%x?%x?$") then
            return false
        end
        groups = groups + 1
    end
    return gaps == 1 and groups <= 7 or gaps == 0 and groups == 8
end

--- True for a host name: letters, digits, '-' and '_' in labels of 1 to 63 bytes, 253 in all.
---@param host string
---@return boolean
function address.is_name(host)
    if #host > 253 or host:find("^[%d.]+$") then
        return false
    end
    for label in (host .. "."):gmatch("(.-)%.") do
        if not label:find("^[%w_-]+$") or #label > 63 or label:find("^-") or label:find("-$") then
            return false
        end
    end
    return true
end

local function parse_unix(path)
    if path:sub(1, 1) ~= "/" or path:find("[%z\1-\31\127]") then
        return nil, "a unix socket is written unix:/absolute/path"
    end
    if #path > UNIX_PATH_MAX then
        return nil, "the path of a unix socket has at most " .. UNIX_PATH_MAX .. " bytes"
    end
    return { kind = "unix", path = path }
end

--- Takes an address apart.
---@param text string
---@return { kind: "unix"|"ipv4"|"ipv6"|"name", host: string, port: integer, path: string }|nil parts
---@return string|nil message what is wrong
function address.parse(text)
    if text:sub(1, 5) == "unix:" then
        return parse_unix(text:sub(6))
    end
    if text:find("/", 1, true) then
        return nil, "expected " .. address.example .. ", not a URL"
    end
    local host, port = text:match("^(.*):(%d+)$")
    if not host then
        return nil, "the port is missing: expected " .. address.example
    end
    if #port > 5 or tonumber(port) > 65535 then
        return nil, "the port must be at most 65535"
    end
    local ipv6 = host:match("^%[(.*)%]$")
    if ipv6 and address.is_ipv6(ipv6) then
        return { kind = "ipv6", host = ipv6:lower(), port = tonumber(port) }
    elseif address.is_ipv4(host) then
        return { kind = "ipv4", host = host, port = tonumber(port) }
    elseif host == "*" or address.is_name(host) then
        return { kind = "name", host = host:lower(), port = tonumber(port) }
    elseif host:find(":", 1, true) and address.is_ipv6(host) then
        return nil, "an IPv6 address is written in brackets: [" .. host .. "]:" .. port
    end
    return nil, "expected " .. address.example
end

--- Writes the parts of an address.
---@return string
function address.format(parts)
    if parts.kind == "unix" then
        return "unix:" .. parts.path
    end
    local host = parts.kind == "ipv6" and "[" .. parts.host .. "]" or parts.host
    return host .. ":" .. string.format("%d", parts.port)
end

--- Parts of an address to listen on: as `parse`, with "localhost" and "*" written out, and no other names.
---@return table|nil parts
---@return string|nil message
function address.parse_local(text)
    local parts, message = address.parse(text)
    if parts and parts.kind == "name" then
        local literal = parts.host == "localhost" and "127.0.0.1" or parts.host == "*" and "0.0.0.0"
        if not literal then
            return nil, 'an address to listen on is an IP address, "localhost" or "*" (every address), with a port'
        end
        parts.kind, parts.host = "ipv4", literal
    end
    return parts, message
end

--- Parts of the address of a server to connect to: as `parse`, but the port is not 0 and the host is not "*".
---@return table|nil parts
---@return string|nil message
function address.parse_remote(text)
    local parts, message = address.parse(text)
    if parts and parts.kind ~= "unix" and (parts.port == 0 or parts.host == "*") then
        return nil, parts.port == 0 and "the port must be 1 to 65535" or "expected the address of one server"
    end
    return parts, message
end

--- True when only this machine can reach the address.
---@return boolean
function address.is_private(parts)
    return parts.kind == "unix" or parts.kind == "ipv4" and parts.host:find("^127%.") ~= nil
        or parts.kind == "ipv6" and (parts.host == "::1" or parts.host:find("^[0:]*:0*1$") ~= nil)
end

return address
