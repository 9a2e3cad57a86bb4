-- SPDX-License-Identifier: MIT
--
-- Lets requests and connections in by the address they come from. What has no address (a unix socket) is refused.

local perigee = require "perigee"

local function check_list(list)
    local _, message = perigee.ip.set(list)
    return message
end

local function check(conf)
    if not conf.allow and not conf.deny then
        return "needs 'allow', 'deny' or both"
    end
end

local IpRestriction = perigee.policy {
    name = "ip_restriction",
    stage = "auth",
    check = check,
    schema = {
        allow = {
            type = "list", items = "string", min = 1, check = check_list,
            doc = "Addresses and networks that may come in: `{ \"10.0.0.0/8\", \"2001:db8::/32\" }`. Without it: all.",
        },
        deny = {
            type = "list", items = "string", min = 1, check = check_list,
            doc = "Addresses and networks that may not, whatever `allow` says.",
        },
    },
}

function IpRestriction:init()
    local conf = self.conf
    self.allow = conf.allow and assert(perigee.ip.set(conf.allow))
    self.deny = conf.deny and assert(perigee.ip.set(conf.deny))
end

local function may_enter(self, address)
    if not address then
        return false
    end
    if self.deny then
        local is_denied, problem = self.deny:contains(address)
        if is_denied or problem then
            return false
        end
    end
    return not self.allow or self.allow:contains(address)
end

function IpRestriction:on_request(req)
    if not may_enter(self, req.client.ip) then
        return perigee.reply(403, {
            type = "urn:perigee:forbidden", title = "Forbidden", status = 403,
            detail = "Requests from this address are not accepted.", request_id = req.id,
        }, { ["content-type"] = "application/problem+json" })
    end
end

function IpRestriction:on_connect(conn)
    if not may_enter(self, conn.client.ip) then
        return perigee.reply(403)
    end
end

return IpRestriction
