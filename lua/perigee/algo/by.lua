-- SPDX-License-Identifier: MIT
--
-- Whose requests are counted together: the setting `by` of policies that count, and the keys of what they count. A key begins
-- with what tells the use of the policy, which its instance has as `address` and `other`.

local is_token = require("perigee.algo.token").is

local by = {}

--- Is `text` "client", "consumer", "route" or "header:NAME"?
---@param text string
---@return boolean
function by.is_known(text)
    local name = text:match("^header:(.+)$")
    return text == "client" or text == "consumer" or text == "route" or name ~= nil and is_token(name)
end

local BY = {}

function BY.client(self, req)
    return self.address .. (req.client.ip or "")
end

function BY.consumer(self, req)
    local consumer = req.consumer
    return consumer and self.other .. consumer or BY.client(self, req)
end

function BY.route(self, req)
    return self.other .. req.route
end

function BY.header(self, req)
    local value = req.headers:get(self.header)
    return value and value ~= "" and self.other .. value or BY.client(self, req)
end

BY["function"] = function(self, req)
    local value = self.choose(req)
    if value == nil then
        return BY.client(self, req)
    elseif type(value) ~= "string" and type(value) ~= "number" then
        error("'by' returned a " .. type(value) .. ", not a string")
    end
    return self.other .. value
end

--- How keys are made: a function of the policy's instance and the request, which finds the other two in the instance.
---@param setting string|function
---@return fun(self: table, req: table): string key_of
---@return function|nil choose
---@return string|nil header
function by.find(setting)
    if type(setting) == "function" then
        return BY["function"], setting
    end
    local header = setting:match("^header:(.+)$")
    return header and BY.header or BY[setting], nil, header and header:lower()
end

return by
