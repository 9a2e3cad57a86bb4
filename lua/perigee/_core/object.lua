-- SPDX-License-Identifier: MIT
--
-- Objects that scripts get from the SDK and keep: an expression, a key, a set, a metric. What an object is made of is kept apart
-- from it, and so are its methods: a script can neither change them for others nor hand its own numbers to the runtime.

local error, setmetatable, tostring, type = error, setmetatable, tostring, type

local object = {}

local insides = setmetatable({}, { __mode = "k" }) -- by object

--- A class of objects.
---@param name string what getmetatable gives for its objects
---@return table<string, function> methods to be filled
---@return fun(inside: table): table new makes an object; `inside.public`, if any, holds the fields that scripts may read
function object.class(name)
    local methods = {}
    local meta = { __metatable = name }

    function meta.__index(self, key)
        local method = methods[key]
        if method == nil then
            local public = insides[self].public
            return public and public[key]
        end
        return method
    end

    function meta.__newindex(_, key)
        error("a " .. name .. " is read-only: '" .. tostring(key) .. "' cannot be set", 2)
    end

    return methods, function(inside)
        local self = setmetatable({}, meta)
        insides[self] = inside
        return self
    end
end

--- What an object is made of. Raises an error when it is none.
---@param self table
---@return table
function object.inside(self)
    local inside = type(self) == "table" and insides[self]
    return inside or error("this is a method: call it with ':' on an object of the SDK", 3)
end

return object
