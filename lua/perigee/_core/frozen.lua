-- SPDX-License-Identifier: MIT
--
-- Read-only views of library tables, for scripts: what a script could change there, every policy of every generation would
-- see. `rawset` is what could get round a view, so scripts get one that refuses protected tables.

local type, error, tostring, setmetatable, rawset = type, error, tostring, setmetatable, rawset

local frozen = {}

local PROTECTED = "read-only"

local function refuser(name)
    return function(_, key)
        error("'" .. name .. "' is read-only: '" .. tostring(key) .. "' cannot be set", 2)
    end
end

--- A view that reads through to `real`, live.
---@param real table
---@param name string for messages
---@return table
function frozen.view(real, name)
    local meta = { __index = real, __newindex = refuser(name), __metatable = PROTECTED }
    local behind = debug.getmetatable(real)
    local call = behind and behind.__call
    if call then
        meta.__call = function(_, ...)
            return call(real, ...)
        end
    end
    return setmetatable({}, meta)
end

--- A view of a copy of `real` as it is now; plain tables in it are views too.
---@param real table
---@param name string for messages
---@return table
function frozen.copy(real, name)
    local behind = debug.getmetatable(real)
    local copy = setmetatable({}, behind and { __call = behind.__call and function(_, ...)
        return behind.__call(real, ...)
    end })
    for key, value in pairs(real) do
        local is_plain = type(value) == "table" and debug.getmetatable(value) == nil
        copy[key] = is_plain and frozen.copy(value, name .. "." .. tostring(key)) or value
    end
    return frozen.view(copy, name)
end

--- rawset for scripts: not on tables whose metatable is hidden.
function frozen.rawset(target, key, value)
    if type(target) == "table" then
        local meta = debug.getmetatable(target)
        if meta and meta.__metatable ~= nil then
            error("this table is protected: '" .. tostring(key) .. "' cannot be set", 2)
        end
    end
    return rawset(target, key, value)
end

--- pairs for scripts: walks also what says how (headers, query …).
function frozen.pairs(target)
    local meta = type(target) == "table" and debug.getmetatable(target)
    if meta and meta.__pairs then
        return meta.__pairs(target)
    end
    return pairs(target)
end


return frozen
