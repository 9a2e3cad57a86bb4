-- SPDX-License-Identifier: MIT
--
-- Where in a script an error arose: file and line of the innermost function that is the user's, not the SDK's.

local ffi = require "ffi"
local watch = require "perigee._core.watch"

local C = ffi.C
local type, tostring, xpcall = type, tostring, xpcall
local getinfo = debug.getinfo
local clock = watch.clock

local place = {}

local SDK = "@lua/perigee/"

-- "file:line: " of the innermost frame that is a script's; "" when there is none.
local function innermost()
    for level = 3, 64 do
        local info = getinfo(level, "Sl")
        if not info then
            break
        elseif info.source:sub(1, 1) == "@" and info.source:sub(1, #SDK) ~= SDK and info.currentline > 0 then
            return info.source:sub(2) .. ":" .. info.currentline .. ": "
        end
    end
    return ""
end

local function trap(err)
    local message = type(err) == "string" and err or "the error is a " .. type(err) .. ", not a message"
    local file = message:match("^([^:\n]+):%d+: ")
    if not file then
        return innermost() .. message
    elseif file:find("^lua/perigee/") then
        return innermost() .. message:gsub("^[^:]+:%d+: ", "")
    end
    return message
end

--- Calls a function: true and its first result, or false and a message that begins with "file:line: " where that is known.
---@param call function
---@return boolean ok
---@return any result
function place.call(call, ...)
    local ok, result = xpcall(call, trap, ...)
    return ok, result
end

--- As call, for the runtime itself: what comes next has the whole CPU budget. No script may have a way to call this.
---@param call function
---@return boolean ok
---@return any result
function place.run(call, ...)
    local ok, result = xpcall(call, trap, ...)
    C.peri_ffi_budget_end()
    clock.is_spent = 0
    return ok, result
end

--- Takes such a message apart.
---@param message string
---@return { file: string|nil, line: integer|nil, message: string }
function place.parse(message)
    local file, line, rest = tostring(message):match("^([^:\n]+):(%d+): (.*)$")
    return { file = file, line = tonumber(line), message = rest or tostring(message) }
end

return place
