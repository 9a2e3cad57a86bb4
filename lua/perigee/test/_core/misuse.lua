-- SPDX-License-Identifier: MIT
--
-- Errors that name the line of the spec that used the kit wrongly, however deep in the kit it is noticed.

local getinfo = debug.getinfo

local misuse = {}

local DEPTH_MAX = 64

-- Code that stands between the spec and where an error is noticed.
local function is_between(source)
    return source:find("^@lua/perigee/") or source:find("^@/usr/[^:]*/lua/5%.1/") or source:sub(1, 1) ~= "@"
end

--- "file:line" of the innermost function that is the spec's (or a policy's) own; nil when there is none.
---@return string|nil
function misuse.place()
    for level = 2, DEPTH_MAX do
        local info = getinfo(level, "Sl")
        if not info then
            return nil
        elseif info.currentline > 0 and not is_between(info.source) then
            return info.source:sub(2) .. ":" .. info.currentline
        end
    end
end

--- Raises an error at the line of the spec.
---@param message string
function misuse.raise(message)
    local place = misuse.place()
    error(place and place .. ": " .. message or message, 0)
end

--- Raises an error when `value` is not of the type that `what` expects.
---@param what string "gw:get expects a path"
---@param value any
---@param expected string name of a type
function misuse.check(what, value, expected)
    if type(value) ~= expected then
        misuse.raise(what .. ", not a " .. type(value))
    end
end

return misuse
