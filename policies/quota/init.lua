-- SPDX-License-Identifier: MIT
--
-- So many requests for each consumer in a day, a month or another period, counted by all workers and, with `redis`, by all
-- machines. The count of a period is one number, which a reload does not reset.

local perigee = require "perigee"
local by = require "perigee.algo.by"
local count = require "policies.quota.count"
local limit_headers = require "perigee.algo.limit_headers"
local period = require "perigee.algo.period"
local remote = require "perigee.algo.remote"
local try_later = require "perigee.algo.try_later"

local max, now, take = math.max, perigee.time.now, count.take
local UNAVAILABLE = try_later.new(503, "urn:perigee:quota_unavailable",
    "The quota cannot be checked; try again later.", "RLSE")
local KEY_MAX = 200 -- bytes of a key in shared memory, without the name of its period

local refused = perigee.metrics.counter("quota_refused_total", "Requests refused.", { "route", "limit" })

local function check_by(text)
    if not by.is_known(text) then
        return "expected \"consumer\", \"client\", \"route\", \"header:NAME\" or a function"
    end
end

local function check_period(text)
    if text ~= "day" and text ~= "month" then
        return "expected \"day\", \"month\" or a duration of at least a second such as \"1h\""
    end
end

local Quota = perigee.policy {
    name = "quota",
    stage = "traffic",
    schema = {
        limit = { type = "integer", min = 1, max = 1e12, required = true, doc = "What may be used in a period." },
        period = {
            type = "one_of", required = true,
            of = { { type = "string", check = check_period }, { type = "duration", min = "1s" } },
            doc = "`\"day\"` or `\"month\"` of the calendar in UTC, or a duration such as `\"1h\"`.",
        },
        by = {
            type = "one_of", of = { { type = "string", check = check_by }, "function" }, default = "consumer",
            doc = "Who has a quota: each `consumer`, `client` (address), `route`, `header:NAME`, or what a function of "
                .. "the request returns. Who has none of these is counted by address.",
        },
        cost = {
            type = "one_of", of = { { type = "integer", min = 0, max = 1e9 }, "function" }, default = 1,
            doc = "What a request uses: a whole number, or a function of the request that returns one.",
        },
        on_unavailable = {
            type = "string", enum = { "local", "allow", "deny" }, default = "local",
            doc = "While Redis is away: go on with what this machine knows of the count, let all in, or answer 503.",
        },
        headers = {
            type = "string", enum = { "ietf", "x", "off" }, default = "ietf",
            doc = "What the client is told: `RateLimit`, `X-RateLimit-*` or nothing.",
        },
        name = {
            type = "string", default = "quota", check = limit_headers.check_name,
            doc = "Name of the quota in `RateLimit` and in metrics.",
        },
        redis = {
            type = "table", short = "address", fields = remote.fields(),
            doc = "Redis that counts for several machines. Without it each counts for itself.",
        },
    },
}

-- Begins with the period of this moment.
local function turn(self, time)
    local conf = self.conf
    self.begins, self.ends, self.period = period.at(conf.period, time)
    self.told = limit_headers.new(conf.headers, conf.name, conf.limit, self.ends - self.begins)
    self.refusal = try_later.new(429, "urn:perigee:quota_exceeded",
        "The quota is used up until " .. perigee.time.format_iso(self.ends) .. ".")
end

function Quota:init()
    local conf = self.conf
    self.counts, self.resets = count.new(conf), {}
    self.address, self.other, self.digest = self.id .. "\1@", self.id .. "\1=", self.id .. "\1#"
    self.key_of, self.choose, self.header = by.find(conf.by)
    turn(self, now())
end

local function cost_of(self, req)
    local cost = self.conf.cost
    if type(cost) == "function" then
        cost = cost(req)
        if type(cost) ~= "number" or cost % 1 ~= 0 or cost < 0 or cost > 1e9 then
            error("'cost' returned " .. tostring(cost) .. ", not a whole number from 0 to 1000000000")
        end
    end
    return cost
end

local function refuse(self, req, used, left)
    refused:inc(1, { req.route, self.conf.name })
    local headers = limit_headers.refusal(self.told, max(0, self.conf.limit - used), left, left)
    return try_later.refuse(self.refusal, req, headers)
end

function Quota:on_request(req)
    local key, time = self.key_of(self, req), now()
    if #key > KEY_MAX then
        key = self.digest .. perigee.crypto.hash("sha256", key)
    end
    if time >= self.ends or time < self.begins then
        turn(self, time)
    end
    local left = self.ends - time
    local is_counted, used = take(self.counts, self.period .. ":" .. key, cost_of(self, req), left)
    if is_counted then
        if self.told.style ~= "off" then
            req.ctx[self], req.ctx[self.resets] = max(0, self.conf.limit - used), left
        end
    elseif is_counted == false then
        return refuse(self, req, used, left)
    elseif used == "deny" then
        return try_later.refuse(UNAVAILABLE, req)
    elseif used ~= "allow" then
        return nil, "the quota cannot be checked: " .. used
    end
end

function Quota:unused(conf)
    return conf.headers == "off" and { "on_response" } or {}
end

function Quota:on_response(req, res)
    local remaining = req.ctx[self]
    if remaining then
        limit_headers.add(self.told, res.headers, remaining, req.ctx[self.resets])
    end
end

return Quota
