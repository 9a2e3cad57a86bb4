-- SPDX-License-Identifier: MIT
--
-- Gives every request an id, tells it to the upstream and to the client, and to whatever logs `req.id`.

local perigee = require "perigee"
local is_token = require("perigee.algo.token").is

local sub = string.sub

local ID_LEN = 32 -- hex digits of 16 random bytes
local POOL = 128 -- ids for which random bytes are drawn at once

-- Ids that need no escaping anywhere they may be written: headers, JSON, logs, URLs.
local VALID = [[\A[A-Za-z0-9._~+/=:@-]{1,128}\z]]

local function check_header(name)
    if not is_token(name) then
        return "expected the name of a header field such as \"x-request-id\""
    end
end

local RequestId = perigee.policy {
    name = "request_id",
    stage = "observe",
    schema = {
        header = {
            type = "string", default = "x-request-id", check = check_header,
            doc = "Header that carries the id, in requests and responses.",
        },
        trust = {
            type = "boolean", default = false,
            doc = "Keep the id that the client sent when it has 1 to 128 letters, digits and `._~+/=:@-`.",
        },
    },
}

function RequestId:init()
    self.header, self.trust = self.conf.header:lower(), self.conf.trust
    self.valid = assert(perigee.regex.compile(VALID))
    self.pool, self.at = "", 1
end

local function make_id(self)
    local at = self.at
    if at > #self.pool then
        self.pool, at = perigee.crypto.to_hex(perigee.crypto.random(POOL * ID_LEN / 2)), 1
    end
    self.at = at + ID_LEN
    return sub(self.pool, at, at + ID_LEN - 1)
end

function RequestId:on_request(req)
    local id = self.trust and req.headers:get(self.header)
    if not id or not self.valid:test(id) then
        id = make_id(self)
    end
    req.id = id
    req.headers:set(self.header, id)
end

function RequestId:on_response(req, res)
    res.headers:set(self.header, req.id)
end

return RequestId
