-- SPDX-License-Identifier: MIT
--
-- The order service: prices an order with the product service, has it paid by the payment service, keeps it. It calls both
-- through its sidecar, by name. Amounts are whole cents.

local perigee = require "perigee"
local at = require "addresses"(env)
local orders = perigee.shared "orders"

-- The request id goes along, so that the logs of all parts tell one story.
local function call(req, service, path, body)
    return perigee.http.fetch("http://mesh" .. path, {
        body = body,
        headers = { host = service, ["x-request-id"] = req.id },
    })
end

local function refuse(status, message)
    return nil, reply(status, { error = message })
end

-- Price of one item, or nil and the answer to the client.
local function price(req, item)
    local product = type(item) == "table" and item.product
    local quantity = type(item) == "table" and item.quantity
    if type(quantity) ~= "number" or quantity < 1 or quantity > 100 or quantity % 1 ~= 0 then
        return refuse(400, "a quantity is a whole number from 1 to 100")
    elseif type(product) ~= "string" and type(product) ~= "number" then
        return refuse(400, "a product is named by its id, a string or a number")
    end
    local id = tostring(product)
    if #id > 64 or not id:find "^[%w_-]+$" then
        return refuse(422, "there is no such product")
    end
    local res, message = call(req, "product", "/products/" .. id)
    if res and res.status == 200 then
        return res:json().price * quantity
    elseif res and res.status == 404 then
        return refuse(422, "there is no product " .. id)
    end
    perigee.log.warn("no price", { product = id, why = res and res.status or message })
    return refuse(503, "the product service does not answer")
end

-- Sum of the items, or nil and the answer to the client.
local function price_all(req, items)
    local total = 0
    for _, item in ipairs(items) do
        local amount, answer = price(req, item)
        if not amount then
            return nil, answer
        end
        total = total + amount
    end
    return total
end

local function keep(order, owner)
    assert(orders:set("order:" .. order.id, perigee.json.encode { owner = owner, order = order }))
end

local function create(req)
    local given = req.body:json(64 * 1024)
    if type(given) ~= "table" or type(given.items) ~= "table" or #given.items == 0 or #given.items > 50 then
        return reply(400, { error = "send {\"items\": [{\"product\": …, \"quantity\": …}]}, at most 50 of them" })
    end
    local total, answer = price_all(req, given.items)
    if not total then
        return answer
    end
    local order = { id = tostring(orders:incr("last")), status = "unpaid", total = total }
    keep(order, req.headers["x-user"])
    local charged, message = call(req, "payment", "/charges", { order = order.id, amount = total })
    if not charged or charged.status ~= 201 then
        perigee.log.warn("not paid", { order = order.id, why = charged and charged.status or message })
        return reply(503, { error = "the payment service does not answer", id = order.id, status = order.status })
    end
    order.status = "paid"
    keep(order, req.headers["x-user"])
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
    policies = { { "request_id", trust = true } },
    routes = {
        { name = "create", match = { path = "/orders", methods = { "POST" } }, handler = create },
        { name = "show", match = { path = "/orders/{id}", methods = { "GET" } }, handler = show },
    },
}
