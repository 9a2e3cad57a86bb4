-- SPDX-License-Identifier: MIT
--
-- Policies that spend their CPU budget again and again are not asked any more: their hooks fail at once, which gives what
-- on_failure says, until a reload brings another generation.

local ffi = require "ffi"

local C = ffi.C

local quarantine = {}

local TRIPS, SECONDS = 5, 10
local ERROR = 3
local HOOKS = {
    "on_request", "on_request_body", "on_upstream", "on_response", "on_response_body", "around", "on_connect",
}
local MESSAGE = "it is in quarantine until the next reload: it spent its CPU budget " .. TRIPS .. " times in "
    .. SECONDS .. " s"

local function refuse()
    return nil, MESSAGE
end

local function isolate(chain, step, hook)
    for _, name in ipairs(HOOKS) do
        step[name] = step[name] and refuse
    end
    step.on_log = step.on_log and function() end
    if hook == "when" then
        step.when = function()
            error(MESSAGE, 0)
        end
    end
    C.peri_ffi_policy_quarantine(step.metric, chain.generation.number)
    local text = "policy '" .. step.name .. "' on " .. (chain.kind or "route") .. " '" .. chain.name .. "': " .. MESSAGE
    C.peri_ffi_log(ERROR, text, #text)
end

--- Notes that a step of a chain spent its budget in `hook`.
function quarantine.note(chain, step, hook)
    local now = C.peri_ffi_monotonic()
    C.peri_ffi_policy_trip(step.metric)
    local trips = step.trips or {}
    step.trips = trips
    trips[#trips + 1] = now
    if #trips > TRIPS then
        table.remove(trips, 1)
    end
    if #trips == TRIPS and now - trips[1] <= SECONDS then
        isolate(chain, step, hook)
    end
end

return quarantine
