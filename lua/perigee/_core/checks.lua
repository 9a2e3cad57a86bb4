-- SPDX-License-Identifier: MIT
--
-- The `check` functions of the configuration's schema (_core/settings.lua): each gives nil or a sentence that says what is
-- wrong with the value.

local address = require "perigee._core.address"
local path_pattern = require "perigee._core.path_pattern"
local suggest = require "perigee._core.suggest"
local is_token = require("perigee.algo.token").is

local checks = {}

local NAME_MAX = 128

--- A check from a parser that returns nil and a message.
---@param parse fun(text: string): any, string|nil
---@return fun(text: string): string|nil
function checks.with_message(parse)
    return function(text)
        local _, message = parse(text)
        return message
    end
end

function checks.is_true(value)
    return value ~= true and "can only be true" or nil
end

--- Names of routes and upstreams: they appear in metrics, logs and addresses of the admin API.
function checks.name(text)
    if text == "" or #text > NAME_MAX or text:find("[%z\1-\31\127]") then
        return "a name has 1 to " .. NAME_MAX .. " bytes and no control characters"
    end
    return nil
end

-- ---------------------------------------------------------------- match

function checks.host_pattern(text)
    if text == "*" or text == "" then
        return "leave 'host' out to match every host"
    end
    local host = text:gsub("^%*%.", "")
    local ipv6 = host:match("^%[(.*)%]$")
    if host:find("*", 1, true) then
        return "'*' stands only at the beginning, for whole labels: \"*.example.com\""
    elseif host:find(":%d+$") and not ipv6 then
        return "a host is matched without its port"
    elseif not (address.is_name(host) or address.is_ipv4(host) or ipv6 and address.is_ipv6(ipv6)) then
        return "expected a host name such as \"example.com\" or \"*.example.com\""
    end
    return nil
end

checks.path_pattern = path_pattern.problem

function checks.method(text)
    if not is_token(text) then
        return "expected the name of a method such as \"GET\""
    elseif text ~= text:upper() then
        return "methods are compared byte by byte: write it in upper case"
    end
    return nil
end

function checks.header_name(text)
    if not is_token(text) then
        return "expected the name of a header field such as \"x-user\""
    end
    return nil
end

-- What says where a message ends, or is about one connection (RFC 9110 7.6.1), is written by the proxy itself.
local FRAMING = {
    ["connection"] = true, ["content-length"] = true, ["keep-alive"] = true, ["proxy-connection"] = true, ["te"] = true,
    ["trailer"] = true, ["transfer-encoding"] = true, ["upgrade"] = true,
}

--- Names of headers of an answer.
function checks.reply_header_name(text)
    if FRAMING[text:lower()] then
        return "'" .. text:lower() .. "' is about the connection or the length of the message: "
            .. "the proxy writes it itself"
    end
    return checks.header_name(text)
end

function checks.header_value(text)
    if text:find("[%z\1-\8\10-\31\127]") then
        return "the value of a header field has no control characters"
    end
    return nil
end

function checks.match(match)
    if match.path and match.path_regex then
        return "has both 'path' and 'path_regex'; use one of them", "path_regex"
    end
    return nil
end

-- ---------------------------------------------------------------- targets

function checks.weights(choices)
    for _, choice in ipairs(choices) do
        if choice.weight > 0 then
            return nil
        end
    end
    return "at least one weight must be more than 0"
end

function checks.location(text)
    if text:find("[%z\1-\32\127]") then
        return "a URL has no spaces or control characters"
    end
    return nil
end

function checks.redirect_status(status)
    if not suggest.contains({ 301, 302, 303, 307, 308 }, status) then
        return "must be 301, 302, 303, 307 or 308"
    end
    return nil
end

--- A path without captures or wildcards.
function checks.plain_path(text)
    if text:find("[{}*]") then
        return "must be a plain path, without '*' and '{…}'"
    end
    return path_pattern.problem(text)
end

--- A path in which "{name}" stands for a captured segment.
function checks.path_template(text)
    local plain = text:gsub("{[%a_][%w_]*}", "x")
    if plain:find("[{}]") then
        return "a captured segment is written with its name in braces: /v2/{id}"
    end
    return checks.plain_path(plain)
end

function checks.rewrite(rewrite)
    local count = (rewrite.prefix and 1 or 0) + (rewrite.path and 1 or 0) + (rewrite.regex and 1 or 0)
    if count ~= 1 then
        return "needs exactly one of 'prefix', 'path' or 'regex'"
    elseif (rewrite.regex ~= nil) ~= (rewrite.to ~= nil) then
        return "'regex' and 'to' come together"
    end
    return nil
end

-- ---------------------------------------------------------------- addresses

function checks.dns(text)
    local parts, message = address.parse_remote(text)
    if not parts then
        return message
    elseif parts.kind == "unix" then
        return "a unix socket has no name to look up; write it in 'endpoints'"
    end
    return nil
end

--- The name of a service in DNS: two labels that begin with "_", and a domain.
function checks.srv(text)
    local name = text:gsub("%.$", "")
    if not address.is_name(name) or not name:find("^_[^.]+%._[^.]+%.") then
        return 'expected the name of SRV records, such as "_http._tcp.orders.internal"'
    end
    return nil
end

--- A DNS server is asked for names, so it cannot be one.
function checks.dns_server(text)
    local parts, message = address.parse_remote(text)
    if not parts then
        return message
    elseif parts.kind ~= "ipv4" and parts.kind ~= "ipv6" then
        return 'expected an IP address and a port, such as "10.0.0.2:53"'
    end
    return nil
end

--- A URL that is asked by the runtime itself.
function checks.http_url(text)
    local url = require("perigee.uri").parse(text)
    if not url or url.scheme ~= "http" and url.scheme ~= "https" then
        return 'expected a URL such as "http://127.0.0.1:8500/v1/health/service/users?passing"'
    end
    local port = url.port or 80
    return select(2, address.parse_remote(url.host .. ":" .. string.format("%d", port)))
end

--- Header fields of a request that the runtime makes.
function checks.fetch_header_name(text)
    if FRAMING[text:lower()] or text:lower() == "host" or text:lower() == "expect" then
        return "'" .. text:lower() .. "' is written by the proxy itself"
    end
    return checks.header_name(text)
end

function checks.file_path(text)
    return text:find("%z") and "has a zero byte" or nil
end

--- A proxy whose PROXY headers are believed.
function checks.proxy(text)
    if text == "unix" then
        return nil
    end
    local _, message = require("perigee.ip").set { text }
    return message and message:match("^entry 1: (.*)$")
end

function checks.admin(text)
    local parts, message = address.parse_local(text)
    if not parts then
        return message
    elseif not address.is_private(parts) then
        return "the admin API is never public: use a loopback address such as \"127.0.0.1:9901\" or \"unix:/path\", "
            .. "and reach it from elsewhere through a tunnel or a route of your own"
    end
    return nil
end

return checks
