-- For the instruction gate: a Lua policy that reads two request headers and sets one request and one response header.
return {
    workers = tonumber(env "BENCH_WORKERS"),
    access_log = "off",
    drain = "1s",
    listeners = { { address = env "BENCH_LISTEN" } },
    upstreams = { origin = { endpoints = { env "BENCH_ORIGIN" } } },
    routes = { { name = "policy", match = { path = "/*" }, upstream = "origin", policies = { "edge" } } },
}
