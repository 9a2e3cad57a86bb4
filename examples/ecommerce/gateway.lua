-- SPDX-License-Identifier: MIT
--
-- The edge: who may call what, and how often. Everything behind it trusts the headers x-user and x-role, which only this
-- process sets: what a client sends under these names is removed on every route.

local at = require "addresses"(env)

local limits = { body = "64k" }
local listeners = { { address = at.gateway, limits = limits } }

-- Where `run` keeps the certificate that it makes at the start; without one the shop is open over http only.
local certificate = env "ECOMMERCE_CERTIFICATE"
if certificate then
    listeners[2] = {
        address = at.gateway_tls, limits = limits, tls = { cert = certificate .. ".pem", key = certificate .. ".key" },
    }
end

local authenticated = {
    "jwt",
    algorithms = { "HS256" },
    secret = file "jwt.key",
    issuer = "shop",
    required_claims = { "exp", "sub" },
    forward_claims = { sub = "x-user", role = "x-role" },
}

return {
    admin = at.gateway_admin,
    listeners = listeners,

    upstreams = {
        users = { endpoints = { at.sidecars.user } },
        products = { endpoints = { at.sidecars.product } },
        orders = { endpoints = { at.sidecars.order } },
    },

    policies = {
        "request_id",
        { "headers", request = { remove = { "x-user", "x-role" } } },
    },

    routes = {
        { name = "login", match = { path = "/login", methods = { "POST" } }, upstream = "users",
          policies = { { "rate_limit", limit = 20, window = "1m", by = "client" } } },
        { name = "products", match = { path = "/products/*", methods = { "GET" } }, upstream = "products",
          policies = { { "rate_limit", limit = 100, window = "1m", by = "client" } } },
        { name = "me", match = { path = "/users/me", methods = { "GET" } }, upstream = "users",
          policies = { authenticated } },
        { name = "users", match = { path = "/users", methods = { "GET" } }, upstream = "users",
          policies = { authenticated, { "acl", allow = { "admin" }, claim = "role" } } },
        { name = "orders", match = { path = "/orders/*", methods = { "GET", "POST" } }, upstream = "orders",
          policies = { authenticated } },
    },
}
