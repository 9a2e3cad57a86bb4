-- Large bodies through the same route as plain.lua: the body size is the tester's.
return {
    workers = tonumber(env "BENCH_WORKERS"),
    access_log = "off",
    drain = "1s",
    listeners = { { address = env "BENCH_LISTEN" } },
    upstreams = { origin = { endpoints = { env "BENCH_ORIGIN" } } },
    routes = { { name = "bodies", match = { path = "/*" }, upstream = "origin" } },
}
