-- Calls over TLS to a gRPC server without. No policy.
local certificate = env "BENCH_CERTIFICATE"

return {
    workers = tonumber(env "BENCH_WORKERS"),
    access_log = "off",
    drain = "1s",
    listeners = {
        { address = env "BENCH_LISTEN", tls = { cert = certificate .. ".pem", key = certificate .. ".key" } },
    },
    upstreams = { calls = { endpoints = { env "BENCH_ORIGIN" }, protocol = "h2c" } },
    routes = { { name = "calls", match = { path = "/grpc.testing.TestService/*" }, upstream = "calls" } },
}
