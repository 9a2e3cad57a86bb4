-- SPDX-License-Identifier: MIT
--
-- Gives every request an id, tells it to the upstream and to the client, and to whatever logs `req.id`.

local perigee = require "perigee"

local byte, char, sub = string.byte, string.char, string.sub

local ID_LEN = 32 -- hex digits of 16 random bytes
local ID_MAX = 128 -- bytes of an id that a client may send
local POOL = 128 -- ids for which random bytes are drawn at once

-- Bytes that need no escaping anywhere an id may be written: headers, JSON, logs, URLs.
local is_allowed = {}
for code = 0, 255 do
    is_allowed[code] = char(code):find("^[%w._~+/=:@-]$") ~= nil
end

local function check_header(name)
    if not name:find("^[%w!#$%%&'*+.^_`|~-]+$") then
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

local function is_valid(id)
    if #id == 0 or #id > ID_MAX then
        return false
    end
    for i = 1, #id do
        if not is_allowed[byte(id, i)] then
            return false
        end
    end
    return true
end

function RequestId:on_request(req)
    local id = self.trust and req.headers:get(self.header)
    if not id or not is_valid(id) then
        id = make_id(self)
    end
    req.id = id
    req.headers:set(self.header, id)
end

function RequestId:on_response(req, res)
    res.headers:set(self.header, req.id)
end

return RequestId
