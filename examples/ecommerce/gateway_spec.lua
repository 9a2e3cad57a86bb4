-- SPDX-License-Identifier: MIT
--
-- The edge alone, with functions in the place of the services: who gets where, and what the services are told. The clock is
-- virtual, so an hour passes at once.

local perigee = require "perigee"
local test = require "perigee.test"

local here = debug.getinfo(1, "S").source:match "^@(.*)/" or "."

local function read(path)
    local handle = assert(io.open(path, "rb"))
    local text = handle:read "*a"
    handle:close()
    return text
end

local KEY = read(here .. "/jwt.key")

local function token(changes, key)
    local now = math.floor(perigee.time.now())
    local claims = { iss = "shop", sub = "ada", role = "customer", iat = now, exp = now + 3600 }
    for name, value in pairs(changes or {}) do
        claims[name] = value ~= "absent" and value or nil
    end
    return assert(perigee.jwt.sign(claims, { alg = "HS256", key = key or KEY }))
end

local function bearer(text)
    return { headers = { authorization = "Bearer " .. text } }
end

describe("the shop's gateway", function()
    local gw

    before_each(function()
        local function answer()
            return test.reply(200, "served")
        end
        gw = test.load(here .. "/gateway.lua", { upstreams = { users = answer, products = answer, orders = answer } })
    end)

    -- How many requests each service has seen.
    local function seen()
        return { users = #gw.upstreams.users.requests, products = #gw.upstreams.products.requests,
            orders = #gw.upstreams.orders.requests }
    end

    local function last(service)
        local requests = gw.upstreams[service].requests
        return requests[#requests]
    end

    describe("sends", function()
        local cases = {
            { "POST", "/login", "users" }, { "GET", "/products", "products" }, { "GET", "/products/2", "products" },
            { "GET", "/users/me", "users" }, { "POST", "/orders", "orders" }, { "GET", "/orders/1", "orders" },
        }
        for _, case in ipairs(cases) do
            local method, path, service = unpack(case)
            it(method .. " " .. path .. " to " .. service, function()
                local res = gw:request { method = method, path = path, headers = bearer(token()).headers }
                assert.response(res).has.status(200)
                assert.equal(path, last(service).path)
            end)
        end
    end)

    describe("has no route for", function()
        for _, case in ipairs { { "GET", "/" }, { "GET", "/login" }, { "DELETE", "/orders/1" }, { "POST", "/products" },
            { "GET", "/users/root" }, { "GET", "/charges" }, { "GET", "/productsX" } } do
            local method, path = unpack(case)
            it(method .. " " .. path, function()
                local res = gw:request { method = method, path = path, headers = bearer(token()).headers }
                assert.response(res).is.problem(404)
                assert.same({ users = 0, products = 0, orders = 0 }, seen())
            end)
        end
    end)

    describe("refuses", function()
        local bad = {
            ["no token"] = function() return {} end,
            ["a token signed with another key"] = function() return bearer(token(nil, ("k"):rep(40))) end,
            ["a token of another issuer"] = function() return bearer(token { iss = "elsewhere" }) end,
            ["a token that never expires"] = function() return bearer(token { exp = "absent" }) end,
            ["a token of nobody"] = function() return bearer(token { sub = "absent" }) end,
            ["a token without a signature"] = function() return bearer((token():gsub("[^.]*$", ""))) end,
            ["something else than a token"] = function() return bearer "ada" end,
        }
        for name, make in pairs(bad) do
            it(name .. ", and asks no service", function()
                for _, path in ipairs { "/users/me", "/users", "/orders", "/orders/1" } do
                    local res = gw:get(path, make())
                    assert.response(res).is.problem(401)
                    assert.response(res).has.header("www-authenticate")
                end
                assert.same({ users = 0, products = 0, orders = 0 }, seen())
            end)
        end

        it("a token after its hour", function()
            local hers = bearer(token())
            assert.response(gw:get("/users/me", hers)).has.status(200)
            gw:advance(3601)
            assert.response(gw:get("/users/me", hers)).is.problem(401)
        end)

        it("a customer who wants the list of users", function()
            assert.response(gw:get("/users", bearer(token()))).is.problem(403)
            assert.same({ users = 0, products = 0, orders = 0 }, seen())
        end)

        it("more than 64 KiB of order", function()
            local res = gw:post("/orders", { headers = bearer(token()).headers, body = (" "):rep(65537) })
            assert.response(res).is.problem(413)
        end)
    end)

    it("lets an admin see the users", function()
        assert.response(gw:get("/users", bearer(token { sub = "root", role = "admin" }))).has.status(200)
    end)

    describe("tells the services", function()
        local forged = { ["X-User"] = "root", ["x-role"] = { "admin", "root" } }

        it("who asks, whatever the client claims", function()
            forged.authorization = "Bearer " .. token()
            assert.response(gw:get("/orders/1", { headers = forged })).has.status(200)
            assert.equal("ada", last("orders").headers["x-user"])
            assert.equal("customer", last("orders").headers["x-role"])
        end)

        it("nobody where nobody was authenticated", function()
            forged.authorization = nil
            gw:get("/products", { headers = forged })
            gw:post("/login", { headers = forged, body = {} })
            for _, service in ipairs { "products", "users" } do
                assert.is_nil(last(service).headers["x-user"])
                assert.is_nil(last(service).headers["x-role"])
            end
        end)

        it("an id of its own, which the client gets too", function()
            local res = gw:get("/products", { headers = { ["x-request-id"] = "mine" } })
            local id = last("products").headers["x-request-id"]
            assert.matches("^%x+$", id)
            assert.response(res).has.header("x-request-id", id)
        end)
    end)

    describe("limits", function()
        it("the catalogue to 100 requests a minute, and says when to come back", function()
            for _ = 1, 100 do
                assert.response(gw:get("/products")).has.status(200)
            end
            local res = gw:get("/products/1")
            assert.response(res).is.problem(429)
            assert.response(res).has.header("retry-after", "1")
            assert.equal(100, seen().products)
            gw:advance(1)
            assert.response(gw:get("/products/1")).has.status(200)
        end)

        it("each client on its own", function()
            for _ = 1, 100 do
                gw:get("/products", { client = "192.0.2.1" })
            end
            assert.response(gw:get("/products", { client = "192.0.2.1" })).is.problem(429)
            assert.response(gw:get("/products", { client = "192.0.2.2" })).has.status(200)
        end)

        it("attempts to log in to 20 a minute", function()
            for _ = 1, 20 do
                assert.response(gw:post("/login", { body = {} })).has.status(200)
            end
            assert.response(gw:post("/login", { body = {} })).is.problem(429)
            assert.equal(20, seen().users)
        end)
    end)

    it("answers 503 when a service is not there", function()
        gw = test.load(here .. "/gateway.lua", { upstreams = { products = test.fail.refuse } })
        assert.response(gw:get("/products")).is.problem(503)
    end)
end)
