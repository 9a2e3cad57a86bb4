-- SPDX-License-Identifier: MIT
--
-- The product service: a catalogue. Prices are whole cents.

local at = require "addresses"(env)

local products = {
    { id = "1", name = "Telescope", price = 24900 },
    { id = "2", name = "Star chart", price = 1250 },
    { id = "3", name = "Moon globe", price = 5990 },
}
local by_id = {}
for _, product in ipairs(products) do
    by_id[product.id] = product
end

return {
    workers = 0,
    listeners = { { address = at.services.product } },
    policies = { { "request_id", trust = true } },
    routes = {
        { name = "list", match = { path = "/products" }, handler = function() return reply(200, products) end },
        { name = "one", match = { path = "/products/{id}" }, handler = function(req)
            local product = by_id[req.params.id]
            return product and reply(200, product) or reply(404, { error = "no such product" })
        end },
    },
}
