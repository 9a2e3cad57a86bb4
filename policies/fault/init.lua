-- SPDX-License-Identifier: MIT
--
-- Delays requests and answers them with errors, each for a share of them: to see how clients, retries, breakers and people
-- cope before it happens by itself.

local perigee = require "perigee"
local is_token = require("perigee.algo.token").is

local random, sleep = math.random, perigee.sleep

local function percent(doc)
    return { type = "number", min = 0, max = 100, default = 100, doc = doc }
end

local function check_header(name)
    if not is_token(name) then
        return "expected the name of a header field such as \"x-fault\""
    end
end

local function check_status(status)
    if status < 400 or status > 599 then
        return "an error has a status from 400 to 599"
    end
end

local Fault = perigee.policy {
    name = "fault",
    stage = "traffic",
    schema = {
        delay = {
            type = "table", doc = "Requests that wait: `time` (at most 5 minutes), and the `percent` of them (100).",
            fields = {
                time = { type = "duration", required = true, min = "1ms", max = "5m", doc = "How long it waits." },
                percent = percent "Share of the requests that wait.",
            },
        },
        abort = {
            type = "table", doc = "Requests that are answered here: `status`, and the `percent` of them (100).",
            fields = {
                status = { type = "integer", required = true, check = check_status, doc = "Status of the answer." },
                percent = percent "Share of the requests that are answered.",
            },
        },
        header = {
            type = "string", check = check_header,
            doc = "Only requests with this header are touched. Without it: all.",
        },
        max_active = {
            type = "integer", min = 1, max = 1000000, default = 1000,
            doc = "Most requests that one worker holds back at a time; others are not delayed.",
        },
    },
    check = function(conf)
        if not conf.delay and not conf.abort then
            return "write 'delay', 'abort' or both"
        end
    end,
}

local faults = perigee.metrics.counter("faults_injected_total", "Faults by policy fault.", { "route", "kind" })

function Fault:init()
    local conf = self.conf
    self.header = conf.header and conf.header:lower()
    self.time, self.delayed = conf.delay and conf.delay.time, conf.delay and conf.delay.percent or 0
    self.status, self.aborted = conf.abort and conf.abort.status, conf.abort and conf.abort.percent or 0
    self.active, self.draw = 0, random
end

-- Does this request belong to the share? Drawn in [0, 1), so never when it is 0, and always when it is 100.
local function is_hit(self, share)
    return share > 0 and self.draw() * 100 < share
end

local function hold(self, req)
    self.active = self.active + 1
    req.ctx[self] = true
    sleep(self.time)
    self.active = self.active - 1
    req.ctx[self] = nil
end

function Fault:on_request(req)
    if self.header and not req.headers:get(self.header) then
        return
    end
    if is_hit(self, self.delayed) and self.active < self.conf.max_active then
        faults:inc(1, { req.route, "delay" })
        req:flag "DI"
        if not self.dry_run then
            hold(self, req)
        end
    end
    if is_hit(self, self.aborted) then
        faults:inc(1, { req.route, "abort" })
        req:flag "FI"
        return perigee.problem(self.status, "This error was made on purpose.", {
            type = "urn:perigee:fault", request_id = req.id,
        })
    end
end

-- A client that left while its request was held back.
function Fault:on_log(req)
    if req.ctx[self] then
        self.active = self.active - 1
    end
end

function Fault:unused(conf)
    return conf.delay and {} or { "on_log" }
end

return Fault
