-- SPDX-License-Identifier: MIT
--
-- Asks again when an answer is no good, after a pause that is drawn anew each time (full jitter), as long as the time allows.

local perigee = require "perigee"

local random, sleep, now = math.random, perigee.sleep, perigee.time.monotonic

local Retry = perigee.policy {
    name = "retry",
    stage = "traffic",
    schema = {
        attempts = { type = "integer", min = 2, max = 10, default = 2, doc = "Most attempts, the first included." },
        on = {
            type = "set", items = { type = "integer", min = 400, max = 599 }, default = { 502, 503, 504 },
            doc = "Statuses after which it asks again.",
        },
        methods = {
            type = "set", items = "string", default = { "GET", "HEAD", "OPTIONS", "PUT", "DELETE" },
            doc = "Methods that may be asked again: those that do the same when done twice.",
        },
        base = { type = "duration", min = "1ms", default = "25ms", doc = "Longest pause before the second attempt." },
        max = { type = "duration", min = "1ms", default = "250ms", doc = "Longest pause; it grows with each attempt." },
        within = { type = "duration", min = "1ms", default = "10s", doc = "Time after which no attempt begins." },
    },
}

local again = perigee.metrics.counter("retry_attempts_total", "Attempts after the first.", { "route" })

-- Seconds before attempt n + 1: uniform in [0, (2^n - 1) * base), at most max.
local function pause_of(conf, n)
    local longest = (2 ^ n - 1) * conf.base
    return random() * (longest < conf.max and longest or conf.max)
end

function Retry:around(req, next)
    local conf, began = self.conf, now()
    local attempts = conf.methods[req.method] and conf.attempts or 1
    local res = next(req)
    for n = 1, attempts - 1 do
        local pause = pause_of(conf, n)
        if not conf.on[res.status] or now() + pause - began > conf.within then
            break
        end
        if not self.dry_run then -- where next() gives the same answer again
            sleep(pause)
        end
        again:inc(1, { req.route })
        res = next(req)
    end
    return res
end

return Retry
