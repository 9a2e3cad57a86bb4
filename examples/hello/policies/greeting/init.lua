-- SPDX-License-Identifier: MIT
local perigee = require "perigee"

local Greeting = perigee.policy {
    name = "greeting",
    stage = "transform",
    schema = { text = { type = "string", default = "Hello", doc = "How to greet." } },
}

function Greeting:on_request(req)
    req.ctx.greeting = self.conf.text
end

return Greeting
