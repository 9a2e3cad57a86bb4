-- SPDX-License-Identifier: MIT
--
-- What a JSON configuration has in place of `file "path"` and `env "NAME"`: { "$file": "path" } and { "$env": "NAME" }.

local readable = require "perigee._core.readable"

local references = {}

local function read_reference(build, value)
    local key, name = next(value)
    if (key ~= "$file" and key ~= "$env") or next(value, key) ~= nil or type(name) ~= "string" then
        return false
    end
    local text, message
    if key == "$file" then
        text, message = build.read_file(name)
        message = message or "cannot read " .. readable.quote(name)
    else
        text, message = build.env(name), "the environment has no " .. readable.quote(name)
    end
    return true, text, message
end

local function expand(build, value, path)
    if value == build.null then
        return nil
    elseif type(value) ~= "table" then
        return value
    end
    local is_reference, text, message = read_reference(build, value)
    if is_reference then
        if text == nil then
            return build:error(path, message)
        end
        build.secrets[text] = true
        return text
    end
    local copy = {}
    for key, item in pairs(value) do
        path[#path + 1] = key
        copy[key] = expand(build, item, path)
        path[#path] = nil
    end
    return copy
end

--- Copy of a decoded JSON configuration with its references read. What they give is kept out of messages.
---@param build table state of _core/config.lua
---@param value any
---@return any
function references.expand(build, value)
    return expand(build, value, {})
end

return references
