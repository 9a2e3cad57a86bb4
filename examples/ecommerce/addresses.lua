-- SPDX-License-Identifier: MIT
--
-- Where everything listens: a port on loopback, moved as a whole by ECOMMERCE_PORT_BASE (8080 by default) so that two copies
-- can run side by side. Each service has its own port; the others reach it only through its sidecar.

local offsets = {
    gateway = 0,
    gateway_tls = 363, -- 8443
    gateway_admin = 1821, -- 9901
    order_outbound = 1033, -- what the order service calls: 9113
    services = { user = 921, product = 922, order = 923, payment1 = 924, payment2 = 925 }, -- 9001 …
    sidecars = { user = 1021, product = 1022, order = 1023, payment1 = 1024, payment2 = 1025 }, -- 9101 …
    admins = { user = 1831, product = 1832, order = 1833, payment1 = 1834, payment2 = 1835 }, -- 9911 …
}

local function place(value, base)
    if type(value) == "number" then
        return "127.0.0.1:" .. base + value
    end
    local placed = {}
    for name, offset in pairs(value) do
        placed[name] = place(offset, base)
    end
    return placed
end

return function(env)
    local base = tonumber(env "ECOMMERCE_PORT_BASE" or 8080)
    if not base or base % 1 ~= 0 or base < 1 or base > 63700 then
        error("ECOMMERCE_PORT_BASE is a whole number from 1 to 63700", 0)
    end
    return place(offsets, base)
end
