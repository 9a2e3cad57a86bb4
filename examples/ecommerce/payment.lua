-- SPDX-License-Identifier: MIT
--
-- The payment service, of which two instances run. An instance charges an order once, however often it is asked to; what the
-- other instance has charged it does not know.

local perigee = require "perigee"
local at = require "addresses"(env)
local instance = env "INSTANCE" or error "set INSTANCE to payment1 or payment2"
local charges = perigee.shared "charges"

local function charge(req)
    local given = req.body:json(4096)
    local amount = type(given) == "table" and given.amount
    if type(amount) ~= "number" or amount <= 0 or type(given.order) ~= "string" then
        return reply(400, { error = "send {\"order\": …, \"amount\": …}" })
    end
    charges:add(given.order, amount, 86400)
    return reply(201, { order = given.order, amount = charges:get(given.order), status = "paid", by = instance })
end

return {
    workers = 0,
    listeners = { { address = at.services[instance] } },
    policies = { { "request_id", trust = true } },
    routes = { { name = "charge", match = { path = "/charges", methods = { "POST" } }, handler = charge } },
}
