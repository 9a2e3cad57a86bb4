-- SPDX-License-Identifier: MIT
--
-- Whose requests are counted together: the setting `by`, and the keys of buckets. A key begins with what tells the use of
-- the policy.

local by = {}

--- What is wrong with the text of a setting; nil when nothing is.
---@param text string
---@return string|nil message
function by.check(text)
    local name = text:match("^header:(.+)$")
    local is_header = name and name:find("^[%w!#$%%&'*+.^_`|~-]+$")
    if text ~= "client" and text ~= "consumer" and text ~= "route" and not is_header then
        return "expected \"client\", \"consumer\", \"route\", \"header:NAME\" or a function"
    end
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
