-- SPDX-License-Identifier: MIT
--
-- With which probability a request is better not sent, from how many succeeded lately: the client-side throttling of Google's
-- SRE book ("Handling Overload") with Envoy's threshold and aggression. Of what was sent in the window:
--
--   probability = ((total - succeeded / threshold) / (total + 1)) ^ (1 / aggression)      at least 0, at most max_rejection
--
-- Requests that were not sent are not counted, and some are always sent: so it is found out when the other side is well again.
-- The window moves in steps of a second. Pure: time is passed in.

local floor, max, min = math.floor, math.max, math.min

local admission = {}

---@class perigee.AdmissionOptions
---@field window integer seconds that are looked back
---@field threshold number part of the requests that succeed when all is well, above 0
---@field aggression number 1: the probability rises in proportion; more: earlier
---@field max_rejection number the highest probability
---@field min_rate number requests a second, on average over the window, below which nothing is refused

---@class perigee.Admission
---@field total integer requests of the window
---@field succeeded integer those of them that succeeded

--- One that has seen nothing.
---@param options perigee.AdmissionOptions kept
---@param now number seconds
---@return perigee.Admission
function admission.new(options, now)
    local self = { options = options, second = floor(now), total = 0, succeeded = 0, totals = {}, successes = {} }
    for i = 0, options.window - 1 do
        self.totals[i], self.successes[i] = 0, 0
    end
    return self
end

-- Forgets the seconds that the window has left behind.
local function turn(self, now)
    local second, length = floor(now), self.options.window
    for passed = max(self.second + 1, second - length + 1), second do
        local i = passed % length
        self.total, self.succeeded = self.total - self.totals[i], self.succeeded - self.successes[i]
        self.totals[i], self.successes[i] = 0, 0
    end
    self.second = max(self.second, second)
end

--- With which probability a request should be refused now.
---@param self perigee.Admission
---@param now number seconds
---@return number probability
function admission.probability(self, now)
    turn(self, now)
    local options, total = self.options, self.total
    local missing = total - self.succeeded / options.threshold
    if missing <= 0 or total < options.min_rate * options.window then
        return 0
    end
    return min(options.max_rejection, (missing / (total + 1)) ^ (1 / options.aggression))
end

--- Takes note of how a request that was sent went.
---@param self perigee.Admission
---@param is_success boolean
---@param now number seconds
function admission.record(self, is_success, now)
    turn(self, now)
    local i = self.second % self.options.window
    self.total, self.totals[i] = self.total + 1, self.totals[i] + 1
    if is_success then
        self.succeeded, self.successes[i] = self.succeeded + 1, self.successes[i] + 1
    end
end

--- What another one needs to go on from here: plain data.
---@param self perigee.Admission
---@return table
function admission.save(self)
    local seconds, length = {}, self.options.window
    for second = self.second - length + 1, self.second do
        local i = second % length
        if self.totals[i] > 0 then
            seconds[#seconds + 1] = { second, self.totals[i], self.successes[i] }
        end
    end
    return seconds
end

--- Goes on from what another one has saved, as far as its own window reaches.
---@param self perigee.Admission a new one
---@param saved table
function admission.restore(self, saved)
    local length = self.options.window
    for _, entry in ipairs(saved) do
        local second, total, succeeded = entry[1], entry[2], entry[3]
        if second > self.second - length and second <= self.second then
            local i = second % length
            self.totals[i], self.successes[i] = total, succeeded
            self.total, self.succeeded = self.total + total, self.succeeded + succeeded
        end
    end
end

return admission
