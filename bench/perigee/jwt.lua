-- HS256 token, then a token bucket per consumer, with the shipped policies. The limit is never reached.
return {
    workers = tonumber(env "BENCH_WORKERS"),
    access_log = "off",
    drain = "1s",
    listeners = { { address = env "BENCH_LISTEN" } },
    upstreams = { origin = { endpoints = { env "BENCH_ORIGIN" } } },
    policies = {
        { "jwt", algorithms = { "HS256" }, secret = env "BENCH_SECRET", issuer = "bench" },
        { "rate_limit", limit = 1000000, window = "1s", by = "consumer", headers = "off" },
    },
    routes = { { name = "jwt", match = { path = "/*" }, upstream = "origin" } },
}
