-- Three endpoints; BENCH_CARE says what is done about those that are worse than the others.
local care = env "BENCH_CARE"
local endpoints = {}
for address in (env "BENCH_ENDPOINTS"):gmatch("[^,]+") do
    endpoints[#endpoints + 1] = address
end

return {
    workers = tonumber(env "BENCH_WORKERS"),
    access_log = "off",
    drain = "1s",
    listeners = { { address = env "BENCH_LISTEN" } },
    upstreams = {
        origin = {
            endpoints = endpoints,
            balance = "ewma",
            outlier = { max_ejection_percent = 50 },
            retries = care == "retries" and { on = { "gateway-error", 500 } } or nil,
        },
    },
    routes = { { name = "plain", match = { path = "/*" }, upstream = "origin" } },
}
