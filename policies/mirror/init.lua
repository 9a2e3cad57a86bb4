-- SPDX-License-Identifier: MIT
--
-- Sends a copy of some requests to another upstream, beside the exchange: nobody waits for it, and what comes back is dropped.
-- When more copies are under way than allowed, the next request is not copied.

local perigee = require "perigee"
local is_token = require("perigee.algo.token").is

local random = math.random

local function check_name(name)
    if not is_token(name) then
        return "expected the name of a header field"
    end
end

-- Names of upstreams may have more in them; a copy is sent to a URL.
local function check_upstream(name)
    if not name:find("^[%w._-]+$") then
        return "a copy can go to upstreams with names of letters, digits, '.', '_' and '-' only"
    end
end

local Mirror = perigee.policy {
    name = "mirror",
    stage = "observe",
    schema = {
        upstream = {
            type = "upstream", required = true, check = check_upstream, doc = "The upstream that gets the copies.",
        },
        percent = { type = "number", min = 0, max = 100, default = 100, doc = "Share of requests that are copied." },
        header = {
            type = "string", default = "x-mirrored", check = check_name,
            doc = "Header that marks a copy, with value `1`.",
        },
        remove = {
            type = "list", items = { type = "string", check = check_name }, default = {},
            doc = "Headers that a copy is sent without, such as `authorization`.",
        },
        max_body = {
            type = "size", min = "1", max = "1m", default = "64k",
            doc = "Requests with a larger body are not copied. The others wait until their body is here.",
        },
        max_active = { type = "integer", min = 1, max = 500, default = 50, doc = "Most copies at a time, per worker." },
        timeout = { type = "duration", min = "10ms", max = "1m", default = "5s", doc = "Time that a copy has." },
    },
}

local copies = perigee.metrics.counter("mirror_copies_total", "Copies by policy mirror.", { "route", "result" })

-- What belongs to the connection of the original, or is written anew.
local HOP = {
    "connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "expect", "content-length",
}

function Mirror:init()
    local conf = self.conf
    self.active, self.draw, self.skipped = 0, random, {}
    self.header = conf.header:lower()
    for _, name in ipairs(HOP) do
        self.skipped[name] = true
    end
    for _, name in ipairs(conf.remove) do
        self.skipped[name:lower()] = true
    end
    self.origin = "http://" .. conf.upstream
end

-- Headers of the copy; those of one name are joined, as HTTP allows.
local function copy_headers(self, req)
    local headers = {}
    for name, value in req.headers:iterate() do
        if not self.skipped[name] then
            local before = headers[name]
            headers[name] = before and before .. (name == "cookie" and "; " or ", ") .. value or value
        end
    end
    headers.host, headers[self.header] = headers.host or req.host, "1"
    return headers
end

-- Runs beside the exchange.
local function send(self, route, url, options)
    local ok, res = pcall(perigee.http.fetch, url, options)
    self.active = self.active - 1
    copies:inc(1, { route, ok and res and "sent" or "failed" })
end

-- Streams in both directions: their body does not end before the response begins.
local function is_stream(req)
    local kind = req.headers:get "content-type"
    return req.headers:get "upgrade" or kind and kind:find("application/grpc", 1, true)
end

function Mirror:on_request(req)
    local conf = self.conf
    if conf.percent == 0 or self.draw() * 100 >= conf.percent or is_stream(req) then
        return
    end
    if self.dry_run then
        return copies:inc(1, { req.route, "skipped" })
    end
    local body = self.active < conf.max_active and req.body:read(conf.max_body)
    if not body or self.active >= conf.max_active then -- it may have waited for the body
        return copies:inc(1, { req.route, "dropped" })
    end
    local query, options = tostring(req.query), { method = req.method, timeout = conf.timeout }
    options.headers, options.body = copy_headers(self, req), body ~= "" and body or nil
    local url = self.origin .. req.path .. (query ~= "" and "?" .. query or "")
    if pcall(perigee.timer.after, 0, send, self, req.route, url, options) then
        self.active = self.active + 1
    else -- the generation has as many tasks as it may have
        copies:inc(1, { req.route, "dropped" })
    end
end

return Mirror
