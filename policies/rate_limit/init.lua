-- SPDX-License-Identifier: MIT
--
-- `limit` requests a `window`, counted by all workers together, as token buckets or as a sliding window. Each use of the policy
-- counts for itself, and a reload does not reset it. With `redis` several machines count together; this one counts alone while
-- Redis is away.

local perigee = require "perigee"
local bucket = require "policies.rate_limit.bucket"
local by = require "perigee.algo.by"
local limit_headers = require "perigee.algo.limit_headers"
local remote = require "perigee.algo.remote"
local try_later = require "perigee.algo.try_later"
local window = require "policies.rate_limit.window"

local KEY_MAX = 240 -- bytes of a key in shared memory, without the number of its window
local REFUSAL = try_later.new(429, "urn:perigee:rate_limited", "There were too many requests; try again later.")

local ALGORITHMS = { token_bucket = bucket, sliding_window = window }

local counted_locally = perigee.metrics.counter("rate_limit_local_total",
    "Requests of limits with Redis that were counted on this machine, because Redis was away.", { "limit" })

local refused = perigee.metrics.counter("rate_limit_refused_total", "Requests refused.", { "route", "limit" })

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
        algorithm = {
            type = "string", enum = { "token_bucket", "sliding_window" }, default = "token_bucket",
            doc = "How they are counted: a bucket that fills steadily, or a window that moves (README).",
        },
        burst = {
            type = "integer", min = 1, max = 1e9,
            doc = "Requests that may come at once, for token buckets. Without it: `limit`.",
        },
        by = {
            type = "one_of", of = { { type = "string", check = check_by }, "function" }, default = "client",
            doc = "Whose requests are counted together: `client` (address), `consumer`, `route`, `header:NAME`, or a "
                .. "function of the request that returns a string. Who has none of these is counted by address.",
        },
        headers = {
            type = "string", enum = { "ietf", "x", "off" }, default = "ietf",
            doc = "What the client is told: `RateLimit`, `X-RateLimit-*` or nothing.",
        },
        name = {
            type = "string", default = "default", check = limit_headers.check_name,
            doc = "Name of the limit in `RateLimit` and in metrics.",
        },
        redis = {
            type = "table", short = "address", fields = remote.fields(),
            doc = "Redis that counts for several machines. Without it each counts for itself.",
        },
    },
    check = function(conf)
        if conf.burst and conf.algorithm ~= "token_bucket" then
            return "is for token buckets: a sliding window has no burst", "burst"
        end
    end,
}

function RateLimit:init()
    local conf = self.conf
    local algorithm = ALGORITHMS[conf.algorithm]
    local rule = algorithm.new(conf)
    self.address, self.other, self.digest = self.id .. "\1@", self.id .. "\1=", self.id .. "\1#"
    self.key_of, self.choose, self.header = by.find(conf.by)
    self.rule, self.take, self.tell = rule, algorithm.take, algorithm.tell
    self.told = limit_headers.new(conf.headers, conf.name, conf.limit, conf.window)
    self.is_told = conf.headers ~= "off"
    self.remote = conf.redis and remote.new {
        settings = conf.redis, prefix = rule.prefix, script = rule.script, read = rule.read, limit = conf.name,
        without = counted_locally, meanwhile = "requests are counted on this machine",
    }
end

local function refuse(self, req, remaining, reset, wait)
    refused:inc(1, { req.route, self.conf.name })
    return try_later.refuse(REFUSAL, req, limit_headers.refusal(self.told, remaining, reset, wait))
end

function RateLimit:on_request(req)
    local key, rule = self.key_of(self, req), self.rule
    if #key > KEY_MAX then
        key = self.digest .. perigee.crypto.hash("sha256", key)
    end
    local is_admitted, a, b, c
    if self.remote then
        is_admitted, a, b, c = remote.ask(self.remote, key, rule.arguments)
    end
    if is_admitted == nil then
        is_admitted, a, b, c = self.take(rule, key)
    end
    if is_admitted == nil then
        return nil, "the limit cannot be checked: " .. a
    elseif not is_admitted then
        return refuse(self, req, self.tell(rule, a, b, c))
    elseif self.is_told then
        local ctx = req.ctx
        ctx[self], ctx[rule] = self.tell(rule, a, b, c)
    end
end

function RateLimit:unused(conf)
    return conf.headers == "off" and { "on_response" } or {}
end

function RateLimit:on_response(req, res)
    local ctx = req.ctx
    local remaining = ctx[self]
    if remaining then
        limit_headers.add(self.told, res.headers, remaining, ctx[self.rule])
    end
end

return RateLimit
