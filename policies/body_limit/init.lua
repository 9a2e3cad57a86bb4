-- SPDX-License-Identifier: MIT
--
-- Bounds the request body. The runtime answers 413: at once when Content-Length announces more, otherwise as soon as more has
-- arrived.

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
    req.body:limit(self.max)
end

return BodyLimit
