-- SPDX-License-Identifier: MIT
--
-- An output of busted that prints nothing: the report of the kit stands in its place.

---@return table handler
return function()
    return require "busted.outputHandlers.base"()
end
