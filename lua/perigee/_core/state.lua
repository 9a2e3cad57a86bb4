-- SPDX-License-Identifier: MIT
--
-- What policies hand over at a reload: save() of the old instance returns plain data, restore(state) of the new one gets a
-- copy of it, so that nothing of the old generation stays alive. Instances are the same when they are of the same policy on
-- a route of the same name (the n-th there, if it is used more than once).

local state = {}

local DEPTH = 32

local function copy(value, depth)
    local kind = type(value)
    if kind == "string" or kind == "number" or kind == "boolean" or kind == "nil" then
        return value
    elseif kind ~= "table" then
        error("save() returned a " .. kind .. " inside its state; a state is plain data", 0)
    elseif depth == 0 then
        error("save() returned tables more than " .. DEPTH .. " deep", 0)
    end
    local fresh = {}
    for key, item in pairs(value) do
        fresh[copy(key, depth - 1)] = copy(item, depth - 1)
    end
    return fresh
end

--- Instances with the keys that they can be found by: { { use, keys }, … }, each instance once, in order of first use.
---@param chains { name: string, policies: perigee.Use[] }[]
---@return { use: perigee.Use, keys: string[] }[]
function state.instances(chains)
    local list, by_instance = {}, {}
    for _, chain in ipairs(chains) do
        local seen = {}
        for _, use in ipairs(chain.policies) do
            seen[use.name] = (seen[use.name] or 0) + 1
            local entry = by_instance[use.instance]
            if not entry then
                entry = { use = use, keys = {} }
                by_instance[use.instance] = entry
                list[#list + 1] = entry
            end
            entry.keys[#entry.keys + 1] = chain.name .. "\0" .. use.name .. "\0" .. seen[use.name]
        end
    end
    return list
end

--- The entry of `previous` that `entry` takes over from, or nil.
function state.find(previous, entry)
    for _, key in ipairs(entry.keys) do
        if previous[key] then
            return previous[key]
        end
    end
end

--- Entries by key.
function state.index(entries)
    local by_key = {}
    for _, entry in ipairs(entries) do
        for _, key in ipairs(entry.keys) do
            by_key[key] = entry
        end
    end
    return by_key
end

--- Hands the state of one instance to another. Raises what save() or restore() raise.
function state.hand_over(old, new)
    if old.use.instance.save and new.use.instance.restore then
        local saved = old.use.instance:save()
        if saved ~= nil then
            new.use.instance:restore(copy(saved, DEPTH))
        end
    end
end

return state
