-- SPDX-License-Identifier: MIT
--
-- Timeouts for some requests only, in the place of the upstream's, and how long the client says that it waits.

local perigee = require "perigee"
local token = require "perigee.algo.token"

local now = perigee.time.monotonic

local function check_header(name)
    if not token.is(name) then
        return "expected the name of a header field such as \"x-request-timeout\""
    end
end

local function duration(doc)
    return { type = "duration", max = "24h", doc = doc .. " `\"0s\"` is no limit. Without it: what the upstream says." }
end

local Timeout = perigee.policy {
    name = "timeout",
    stage = "traffic",
    schema = {
        request = duration "From the complete request to the response, over all attempts.",
        per_try = duration "The same, for each attempt.",
        idle = duration "Without a byte of the response.",
        stream = duration "The whole exchange, or the tunnel that it becomes.",
        deadline = {
            type = "string", check = check_header,
            doc = "Header in which the client says how many milliseconds it waits. Without it: clients are not asked.",
        },
    },
    check = function(conf)
        if not (conf.request or conf.per_try or conf.idle or conf.stream or conf.deadline) then
            return "write at least one of 'request', 'per_try', 'idle', 'stream' and 'deadline'"
        end
    end,
}

function Timeout:init()
    self.header = self.conf.deadline and self.conf.deadline:lower()
end

-- Makes the wait shorter, never longer; what is no number of milliseconds, or 0, says nothing.
local function read_deadline(req, header)
    local text = req.headers:get(header)
    local ms = text and #text <= 10 and text:find("^%d+$") and tonumber(text) or 0
    if ms > 0 then
        req.deadline = now() - req.duration + ms / 1000
    end
end

function Timeout:on_request(req)
    local conf, timeouts = self.conf, req.timeouts
    if conf.request then
        timeouts.request = conf.request
    end
    if conf.per_try then
        timeouts.per_try = conf.per_try
    end
    if conf.idle then
        timeouts.idle = conf.idle
    end
    if conf.stream then
        timeouts.stream = conf.stream
    end
    if self.header then
        read_deadline(req, self.header)
    end
end

return Timeout
