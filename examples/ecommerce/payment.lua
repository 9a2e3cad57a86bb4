-- SPDX-License-Identifier: MIT
--
-- The payment service, of which two instances run. An instance charges an order once, however often it is asked to; what the
-- other instance has charged it does not know. POST /chaos with "errors", "slow" or "off" makes an instance fail on purpose.

local perigee = require "perigee"
local at = require "addresses"(env)
local instance = env "INSTANCE" or error "set INSTANCE to payment1 or payment2"
local charges = perigee.shared "charges"
local chaos = perigee.shared "chaos"
local modes = { errors = true, slow = true, off = true }

local function charge(req)
    local given = req.body:json(4096)
    local amount = type(given) == "table" and given.amount
    if type(amount) ~= "number" or amount <= 0 or type(given.order) ~= "string" then
        return reply(400, { error = "send {\"order\": …, \"amount\": …}" })
    end
    charges:add(given.order, amount, 86400)
    return reply(201, { order = given.order, amount = charges:get(given.order), status = "paid", by = instance })
end

local function switch(req)
    local mode = (req.body:read(16) or ""):match "^%l+$"
    if not modes[mode] then
        return reply(400, { error = "send errors, slow or off" })
    end
    chaos:set("mode", mode)
    return reply(200, { instance = instance, chaos = mode })
end

local function is_on(mode)
    return function()
        return chaos:get "mode" == mode
    end
end

return {
    workers = 0,
    listeners = { { address = at.services[instance] } },
    policies = { { "request_id", trust = true } },
    routes = {
        { name = "charge", match = { path = "/charges", methods = { "POST" } }, handler = charge,
          policies = {
              { "fault", delay = { time = "2s" }, when = is_on "slow" },
              { "fault", abort = { status = 503 }, when = is_on "errors" },
          } },
        { name = "health", match = { path = "/healthz" }, reply = "well\n" },
        { name = "chaos", match = { path = "/chaos", methods = { "POST" } }, handler = switch },
    },
}
