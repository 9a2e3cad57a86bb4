-- SPDX-License-Identifier: MIT
--
-- Splits a route's requests over upstreams by weight: a canary, or two versions side by side. With `by` the same client, user
-- or session stays with the same upstream, in every worker and after a reload.

local perigee = require "perigee"
local is_token = require("perigee.algo.token").is

local byte, floor, random = string.byte, math.floor, math.random
local hash = perigee.crypto.hash

local function check_by(by)
    local name = by:match("^header:(.+)$") or by:match("^cookie:(.+)$")
    if by ~= "client" and by ~= "consumer" and not (name and is_token(name)) then
        return "expected \"client\", \"consumer\", \"header:NAME\" or \"cookie:NAME\""
    end
end

local function check_header(name)
    if not is_token(name) then
        return "expected the name of a header field such as \"x-canary\""
    end
end

local function check_parts(parts)
    local sum, seen = 0, {}
    for _, part in ipairs(parts) do
        if seen[part.upstream] then
            return "upstream '" .. part.upstream .. "' is there twice"
        end
        seen[part.upstream], sum = true, sum + part.weight
    end
    return sum == 0 and "at least one weight is above 0" or nil
end

local TrafficSplit = perigee.policy {
    name = "traffic_split",
    stage = "traffic",
    schema = {
        upstreams = {
            type = "list", required = true, min = 1, max = 64, check = check_parts,
            doc = "Upstreams, each with a `weight` (1): `{ { \"v1\", weight = 95 }, { \"v2\", weight = 5 } }`.",
            items = {
                type = "table", short = "upstream",
                fields = {
                    upstream = { type = "upstream", required = true, doc = "Name of the upstream." },
                    weight = { type = "integer", min = 0, max = 1000000, default = 1, doc = "Its share." },
                },
            },
        },
        by = {
            type = "string", check = check_by,
            doc = "Who stays with an upstream: `client` (address), `consumer`, `header:NAME` or `cookie:NAME`. "
                .. "Requests without it, and all when it is not written, are split at random.",
        },
        header = {
            type = "string", check = check_header,
            doc = "Header in which a request may name one of the upstreams itself, whatever the weights.",
        },
    },
}

local BY = {}

function BY.client(_, req)
    return req.client.ip
end

function BY.consumer(_, req)
    return req.consumer
end

function BY.header(self, req)
    return req.headers:get(self.name)
end

function BY.cookie(self, req)
    return req.cookies:get(self.name)
end

function TrafficSplit:init()
    local conf, sum = self.conf, 0
    self.names, self.bounds, self.known = {}, {}, {}
    for i, part in ipairs(conf.upstreams) do
        sum = sum + part.weight
        self.names[i], self.bounds[i], self.known[part.upstream] = part.upstream, sum, true
    end
    self.sum, self.draw = sum, random
    self.header = conf.header and conf.header:lower()
    local kind, name = (conf.by or ""):match("^(%l+):?(.*)$")
    self.name, self.key_of = kind == "header" and name:lower() or name, BY[kind]
end

-- A number in [0, 1) that is the same for the same key everywhere.
local function place_of(key)
    local a, b, c, d = byte(hash("sha256", key), 1, 4)
    return (((a * 256 + b) * 256 + c) * 256 + d) / 4294967296
end

local function choose(self, req)
    local wanted = self.header and req.headers:get(self.header)
    if wanted and self.known[wanted] then
        return wanted
    end
    local key = self.key_of and self.key_of(self, req)
    local at = floor((key and key ~= "" and place_of(key) or self.draw()) * self.sum)
    local bounds = self.bounds
    for i = 1, #bounds do
        if at < bounds[i] then
            return self.names[i]
        end
    end
end

-- Another attempt of the same request goes to the same upstream.
function TrafficSplit:on_upstream(req, attempt)
    local ctx = req.ctx
    local chosen = ctx[self]
    if not chosen then
        chosen = choose(self, req)
        ctx[self] = chosen
    end
    attempt.upstream = chosen
end

return TrafficSplit
