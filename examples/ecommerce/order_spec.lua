-- SPDX-License-Identifier: MIT
--
-- The order service alone. A function stands for its sidecar, and with that for the services behind it.

local perigee = require "perigee"
local test = require "perigee.test"

local here = debug.getinfo(1, "S").source:match "^@(.*)/" or "."

local PRICES = { ["1"] = 24900, ["3"] = 5990 }

describe("the order service", function()
    local service, charge, calls

    before_each(function()
        calls = {}
        charge = function() return test.reply(201, { status = "paid" }) end
        local function mesh(req)
            calls[#calls + 1] = req
            if req.headers.host == "payment" then
                return charge(req)
            end
            local price = PRICES[req.path:match "^/products/(.*)$"]
            return price and test.reply(200, { price = price }) or test.reply(404, {})
        end
        service = test.load(here .. "/order.lua", { upstreams = { mesh = mesh } })
    end)

    local function order(items)
        local headers = { ["x-user"] = "ada", ["x-request-id"] = "r1" }
        return service:post("/orders", { headers = headers, body = { items = items } })
    end

    local function find(id, user)
        return service:get("/orders/" .. id, { headers = { ["x-user"] = user } })
    end

    it("adds up, has it paid, and keeps it", function()
        local res = order { { product = "3", quantity = 2 }, { product = 1, quantity = 1 } }
        assert.response(res).has.status(201)
        assert.response(res).has.json { id = "1", status = "paid", total = 36880 }
        assert.response(find("1", "ada")).has.json { id = "1", status = "paid", total = 36880 }
        assert.same({ order = "1", amount = 36880 }, perigee.json.decode(calls[3].body))
    end)

    it("tells the request id to everyone it calls", function()
        order { { product = "3", quantity = 1 } }
        assert.equal(2, #calls)
        for _, call in ipairs(calls) do
            assert.equal("r1", call.headers["x-request-id"])
        end
    end)

    it("shows an order to its owner only", function()
        order { { product = "3", quantity = 1 } }
        assert.response(find("1", "root")).has.status(404)
        assert.response(service:get "/orders/1").has.status(404)
        assert.response(find("2", "ada")).has.status(404)
    end)

    describe("refuses, without a charge,", function()
        local cases = {
            ["nothing"] = { {}, 400 },
            ["51 items"] = { {}, 400 },
            ["what is no item"] = { { 3 }, 400 },
            ["an item without a quantity"] = { { { product = "3" } }, 400 },
            ["half a globe"] = { { { product = "3", quantity = 0.5 } }, 400 },
            ["less than nothing"] = { { { product = "3", quantity = -1 } }, 400 },
            ["101 globes"] = { { { product = "3", quantity = 101 } }, 400 },
            ["a product that is no id"] = { { { product = true, quantity = 1 } }, 400 },
            ["a product that is not there"] = { { { product = "9", quantity = 1 } }, 422 },
            ["a product that is a path"] = { { { product = "../charges", quantity = 1 } }, 422 },
        }
        for _ = 1, 51 do
            table.insert(cases["51 items"][1], { product = "3", quantity = 1 })
        end
        for name, case in pairs(cases) do
            it(name, function()
                local res = order(case[1])
                assert.response(res).has.status(case[2])
                assert.is_string(res:json().error)
                for _, call in ipairs(calls) do
                    assert.equal("product", call.headers.host)
                end
            end)
        end

        it("what is no JSON", function()
            assert.response(service:post("/orders", { body = "{" })).has.status(400)
        end)
    end)

    describe("keeps an order as unpaid when", function()
        local failures = {
            ["no payment instance is there"] = function() return test.reply(503, {}) end,
            ["the payment breaks off"] = function() return test.fail.reset end,
            ["the payment never answers"] = function() return test.fail.hang end,
        }
        for name, failure in pairs(failures) do
            it(name, function()
                charge = failure
                local res = order { { product = "3", quantity = 1 } }
                assert.response(res).has.status(503)
                assert.equal("unpaid", res:json().status)
                assert.response(find("1", "ada")).has.json { id = "1", status = "unpaid", total = 5990 }
            end)
        end
    end)
end)
