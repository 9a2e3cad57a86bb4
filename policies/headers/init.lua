-- SPDX-License-Identifier: MIT
--
-- Edits headers of requests and responses: first `remove`, then `set`, then `add`, names in alphabetical order. Where all
-- policies of a route are such edits the runtime makes them itself (`edits`), without entering Lua.

local perigee = require "perigee"
local is_token = require("perigee.algo.token").is

-- How a message is framed and where it goes is the runtime's business.
local RESERVED = {
    connection = true, ["content-length"] = true, host = true, ["keep-alive"] = true, ["proxy-connection"] = true,
    te = true, trailer = true, ["transfer-encoding"] = true, upgrade = true,
}

local function check_name(name)
    if not is_token(name) then
        return "expected the name of a header field such as \"x-user\""
    elseif RESERVED[name:lower()] then
        return "'" .. name .. "' is the runtime's own and cannot be edited"
    end
end

local function check_value(value)
    if value:find("[%z\1-\8\10-\31\127]") then
        return "the value of a header field has no control characters"
    elseif not perigee.json.encode(value) then
        return "the value of a header field is UTF-8"
    end
end

local function check(conf)
    if not conf.request and not conf.response then
        return "needs 'request', 'response' or both"
    end
end

local name, value = { type = "string", check = check_name }, { type = "string", check = check_value }

local side = {
    set = { type = "map", keys = name, values = value, doc = "Value by name; takes the place of what was there." },
    add = {
        type = "map", keys = name, values = { type = "one_of", of = { value, { type = "list", items = value } } },
        doc = "Value, or list of values, by name; beside what was there.",
    },
    remove = { type = "list", items = name, doc = "Names; every field of the name goes." },
}

local Headers = perigee.policy {
    name = "headers",
    stage = "transform",
    check = check,
    schema = {
        request = { type = "table", fields = side, doc = "What the upstream gets." },
        response = { type = "table", fields = side, doc = "What the client gets." },
    },
}

local function sorted_names(map)
    local names = {}
    for key in pairs(map or {}) do
        names[#names + 1] = key
    end
    table.sort(names)
    return names
end

local function append_side(list, on, edits)
    for _, key in ipairs(edits.remove or {}) do
        list[#list + 1] = { on = on, op = "remove", name = key:lower() }
    end
    for _, key in ipairs(sorted_names(edits.set)) do
        list[#list + 1] = { on = on, op = "set", name = key:lower(), value = edits.set[key] }
    end
    for _, key in ipairs(sorted_names(edits.add)) do
        local values = edits.add[key]
        for _, text in ipairs(type(values) == "table" and values or { values }) do
            list[#list + 1] = { on = on, op = "add", name = key:lower(), value = text }
        end
    end
end

function Headers:edits(conf)
    local list = {}
    append_side(list, "request", conf.request or {})
    append_side(list, "response", conf.response or {})
    return list
end

function Headers:init()
    self.on = { request = {}, response = {} }
    for _, edit in ipairs(self:edits(self.conf)) do
        local list = self.on[edit.on]
        list[#list + 1] = edit
    end
end

local function apply(headers, list)
    for i = 1, #list do
        local edit = list[i]
        if edit.op == "set" then
            headers:set(edit.name, edit.value)
        elseif edit.op == "add" then
            headers:add(edit.name, edit.value)
        else
            headers:remove(edit.name)
        end
    end
end

function Headers:on_request(req)
    apply(req.headers, self.on.request)
end

function Headers:on_response(_, res)
    apply(res.headers, self.on.response)
end

return Headers
