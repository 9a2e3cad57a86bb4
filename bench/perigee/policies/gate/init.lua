-- SPDX-License-Identifier: MIT
local perigee = require "perigee"

local Gate = perigee.policy {
    name = "gate",
    stage = "transform",
    schema = { route = { type = "string", required = true, doc = "Value of the x-route response header." } },
}

function Gate:on_request(req)
    local headers = req.headers
    if not headers["user-agent"] then
        return perigee.reply(403)
    end
    if not headers["cookie"] then
        return perigee.reply(401)
    end
end

function Gate:on_response(_, res)
    res.headers["x-route"] = self.conf.route
end

return Gate
