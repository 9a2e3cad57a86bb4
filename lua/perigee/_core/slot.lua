-- SPDX-License-Identifier: MIT
--
-- Handles on exchanges. A Lua object holds the number of a slot and the slot's generation, never a pointer: [1] and [2] of
-- its table. `enter` turns that into the slot, or raises an error when the exchange has ended. A generation is a random number
-- that only the exchange's own objects hold, so a script cannot make up a handle on another. Every object is a table of its
-- own, made when it is asked for and kept nowhere: nothing that a script kept can come to mean another exchange, and LuaJIT
-- does not even make those that stay inside a trace.

local ffi = require "ffi"

local C, error, type = ffi.C, error, type
local ffi_string = ffi.string

local slot = {}

local slots = {} -- cdata by id

--- What Lua keeps of an exchange, by slot id: false, or a table with `ctx` and the last chunks of its bodies. The runtime puts
--- false when the exchange ends.
---@type table<integer, table|false>
slot.states = {}

--- Chain by slot id; may be of an exchange that has ended.
---@type table<integer, table>
slot.chains = {}

--- The slot with this id, for an exchange that is alive.
---@param id integer
---@return ffi.cdata* slot
function slot.adopt(id)
    local found = slots[id]
    if not found then
        slot.states[id] = false -- before the runtime is told that it is there
        found = C.peri_ffi_slot(id)
        slots[id] = found
    end
    return found
end

--- The slot behind an object.
---@param object table
---@return ffi.cdata* slot
function slot.enter(object)
    if type(object) ~= "table" then
        error("this is a method: call it with ':' on a request, a response or a part of one", 3)
    end
    local found = slots[object[1]]
    if not found or found.gen ~= object[2] then
        error("the request was used after its exchange ended", 3)
    end
    return found
end

--- Chain of the exchange behind an object.
---@param object table
---@return table
function slot.chain(object)
    return slot.chains[object[1]]
end

--- The state of the exchange behind an object.
---@param object table
---@return table
function slot.state(object)
    local id = object[1]
    local state = slot.states[id]
    if not state then
        state = { ctx = {}, request_chunk = "", response_chunk = "" }
        slot.states[id] = state
    end
    return state
end

--- Forgets the chains of a generation that is about to go.
---@param generation table
function slot.forget(generation)
    for id, chain in pairs(slot.chains) do
        if chain.generation == generation then
            slot.chains[id] = nil
        end
    end
end

--- The bytes of the last answer as a string.
---@param found ffi.cdata*
---@return string
function slot.text(found)
    return ffi_string(found.ptr, found.len)
end

--- Raises what an error code of the runtime means.
---@param code integer
---@param what string what was tried
function slot.fail(code, what)
    error(what .. ": " .. ffi_string(C.peri_ffi_error_text(code)), 3)
end

return slot
