-- SPDX-License-Identifier: MIT
--
-- Cross-origin resource sharing (the Fetch standard, 3.2): answers preflight requests, and says in responses which origins
-- may read them. It protects browsers' users, not the upstream: a request of another origin still goes through.

local perigee = require "perigee"
local is_token = require("perigee.algo.token").is

local function check_origin(origin)
    local host = origin:match("^%l[%l%d+.-]*://([%l%d*.:%[%]-]+)$")
    if origin == "*" or host and (not host:find("*", 1, true) or host:find("^%*%.[^*]+$")) then
        return nil
    end
    return 'expected "*" or an origin such as "https://app.example" or "https://*.example": lower case, no path'
end

local function check_token(name)
    if not is_token(name) then
        return "expected a name such as \"GET\" or \"x-total\""
    end
end

local function check(conf)
    for _, name in ipairs { "origins", "methods", "headers", "expose" } do
        for _, item in ipairs(conf[name] or {}) do
            if item == "*" and #conf[name] > 1 then
                return '"*" is everything: the others are needless', name
            elseif item == "*" and conf.credentials then
                return '"*" means nothing with credentials: name what is allowed', name
            end
        end
    end
end

local token = { type = "string", check = check_token }

local Cors = perigee.policy {
    name = "cors",
    stage = "transform",
    check = check,
    schema = {
        origins = {
            type = "list", items = { type = "string", check = check_origin }, min = 1, required = true,
            doc = 'Origins that may read responses: exact, `"https://*.example"` for every name below it, or `"*"`.',
        },
        methods = {
            type = "list", items = token, min = 1, default = { "GET", "HEAD", "PUT", "PATCH", "POST", "DELETE" },
            doc = "Methods that preflights allow.",
        },
        headers = {
            type = "list", items = token,
            doc = "Request headers that preflights allow. Without it: those that are asked for.",
        },
        expose = { type = "list", items = token, min = 1, doc = "Response headers that scripts may read." },
        credentials = { type = "boolean", default = false, doc = "Let browsers send cookies and credentials." },
        max_age = { type = "duration", default = "10m", doc = "How long browsers may remember a preflight." },
    },
}

-- Expression for an origin with "*.": scheme, one or more labels, and the rest.
local function pattern_of(origin)
    return (origin:gsub("^(.*)%*(.*)$", [[\Q%1\E[a-z0-9.-]+\Q%2\E]]))
end

function Cors:init()
    local conf, patterns = self.conf, {}
    self.is_any, self.exact = conf.origins[1] == "*", {}
    for i = 1, #conf.origins do
        if conf.origins[i]:find("*.", 1, true) then
            patterns[#patterns + 1] = pattern_of(conf.origins[i])
        else
            self.exact[conf.origins[i]] = true
        end
    end
    if #patterns > 0 then
        self.below = assert(perigee.regex.compile([[\A(?:]] .. table.concat(patterns, "|") .. [[)\z]]))
    end
    self.credentials = conf.credentials
    self.expose = conf.expose and table.concat(conf.expose, ", ")
    self.methods = table.concat(conf.methods, ", ")
    self.headers = conf.headers and table.concat(conf.headers, ", ")
    self.max_age = math.floor(conf.max_age)
end

-- What Access-Control-Allow-Origin says to a request of this origin, or nil.
local function allowed(self, origin)
    if self.is_any then
        return "*"
    elseif origin and (self.exact[origin] or self.below and self.below:test(origin)) then
        return origin
    end
end

local function answer_preflight(self, req, origin)
    local vary = "Origin, Access-Control-Request-Method, Access-Control-Request-Headers"
    local answer = allowed(self, origin)
    if not answer then
        return perigee.reply(403, {
            type = "urn:perigee:forbidden", title = "Forbidden", status = 403,
            detail = "The origin is not allowed.", request_id = req.id,
        }, { ["content-type"] = "application/problem+json", vary = vary })
    end
    return perigee.reply(204, nil, {
        ["access-control-allow-origin"] = answer,
        ["access-control-allow-methods"] = self.methods,
        ["access-control-allow-headers"] = self.headers or req.headers:get("access-control-request-headers"),
        ["access-control-allow-credentials"] = self.credentials and "true" or nil,
        ["access-control-max-age"] = self.max_age,
        vary = vary,
    })
end

function Cors:on_request(req)
    local origin = req.headers:get("origin")
    if origin and req.method == "OPTIONS" and req.headers:get("access-control-request-method") then
        return answer_preflight(self, req, origin)
    end
end

function Cors:on_response(req, res)
    local headers, origin = res.headers, allowed(self, req.headers:get("origin"))
    headers:set("access-control-allow-origin", origin)
    headers:set("access-control-allow-credentials", origin and self.credentials and "true" or nil)
    if origin and self.expose then
        headers:set("access-control-expose-headers", self.expose)
    end
    if not self.is_any then
        headers:add("vary", "Origin")
    end
end

return Cors
