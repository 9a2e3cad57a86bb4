-- SPDX-License-Identifier: MIT
--
-- The first module of the SDK: declares the runtime's functions to LuaJIT, closes what scripts must not reach, and gives the
-- runtime what it calls.

local ffi = require "ffi"
local native = require "perigee._core.native"

-- Lines of the preprocessor are not for LuaJIT's parser.
ffi.cdef((native.embedded("include/perigee/ffi.h"):gsub("%f[^\n%z]#[^\n]*", "")))

if ffi.C.peri_ffi_abi() ~= ffi.C.PERI_ABI then
    error("the SDK is of another version than the runtime: rebuild")
end

-- Many policies mean many traces: room for them, where the defaults are small.
jit.opt.start("maxtrace=8000", "maxrecord=16000", "maxmcode=40960")

local seed = ffi.new("int32_t[1]")
if ffi.C.peri_ffi_random(ffi.cast("char *", seed), 4) == 0 then
    math.randomseed(seed[0])
end

-- Methods of strings are reached by every script: they are the bounded ones, and their table cannot be changed.
local bounded = require "perigee._core.bounded"
debug.getmetatable("").__index = bounded.string
debug.getmetatable("").__metatable = "string"

local slot = require "perigee._core.slot"
local task = require "perigee._core.task"

return {
    states = slot.states,
    jobs = task.jobs,
    run_task = task.run,
    generation = require "perigee._core.generation",
}
