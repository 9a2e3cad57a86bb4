-- 100 routes by table, each with its own instance of a Lua policy that reads two request headers and sets one response
-- header. A path outside the table is 404 by itself.
local routes = {}
for i = 0, 99 do
    local name = string.format("svc%02d", i)
    routes[#routes + 1] = {
        name = name,
        match = { path = "/" .. name .. "/*" },
        upstream = "origin",
        policies = { { "gate", route = name } },
    }
end

return {
    workers = tonumber(env "BENCH_WORKERS"),
    access_log = "off",
    drain = "1s",
    listeners = { { address = env "BENCH_LISTEN" } },
    upstreams = { origin = { endpoints = { env "BENCH_ORIGIN" } } },
    routes = routes,
}
