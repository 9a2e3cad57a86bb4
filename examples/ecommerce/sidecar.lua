-- SPDX-License-Identifier: MIT
--
-- The sidecar of one instance, named by INSTANCE ("user", "payment1" …). Inbound it stands in front of the service; the order
-- service's also has an outbound listener, where it finds the services it calls by their name in Host.

local at = require "addresses"(env)
local instance = env "INSTANCE" or error "set INSTANCE to the name of the service"

local config = {
    role = "sidecar",
    admin = at.admins[instance],
    listeners = { { address = at.sidecars[instance], trusted_hops = 1 } },
    upstreams = { service = { endpoints = { at.services[instance] } } },
    policies = { { "request_id", trust = true } },
    routes = { { name = "inbound", match = { path = "/*" }, upstream = "service" } },
}

if instance == "order" then
    table.insert(config.listeners, { address = at.order_outbound })
    config.upstreams.product = { endpoints = { at.sidecars.product } }
    config.upstreams.payment = {
        endpoints = { at.sidecars.payment1, at.sidecars.payment2 },
        -- A charge is sent again only when it was not made: without a connection there was none, and with 503 an instance, or the
        -- sidecar in front of it, says so.
        retries = { attempts = 1, on = { "connect-failure", "refused-stream", 503 } },
        -- An instance may be well as far as its health check knows, and fail charges: that it is well does not end an ejection.
        health = { path = "/healthz", interval = "1s" },
        outlier = {
            consecutive_5xx = 3,
            base_ejection_time = "10s",
            interval = "1s",
            successful_active_health_check_uneject_host = false,
        },
        breaker = { max_requests = 100 },
    }
    table.insert(config.routes, { name = "product", match = { host = "product", path = "/*" }, upstream = "product" })
    table.insert(config.routes, { name = "payment", match = { host = "payment", path = "/*" }, upstream = "payment" })
end

return config
