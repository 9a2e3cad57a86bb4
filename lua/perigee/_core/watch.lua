-- SPDX-License-Identifier: MIT
--
-- What the SDK has to do with the CPU budget (runtime/script/watchdog.h): whoever calls a script writes its budget to
-- `watch.clock`, and scripts are loaded so that they can be stopped.

local ffi = require "ffi"

local load, off = load, jit.off

local watch = {}

--- The budget of what runs (struct peri_ffi_watch).
watch.clock = ffi.C.peri_ffi_watch()

--- Seconds of CPU time that a call has when nothing else is said.
watch.DEFAULT = ffi.C.PERI_FFI_BUDGET_MS / 1000

--- Compiles the text of a script; as load.
---@param text string
---@param name string|nil
---@param environment table
---@return function|nil
---@return string|nil message
function watch.load(text, name, environment)
    local chunk, message = load(text, name, "t", environment)
    if chunk and watch.clock.is_interpreted ~= 0 then
        off(chunk, true)
    end
    return chunk, message
end

return watch
