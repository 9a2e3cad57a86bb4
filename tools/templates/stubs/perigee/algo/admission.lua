---@meta
-- Made by tools/stubs.py from the annotations in lua/perigee/. Editors read it; it is never run.
--
-- With which probability a request is better not sent, from how many succeeded lately: the client-side throttling of Google's
-- SRE book ("Handling Overload") with Envoy's threshold and aggression. Of what was sent in the window:
--
-- probability = ((total - succeeded / threshold) / (total + 1)) ^ (1 / aggression)      at least 0, at most max_rejection
--
-- Requests that were not sent are not counted, and some are always sent: so it is found out when the other side is well again.
-- The window moves in steps of a second. Pure: time is passed in.

---@class perigee.AdmissionOptions
---@field window integer seconds that are looked back
---@field threshold number part of the requests that succeed when all is well, above 0
---@field aggression number 1: the probability rises in proportion; more: earlier
---@field max_rejection number the highest probability
---@field min_rate number requests a second, on average over the window, below which nothing is refused
local AdmissionOptions = {}

---@class perigee.Admission
---@field total integer requests of the window
---@field succeeded integer those of them that succeeded
local Admission = {}

---@class perigee.algo.admission.module
local admission = {}

--- One that has seen nothing.
---@param options perigee.AdmissionOptions kept
---@param now number seconds
---@return perigee.Admission
function admission.new(options, now) end

--- With which probability a request should be refused now.
---@param self perigee.Admission
---@param now number seconds
---@return number probability
function admission.probability(self, now) end

--- Takes note of how a request that was sent went.
---@param self perigee.Admission
---@param is_success boolean
---@param now number seconds
function admission.record(self, is_success, now) end

--- What another one needs to go on from here: plain data.
---@param self perigee.Admission
---@return table
function admission.save(self) end

--- Goes on from what another one has saved, as far as its own window reaches.
---@param self perigee.Admission a new one
---@param saved table
function admission.restore(self, saved) end

return admission
