-- SPDX-License-Identifier: MIT
--
-- Knows consumers by an API key in a header or in the query. Keys are looked up by their SHA-256, so the time of a lookup
-- tells nothing about the keys there are.

local perigee = require "perigee"
local is_token = require("perigee.algo.token").is

local hash = perigee.crypto.hash

local CHALLENGE = 'ApiKey realm="perigee"'

local function check_header(name)
    if not is_token(name) then
        return "expected the name of a header field such as \"x-api-key\""
    end
end

local function check_name(name)
    if name:find("%c") then
        return "the name of a consumer has no control characters"
    end
end

local function check_keys(keys)
    if next(keys) == nil then
        return "there is no key: nobody could ever come in"
    end
end

local consumer = {
    type = "table", short = "name",
    fields = {
        name = { type = "string", required = true, min = 1, check = check_name, doc = "Who it is: `req.consumer`." },
        groups = { type = "list", items = "string", doc = "For the policy acl." },
    },
}

local KeyAuth = perigee.policy {
    name = "key_auth",
    stage = "auth",
    schema = {
        keys = {
            type = "map", keys = { type = "string", min = 1 }, values = consumer, required = true, secret = true,
            check = check_keys,
            doc = 'Consumer by key: a name, or `{ "name", groups = { "staff" } }`.',
        },
        header = {
            type = "string", default = "x-api-key", check = check_header, doc = "Header that carries the key.",
        },
        query = {
            type = "string", min = 1,
            doc = "Query parameter that may carry the key when the header does not. Without it: none.",
        },
        hide = { type = "boolean", default = false, doc = "Remove the key before the request is sent on." },
    },
}

--- Where the key is: recordings mask it there.
function KeyAuth:credentials(conf)
    return { "header:" .. conf.header:lower(), conf.query and "query:" .. conf.query }
end

function KeyAuth:init()
    local conf, consumers = self.conf, {}
    for key, found in pairs(conf.keys) do
        consumers[hash("sha256", key)] = { name = found.name, groups = found.groups }
    end
    self.consumers = consumers
    self.header, self.query, self.hide = conf.header:lower(), conf.query, conf.hide
end

local function refuse(req, detail)
    return perigee.reply(401, {
        type = "urn:perigee:unauthorized", title = "Unauthorized", status = 401, detail = detail, request_id = req.id,
    }, { ["content-type"] = "application/problem+json", ["www-authenticate"] = CHALLENGE })
end

function KeyAuth:on_request(req)
    local key = req.headers:get(self.header)
    if not key and self.query then
        key = req.query:get(self.query)
    end
    if not key then
        return refuse(req, "The request needs an API key.")
    end
    local found = self.consumers[hash("sha256", key)]
    if not found then
        return refuse(req, "The API key is not known.")
    end
    req.consumer = found.name
    req.ctx.groups = found.groups
    if self.hide then
        req.headers:remove(self.header)
        if self.query and req.query:get(self.query) then
            req.query:remove(self.query)
        end
    end
end

return KeyAuth
