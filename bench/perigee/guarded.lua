-- As plain.lua, with all that watches over endpoints: latencies, ejection, a breaker. The origin has two addresses, so that
-- there is something to choose.
local origin = env "BENCH_ORIGIN"
local endpoints = { origin, "[::ffff:127.0.0.1]:" .. origin:match "%d+$" }

return {
    workers = tonumber(env "BENCH_WORKERS"),
    access_log = "off",
    drain = "1s",
    listeners = { { address = env "BENCH_LISTEN" } },
    upstreams = {
        origin = { endpoints = endpoints, balance = "ewma", outlier = {}, breaker = {} },
    },
    routes = { { name = "plain", match = { path = "/*" }, upstream = "origin" } },
}
