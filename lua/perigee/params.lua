-- SPDX-License-Identifier: MIT
--
-- Captures of the route's path, by the name that the route gives them: `req.params.id` for "/users/{id}".

local ffi = require "ffi"
local slot = require "perigee._core.slot"

local C, setmetatable, error = ffi.C, setmetatable, error
local ffi_string = ffi.string
local enter = slot.enter

local Params = { __metatable = "perigee.Params" }

function Params.__index(self, name)
    local s = enter(self)
    local index = slot.chain(self).captures[name]
    if not index or C.peri_ffi_capture(s, index) == 0 then
        return nil
    end
    return ffi_string(s.ptr, s.len)
end

function Params.__pairs(self)
    enter(self)
    local names = slot.chain(self).captures
    return function(_, last)
        local name = next(names, last)
        return name, name and self[name]
    end
end

function Params.__newindex()
    error("req.params is read-only", 2)
end

local params = {}

--- The captures of the request `owner`.
function params.new(owner)
    return setmetatable({ owner[1], owner[2] }, Params)
end

return params
