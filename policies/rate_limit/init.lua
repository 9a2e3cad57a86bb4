-- SPDX-License-Identifier: MIT
--
-- Token buckets, shared by all workers: `limit` requests a `window` on average, `burst` at once. Each use of the policy has
-- its own buckets, which outlive reloads. With `redis` several machines share them; this one's take over while Redis is away.

local perigee = require "perigee"
local by = require "perigee.algo.by"
local remote = require "policies.rate_limit.remote"

local ceil, floor, max = math.ceil, math.floor, math.max
local KEY_MAX = 256 -- bytes of a key in shared memory
-- Refusals are many when they matter: the document is ready.
local PROBLEM = '{"type":"urn:perigee:rate_limited","title":"Too Many Requests","status":429,'
    .. '"detail":"There were too many requests; try again later."'

local function check_name(name)
    if not name:find("^[%w ._:/-]+$") then
        return "a name has letters, digits, spaces and ._:/-"
    end
end

local function check_by(text)
    if not by.is_known(text) then
        return "expected \"client\", \"consumer\", \"route\", \"header:NAME\" or a function"
    end
end

local RateLimit = perigee.policy {
    name = "rate_limit",
    stage = "traffic",
    schema = {
        limit = { type = "integer", min = 1, max = 1e9, required = true, doc = "Requests per window." },
        window = { type = "duration", min = "10ms", default = "1s", doc = "Time in which `limit` requests are fine." },
        burst = { type = "integer", min = 1, max = 1e9, doc = "Requests that may come at once. Without it: `limit`." },
        by = {
            type = "one_of", of = { { type = "string", check = check_by }, "function" }, default = "client",
            doc = "Whose requests are counted together: `client` (address), `consumer`, `route`, `header:NAME`, or a "
                .. "function of the request that returns a string. Who has none of these is counted by address.",
        },
        headers = {
            type = "string", enum = { "ietf", "x", "off" }, default = "ietf",
            doc = "What the client is told: `RateLimit`, `X-RateLimit-*` or nothing.",
        },
        name = { type = "string", default = "default", check = check_name, doc = "Name of the limit in `RateLimit`." },
        redis = {
            type = "table", short = "address",
            doc = "Redis that counts for several machines. Without it each counts for itself.",
            fields = {
                address = {
                    type = "string", required = true, check = remote.check,
                    doc = "`\"host:port\"` or `\"unix:/path\"`.",
                },
                user = { type = "string", min = 1, max = 1024, doc = "Name for `AUTH`. Without it: the default user." },
                password = { type = "string", min = 1, max = 1024, secret = true, doc = "For `AUTH`." },
                database = { type = "integer", min = 0, max = 65535, default = 0, doc = "Number of the database." },
                timeout = {
                    type = "duration", min = "1ms", max = "10s", default = "100ms",
                    doc = "How long a request waits for Redis before it is counted here.",
                },
                prefix = { type = "string", default = "perigee:", max = 100, doc = "What keys in Redis begin with." },
            },
        },
    },
}

function RateLimit:init()
    local conf = self.conf
    self.buckets = perigee.shared "rate_limit"
    self.address, self.other, self.digest = self.id .. "\1@", self.id .. "\1=", self.id .. "\1#"
    self.key_of, self.choose, self.header = by.find(conf.by)
    self.rate, self.burst, self.style = conf.limit / conf.window, conf.burst or conf.limit, conf.headers
    self.quota = { rate = self.rate, burst = self.burst }
    self.remote = conf.redis and remote.new(conf, self.rate, self.burst)
    self.limit = conf.limit .. ""
    self.item = '"' .. conf.name .. '";r='
    self.policy = '"' .. conf.name .. '";q=' .. conf.limit .. (conf.window % 1 == 0 and ";w=" .. conf.window or "")
end

-- Seconds until the bucket is full again.
local function reset_of(self, remaining)
    return ceil((self.burst - remaining) / self.rate)
end

local function refuse(self, req, remaining, wait)
    local headers = { ["content-type"] = "application/problem+json", ["retry-after"] = max(1, ceil(wait)) }
    if self.style == "ietf" then
        headers["ratelimit-policy"] = self.policy
        headers["ratelimit"] = self.item .. "0;t=" .. reset_of(self, remaining)
    elseif self.style == "x" then
        headers["x-ratelimit-limit"], headers["x-ratelimit-remaining"] = self.limit, 0
        headers["x-ratelimit-reset"] = reset_of(self, remaining)
    end
    local id = req.id and ',"request_id":' .. (perigee.json.encode(req.id) or "null") or ""
    return perigee.reply(429, PROBLEM .. id .. "}\n", headers)
end

function RateLimit:on_request(req)
    local key = self.key_of(self, req)
    if #key > KEY_MAX then
        key = self.digest .. perigee.crypto.hash("sha256", key)
    end
    local is_admitted, remaining, wait
    if self.remote then
        is_admitted, remaining, wait = remote.take(self.remote, key)
    end
    if is_admitted == nil then
        is_admitted, remaining, wait = self.buckets:take(key, self.quota)
    end
    if is_admitted then
        if self.style ~= "off" then
            req.ctx[self] = remaining
        end
    elseif is_admitted == nil then
        return nil, "the limit cannot be checked: " .. remaining
    else
        return refuse(self, req, remaining, wait)
    end
end

function RateLimit:unused(conf)
    return conf.headers == "off" and { "on_response" } or {}
end

function RateLimit:on_response(req, res)
    local remaining = req.ctx[self]
    if not remaining then
        return
    elseif self.style == "ietf" then
        res.headers:add("ratelimit-policy", self.policy)
        res.headers:add("ratelimit", self.item .. floor(remaining) .. ";t=" .. reset_of(self, remaining))
    else
        res.headers:set("x-ratelimit-limit", self.limit)
        res.headers:set("x-ratelimit-remaining", floor(remaining))
        res.headers:set("x-ratelimit-reset", reset_of(self, remaining))
    end
end

return RateLimit
