-- SPDX-License-Identifier: MIT
local perigee = require "perigee"

local Edge = perigee.policy { name = "edge", stage = "transform", schema = {} }

function Edge:on_request(req)
    local headers = req.headers
    if not headers["user-agent"] then
        return perigee.reply(403)
    end
    if not headers["cookie"] then
        return perigee.reply(401)
    end
    headers["x-edge"] = "checked"
end

function Edge:on_response(_, res)
    res.headers["x-served-by"] = "edge"
end

return Edge
