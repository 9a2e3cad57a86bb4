-- SPDX-License-Identifier: MIT
--
-- Room for results that C writes and Lua turns into a string at once: scratch(size) gives a char array of at least `size`
-- bytes, whose content is lost at the next call. Never held across a yield.

local ffi = require "ffi"

local SIZE = 16384
local kept = ffi.new("char[?]", SIZE)

---@param size integer bytes
---@return ffi.cdata* buffer
return function(size)
    if size <= SIZE then
        return kept
    end
    return ffi.new("char[?]", size)
end
