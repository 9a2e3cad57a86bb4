-- SPDX-License-Identifier: MIT
--
-- Limits how many requests are under way at a time, counted by all workers together. What is beyond waits in a bounded queue,
-- or is refused.
--
-- A request is counted in the slice of time (of length `lease`) in which it began, and taken out when it is over, however it
-- ends. What counts is this slice and the last one: so what a worker that was killed could not give back is forgotten.

local perigee = require "perigee"
local by = require "perigee.algo.by"
local try_later = require "perigee.algo.try_later"

local floor = math.floor
local sleep, now = perigee.sleep, perigee.time.monotonic
local REFUSAL = try_later.new(503, "urn:perigee:concurrency_limited",
    "Too many requests are under way; try again later.", "UO")
local KEY_MAX = 240 -- bytes of a key in shared memory, without the number of its slice
local STEP = 0.01 -- seconds between two looks from the queue

local function check_by(text)
    if not by.is_known(text) then
        return "expected \"route\", \"client\", \"consumer\" or \"header:NAME\""
    end
end

local ConcurrencyLimit = perigee.policy {
    name = "concurrency_limit",
    stage = "traffic",
    schema = {
        limit = { type = "integer", min = 1, max = 1000000, required = true, doc = "Requests under way at a time." },
        by = {
            type = "string", check = check_by, default = "route",
            doc = "Whose requests count together: `route`, `client` (address), `consumer` or `header:NAME`. "
                .. "Who has none of the last two counts by address.",
        },
        queue = { type = "integer", min = 0, max = 10000, default = 0, doc = "Requests that may wait per worker." },
        wait = { type = "duration", min = "1ms", max = "5m", default = "1s", doc = "Longest time in the queue." },
        lease = {
            type = "duration", min = "10s", max = "24h", default = "10m",
            doc = "Time for which a request counts at least; after twice that it counts no more.",
        },
    },
}

local refused = perigee.metrics.counter("concurrency_limit_refused_total", "Requests refused.", { "route" })

function ConcurrencyLimit:init()
    local conf = self.conf
    local key_of, _, header = by.find(conf.by)
    self.counts, self.waiting = perigee.shared "concurrency_limit", 0
    self.address, self.other = self.id .. "\1@", self.id .. "\1="
    self.key_of, self.header = key_of, header
    self.lease, self.limit = conf.lease, conf.limit
    self.places = self.dry_run and 0 or conf.queue -- in a dry run nobody waits
end

local function give_back(self, key)
    local left = self.counts:incr(key, -1)
    if left and left <= 0 then
        self.counts:cas(key, left, nil)
    end
end

-- What to give back at the end of the request, which counts now; false when there is no room, nil and a message when that
-- cannot be said.
local function enter(self, key)
    local lease = self.lease
    local slice = floor(now() / lease)
    local mine = key .. "\1" .. slice
    local count, message = self.counts:incr(mine, 1, 0, 2 * lease)
    if not count then
        return nil, "the limit cannot be checked: " .. message
    end
    if count + (self.counts:get(key .. "\1" .. (slice - 1)) or 0) > self.limit then
        give_back(self, mine)
        return false
    end
    return { key = mine, ends = (slice + 2) * lease }
end

-- Waits for room: as enter().
local function queue(self, req, key)
    local place = { is_waiting = true }
    self.waiting, req.ctx[self] = self.waiting + 1, place
    local deadline = now() + self.conf.wait
    local mine, message
    repeat
        local left = deadline - now()
        sleep(left < STEP and left or STEP)
        mine, message = enter(self, key)
    until mine ~= false or now() >= deadline
    place.is_waiting = false
    self.waiting = self.waiting - 1
    return mine, message
end

function ConcurrencyLimit:on_request(req)
    local key = self.key_of(self, req)
    if #key > KEY_MAX then
        key = self.id .. "\1#" .. perigee.crypto.hash("sha256", key)
    end
    local mine, message = enter(self, key)
    if mine == false and self.waiting < self.places then
        mine, message = queue(self, req, key)
    end
    if mine == nil then
        return nil, message
    elseif not mine then
        refused:inc(1, { req.route })
        return try_later.refuse(REFUSAL, req)
    end
    req.ctx[self] = mine
end

-- Comes at the end of every exchange, whatever ended it.
function ConcurrencyLimit:on_log(req)
    local place = req.ctx[self]
    if not place then
        return
    elseif place.is_waiting then
        self.waiting = self.waiting - 1
    elseif place.key and now() < place.ends then
        give_back(self, place.key)
    end
end

return ConcurrencyLimit
