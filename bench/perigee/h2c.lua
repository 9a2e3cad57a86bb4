-- HTTP/2 without TLS, for answers of the proxy's own. No policy.
return {
    workers = tonumber(env "BENCH_WORKERS"),
    access_log = "off",
    drain = "1s",
    listeners = { { address = env "BENCH_LISTEN" } },
    routes = { { name = "fixed", match = { path = "/fixed" }, reply = "fixed" } },
}
