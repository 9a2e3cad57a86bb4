-- SPDX-License-Identifier: MIT
--
-- What `require "perigee"` gives to policies and configurations.

local ffi = require "ffi"
local async = require "perigee._core.async"
local frozen = require "perigee._core.frozen"
local policy = require "perigee.policy"
local public = require "perigee._core.public"
local reply = require "perigee.reply"
local suggest = require "perigee._core.suggest"
local task = require "perigee._core.task"

---@class perigee
---@field base64 table
---@field cache table
---@field crypto table
---@field http table
---@field ip table
---@field json table
---@field jwt table
---@field log table
---@field metrics table
---@field redis table
---@field regex table
---@field shared table
---@field time table
---@field timer table
---@field upstream table
---@field uri table
---@field worker integer number of this worker, from 0
local perigee = {
    problem = reply.problem,
    reply = reply.new,
    sleep = async.sleep,
    spawn = task.spawn,
    wait = task.wait,
    worker = ffi.C.peri_ffi_worker(),
}

--- Declares a policy; see perigee/policy.lua.
---@param declared perigee.Declaration
---@return perigee.Policy
function perigee.policy(declared)
    return policy(declared)
end

local known = {}
for name in pairs(perigee) do
    known[#known + 1] = name
end
for _, name in ipairs(public.MODULES) do
    known[#known + 1] = name
end
table.sort(known)

-- Modules are loaded when a script first names them.
local function load_module(_, name)
    if type(name) ~= "string" or not public.is_module("perigee." .. name) then
        error("perigee has no '" .. tostring(name) .. "'" .. suggest.tail(tostring(name), known, "names"), 2)
    end
    local module = frozen.copy(require("perigee." .. name), "perigee." .. name)
    perigee[name] = module
    return module
end

return frozen.view(setmetatable(perigee, { __index = load_module }), "perigee")
