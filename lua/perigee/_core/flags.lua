-- SPDX-License-Identifier: MIT
--
-- The response flags that scripts may set, in Envoy's letters: a fixed set, so that no text of a script reaches the access log.

local bit = require "bit"
local ffi = require "ffi"

local C, band, concat = ffi.C, bit.band, table.concat

local flags = {}

--- In the order in which they are told.
---@type string[]
flags.names = { "DI", "FI", "RL", "RLSE", "UAEX", "UO" }

---@type table<string, integer>
flags.bits = {}
for _, name in ipairs(flags.names) do
    flags.bits[name] = tonumber(C["PERI_FFI_FLAG_" .. name])
end

--- The letters of bits, joined by commas; "" for none.
---@param value number
---@return string
function flags.text(value)
    local found = {}
    for _, name in ipairs(flags.names) do
        if band(value, flags.bits[name]) ~= 0 then
            found[#found + 1] = name
        end
    end
    return concat(found, ",")
end

return flags
