-- SPDX-License-Identifier: MIT
--
-- The order service: prices an order with the product service, has it paid by the payment service, keeps it. It calls both
-- through its sidecar, by name.

local perigee = require "perigee"
local at = require "addresses"(env)
local orders = perigee.shared "orders"

local function call(service, path, options)
    options = options or {}
    options.headers = options.headers or {}
    options.headers.host = service
    return perigee.http.fetch("http://mesh" .. path, options)
end

-- Sum of the items in cents, or nil, status and message.
local function price(items)
    local total = 0
    for _, item in ipairs(items) do
        local quantity = type(item) == "table" and item.quantity
        if type(quantity) ~= "number" or quantity < 1 or quantity > 100 or quantity % 1 ~= 0 then
            return nil, 400, "a quantity is a whole number from 1 to 100"
        end
        local res, message = call("product", "/products/" .. perigee.uri.encode(tostring(item.product)))
        if not res then
            return nil, 503, "the product service does not answer: " .. message
        elseif res.status ~= 200 then
            return nil, 422, "there is no product " .. tostring(item.product)
        end
        total = total + res:json().price * quantity
    end
    return total
end

local function create(req)
    local given = req.body:json(64 * 1024)
    if type(given) ~= "table" or type(given.items) ~= "table" or #given.items == 0 or #given.items > 50 then
        return reply(400, { error = "send {\"items\": [{\"product\": …, \"quantity\": …}]}" })
    end
    local total, status, message = price(given.items)
    if not total then
        return reply(status, { error = message })
    end
    local id = tostring(orders:incr("last"))
    local charged = call("payment", "/charges", { body = { order = id, amount = total } })
    if not charged or charged.status ~= 201 then
        return reply(503, { error = "the payment service does not answer; nothing was charged" }, { ["retry-after"] = "1" })
    end
    local order = { id = id, status = "paid", total = total / 100 }
    orders:set("order:" .. id, perigee.json.encode { owner = req.headers["x-user"], order = order })
    return reply(201, order)
end

local function show(req)
    local text = orders:get("order:" .. req.params.id)
    local kept = text and perigee.json.decode(text)
    if not kept or kept.owner ~= req.headers["x-user"] then
        return reply(404, { error = "no such order" }) -- whose it is, is nobody else's matter
    end
    return reply(200, kept.order)
end

return {
    workers = 0,
    listeners = { { address = at.services.order } },
    upstreams = { mesh = { endpoints = { at.order_outbound } } },
    routes = {
        { name = "create", match = { path = "/orders", methods = { "POST" } }, handler = create },
        { name = "show", match = { path = "/orders/{id}", methods = { "GET" } }, handler = show },
    },
}
