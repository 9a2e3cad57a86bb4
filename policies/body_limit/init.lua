-- SPDX-License-Identifier: MIT
--
-- Bounds the request body: at once by its Content-Length, and while it arrives when it has none.

local perigee = require "perigee"

local BodyLimit = perigee.policy {
    name = "body_limit",
    stage = "traffic",
    schema = {
        max = { type = "size", required = true, doc = "Most bytes of a request body, such as `\"64k\"`." },
    },
}

function BodyLimit:init()
    self.max = self.conf.max
end

function BodyLimit:on_request(req)
    local length = req.headers:get("content-length")
    if length and tonumber(length) > self.max then
        return perigee.reply(413, {
            type = "urn:perigee:body_too_large", title = "Content Too Large", status = 413,
            detail = "The request body is too large.", request_id = req.id,
        }, { ["content-type"] = "application/problem+json" })
    end
    req.body:limit(self.max)
end

return BodyLimit
