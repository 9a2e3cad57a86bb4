-- As plain.lua, with TLS. The limit on connections is for the row of idle ones.
local certificate = env "BENCH_CERTIFICATE"

return {
    workers = tonumber(env "BENCH_WORKERS"),
    access_log = "off",
    drain = "1s",
    listeners = {
        {
            address = env "BENCH_LISTEN",
            tls = { cert = certificate .. ".pem", key = certificate .. ".key" },
            limits = { connections = 32768 },
            timeouts = { idle = "300s" },
        },
    },
    upstreams = { origin = { endpoints = { env "BENCH_ORIGIN" }, pool = { max_idle = 256, idle = "300s" } } },
    routes = { { name = "plain", match = { path = "/*" }, upstream = "origin" } },
}
