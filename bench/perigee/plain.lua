-- One route, no policy: the Lua VM is never entered.
return {
    workers = tonumber(env "BENCH_WORKERS"),
    access_log = "off",
    drain = "1s",
    listeners = { { address = env "BENCH_LISTEN" } },
    upstreams = { origin = { endpoints = { env "BENCH_ORIGIN" } } },
    routes = { { name = "plain", match = { path = "/*" }, upstream = "origin" } },
}
