-- Marks every response with a header, and keeps one path closed. Replace it by what NAME is to do.

local perigee = require "perigee"

local Policy = perigee.policy {
    name = "NAME",
    stage = "traffic",
    schema = {
        value = { type = "string", default = "NAME", doc = "Value of the header x-policy in every response." },
        closed = { type = "string", doc = "Path that nobody may ask for." },
    },
}

---@param req perigee.Request
function Policy:on_request(req)
    if req.path == self.conf.closed then
        return perigee.reply(403, "closed\n")
    end
end

---@param res perigee.Response
function Policy:on_response(_, res)
    res.headers:set("x-policy", self.conf.value)
end

return Policy
