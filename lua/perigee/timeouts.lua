-- SPDX-License-Identifier: MIT
--
-- How long one exchange may take, in the place of what the configuration says: `req.timeouts.request = 2`. Seconds; 0 is no
-- limit. They are set before the request is sent on, and are not read: what holds may be the upstream's.

local ffi = require "ffi"
local current = require "perigee._core.current"
local shadow = require "perigee._core.shadow"
local slot = require "perigee._core.slot"

local C, setmetatable, type, error, tostring = ffi.C, setmetatable, type, error, tostring
local enter, fail = slot.enter, slot.fail

---@class perigee.Timeouts
---@field request number from the complete request to the response, over all attempts
---@field per_try number the same, for each attempt
---@field idle number without a byte of the response
---@field stream number for the whole exchange or tunnel
---@field hedge number after which the request is sent a second time, where the upstream has `hedge` or `retries`

local Timeouts = { __metatable = "perigee.Timeouts" }

local FIELDS = {
    request = C.PERI_FFI_LIMIT_REQUEST,
    per_try = C.PERI_FFI_LIMIT_PER_TRY,
    idle = C.PERI_FFI_LIMIT_IDLE,
    stream = C.PERI_FFI_LIMIT_STREAM,
    hedge = C.PERI_FFI_LIMIT_HEDGE,
}

local function check(name)
    if not FIELDS[name] then
        error("timeouts have no field '" .. tostring(name)
            .. "'; they have request, per_try, idle, stream and hedge", 3)
    end
end

function Timeouts.__index(_, name)
    check(name)
    error("req.timeouts." .. name .. " is set, not read", 2)
end

function Timeouts.__newindex(self, name, value)
    local s = enter(self)
    check(name)
    if type(value) ~= "number" or value ~= value or value < 0 then
        error("req.timeouts." .. name .. " is a number of seconds", 2)
    elseif current.shadow then
        return shadow.note(current.shadow, "req.timeouts." .. name, value .. " s")
    end
    local code = C.peri_ffi_limit(s, FIELDS[name], value)
    if code ~= 0 then
        fail(code, "cannot set req.timeouts." .. name)
    end
end

local timeouts = {}

--- The timeouts of the request `owner`.
---@return perigee.Timeouts
function timeouts.new(owner)
    return setmetatable({ owner[1], owner[2] }, Timeouts)
end

--- Brings the deadline of the request nearer; one that is later than the present one changes nothing.
---@param owner perigee.Request
---@param at number on the clock of perigee.time.monotonic()
function timeouts.set_deadline(owner, at)
    local s = enter(owner)
    if type(at) ~= "number" or at ~= at then
        error("req.deadline is a moment on the clock of perigee.time.monotonic()", 3)
    end
    local left = at - C.peri_ffi_monotonic()
    if current.shadow then
        return shadow.note(current.shadow, "req.deadline", ("in %.3f s"):format(left))
    end
    local code = C.peri_ffi_limit(s, C.PERI_FFI_LIMIT_DEADLINE, left > 0 and left or 0)
    if code ~= 0 then
        fail(code, "cannot set req.deadline")
    end
end

return timeouts
