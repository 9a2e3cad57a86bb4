-- SPDX-License-Identifier: MIT
--
-- A shadow is what a policy in a dry run sees of its exchange: it reads the real one and its own changes, and when its hook
-- ends, or waits, the real one is there again as if nothing had been done. `current.shadow` is the one whose policy runs.
--
--   enter: a copy of the heads is kept, the policy works on the original
--   pause, leave: both change places (_core/async.lua pauses at every wait)
--
-- A shadow belongs to one call of a hook; what a policy writes to req.ctx is kept from hook to hook, apart from the real one.

local ffi = require "ffi"
local current = require "perigee._core.current"
local head = require "perigee._core.head"
local slot = require "perigee._core.slot"

local C, ipairs, pcall, setmetatable = ffi.C, ipairs, pcall, setmetatable

local shadow = {}

---@class perigee.Shadow
---@field instance table the policy instance that runs
---@field id integer
---@field s ffi.cdata* slot
---@field gen integer
---@field place integer copy of the heads; negative when nothing can be changed any more
---@field ctx table
---@field bodies table<integer, string> what it made of the bodies, by side
---@field more perigee.Change[] changes beside the heads
---@field status integer|nil what a limit that it set would answer

local function ctx_of(state, instance)
    state.shadows = state.shadows or {}
    local ctx = state.shadows[instance]
    if not ctx then
        ctx = setmetatable({}, { __index = state.ctx, __metatable = "perigee.ctx" })
        state.shadows[instance] = ctx
    end
    return ctx
end

--- Begins a shadow for a policy instance on the exchange of `req`; nil when memory is short.
---@param req perigee.Request
---@param instance table
---@return perigee.Shadow|nil
function shadow.enter(req, instance)
    local s = slot.enter(req)
    local ctx = ctx_of(slot.state(req), instance)
    local place = C.peri_ffi_head_keep(s)
    if place == -2 then
        return nil
    end
    local this = {
        instance = instance, id = req[1], s = s, gen = s.gen, place = place, ctx = ctx, bodies = {}, more = {},
    }
    if place >= 0 then
        this.before = head.read(s)
    end
    current.shadow = this
    return this
end

--- Begins a shadow for what a policy started in another one, if the exchange is still there. False when memory is short.
---@param other perigee.Shadow
---@return boolean
function shadow.reenter(other)
    return other.s.gen ~= other.gen or shadow.enter({ other.id, other.gen }, other.instance) ~= nil
end

-- The attempt goes where it went.
local function restore_target(this, before, after)
    local upstream, endpoint = before["attempt.upstream"], before["attempt.endpoint"] or ""
    if upstream and (after["attempt.upstream"] ~= upstream or (after["attempt.endpoint"] or "") ~= endpoint) then
        C.peri_ffi_choose(this.s, upstream, #upstream, endpoint, #endpoint)
    end
end

local function swap(this)
    if this.place >= 0 and this.s.gen == this.gen then
        C.peri_ffi_head_swap(this.s, this.place)
        return true
    end
    return false
end

--- The policy waits: the real exchange is there meanwhile.
---@param this perigee.Shadow
function shadow.pause(this)
    current.shadow = false
    if this.place >= 0 and this.s.gen == this.gen then
        this.paused = head.read(this.s)
        restore_target(this, this.before, this.paused)
        swap(this)
    end
end

--- The policy goes on with what it had made of the exchange.
---@param this perigee.Shadow
function shadow.resume(this)
    if swap(this) then
        restore_target(this, this.paused, this.before)
    end
    current.shadow = this
end

--- Ends a shadow: everything is as it was. What would have been different.
---@param this perigee.Shadow
---@return perigee.Change[]
function shadow.leave(this)
    local changes = this.more
    current.shadow = false
    if this.place < 0 or this.s.gen ~= this.gen then
        return changes
    end
    local ok, after = pcall(head.read, this.s) -- memory may be short: the real heads come back all the same
    swap(this)
    C.peri_ffi_head_drop(this.s, this.place)
    if ok then
        restore_target(this, this.before, after)
        for _, change in ipairs(head.changes(this.before, after)) do
            changes[#changes + 1] = change
        end
    end
    return changes
end

--- Ends the shadow that a hook left behind when it was stopped.
function shadow.abandon()
    if current.shadow then
        shadow.leave(current.shadow)
    end
end

--- Notes what the policy makes of a body.
---@param this perigee.Shadow
---@param side integer
---@param text string
function shadow.set_body(this, side, text)
    local name = side == 0 and "req.body" or "res.body"
    this.bodies[side] = text
    this.more[#this.more + 1] = { what = name, to = #text .. " bytes" }
end

--- Notes something else that the policy would have set.
---@param this perigee.Shadow
---@param what string
---@param to string
function shadow.note(this, what, to)
    this.more[#this.more + 1] = { what = what, to = to }
end

--- Notes a response flag that the policy would have set.
---@param this perigee.Shadow
---@param name string
function shadow.note_flag(this, name)
    for _, change in ipairs(this.more) do
        if change.what == "req.flags" then
            change.to = change.to .. "," .. name
            return
        end
    end
    shadow.note(this, "req.flags", name)
end

--- Notes the limit that the policy gives the request's body: a body that is announced to be larger would be refused.
---@param this perigee.Shadow
---@param bytes number
function shadow.limit_body(this, bytes)
    if C.peri_ffi_number(this.s, C.PERI_FFI_LENGTH) > bytes then
        this.status = 413
    end
end

return shadow
