-- SPDX-License-Identifier: MIT
--
-- The settings of a configuration, as a schema: names, types, defaults, limits and the sentences of the manual
-- (docs/reference/configuration.md is written from this file). What several settings must fulfil together is checked in
-- _core/config.lua and _core/routes.lua.

local address = require "perigee._core.address"
local balance = require "perigee._core.balance"
local check = require "perigee._core.checks"
local discovery = require "perigee._core.discovery"
local health = require "perigee._core.health"
local overload = require "perigee._core.overload"
local percent = require "perigee._core.percent"
local resilience = require "perigee._core.resilience"
local tcp_settings = require "perigee._core.tcp_settings"
local tls_settings = require "perigee._core.tls_settings"

local settings = {}

-- ---------------------------------------------------------------- match

local condition = {
    type = "table", short = "value", exactly_one = { "value", "present", "regex" },
    fields = {
        value = { type = "string", doc = "The exact value." },
        present = { type = "boolean", check = check.is_true, doc = "`true`: any value will do." },
        regex = { type = "string", min = 1, doc = "PCRE2 pattern found anywhere in the value." },
    },
}

--- Conditions on a request: the `match` of a route and the `when` of a policy.
settings.match = {
    host = {
        type = "string", check = check.host_pattern,
        doc = 'Host name: exact, or `"*.suffix"` for every name below it.',
    },
    path = {
        type = "string", check = check.path_pattern,
        doc = '`"/a"` exact; `"/a/*"` the path and all below it; `"/a/{name}/b"` captures one segment.',
    },
    path_regex = { type = "string", min = 1, doc = "PCRE2 pattern for the path, instead of `path`." },
    methods = {
        type = "list", items = { type = "string", check = check.method }, min = 1,
        doc = "Methods, in upper case. Without it: all.",
    },
    headers = {
        type = "map", keys = { type = "string", check = check.header_name }, values = condition,
        doc = 'By name: the exact value, `{ present = true }` or `{ regex = "…" }`.',
    },
    query = {
        type = "map", keys = { type = "string", min = 1 }, values = condition,
        doc = "Query parameters, as for `headers`.",
    },
}

-- ---------------------------------------------------------------- targets

local target_upstream = {
    type = "one_of",
    of = {
        { type = "string" },
        {
            type = "list", min = 1, check = check.weights,
            items = {
                type = "table", short = "upstream",
                fields = {
                    upstream = { type = "string", required = true, doc = "Name of the upstream." },
                    weight = {
                        type = "integer", min = 0, max = 65535, default = 1,
                        doc = "Share of the requests, relative to the others.",
                    },
                },
            },
        },
        { type = "function" },
    },
    doc = 'Name; or shares: `{ { "v1", weight = 9 }, { "v2", weight = 1 } }`; or a function of the request that '
        .. "returns a name, and labels to ask for if need be.",
}

local redirect = {
    type = "table", short = "location",
    fields = {
        location = { type = "string", required = true, min = 1, check = check.location, doc = "URL to go to." },
        status = {
            type = "integer", default = 302, check = check.redirect_status,
            doc = "301, 302, 303, 307 or 308.",
        },
    },
    doc = "Answers with a redirect. A string is the location.",
}

local header_value = { type = "string", check = check.header_value }

--- A fixed answer written as a table (as a string it is the body, and a value of `reply(…)` will do too).
settings.reply = {
    status = { type = "integer", min = 200, max = 599, default = 200, doc = "Status." },
    body = {
        type = "one_of", of = { { type = "string" }, { type = "table" } },
        doc = "Text, or a table sent as JSON.",
    },
    headers = {
        type = "map", keys = { type = "string", check = check.reply_header_name },
        values = { type = "one_of", of = { header_value, "number", { type = "list", items = header_value } } },
        doc = "Header fields: a value, or a list of values.",
    },
}

local rewrite = {
    type = "table", check = check.rewrite,
    fields = {
        prefix = {
            type = "string", check = check.plain_path,
            doc = 'Replaces what the path of the match stands for before its `"*"`.',
        },
        path = { type = "string", check = check.path_template, doc = "New path; `{name}` is a captured segment." },
        regex = { type = "string", min = 1, doc = "PCRE2 pattern; what it finds in the path becomes `to`." },
        to = { type = "string", doc = "Replacement for `regex`; `$1` is its first group." },
    },
    doc = "Changes the path that the upstream sees: one of `prefix`, `path`, or `regex` with `to`.",
}

local TARGETS = { "upstream", "handler", "redirect", "reply" }

local function route_fields()
    return {
        name = {
            type = "string", check = check.name,
            doc = "Name in metrics and logs. Without it: `route-` and its number.",
        },
        match = {
            type = "table", fields = settings.match, default = {}, check = check.match,
            doc = "Which requests the route takes. Without conditions: all.",
        },
        upstream = target_upstream,
        labels = balance.labels("Only endpoints of the upstream that have these labels."),
        priority = {
            type = "string", enum = { "default", "high" }, default = "default",
            doc = "Which limits of the upstream's `breaker` its requests have.",
        },
        handler = { type = "function", doc = "Lua function of the request that returns the answer." },
        redirect = redirect,
        reply = {
            type = "one_of", of = { "string", "table" },
            doc = "A fixed answer: text, `{ status, body, headers }` or `reply(…)`.",
        },
        rewrite = rewrite,
        policies = {
            type = "list", items = "any",
            doc = "Policies of this route, run in order after those of all routes.",
        },
        timeouts = {
            type = "table", doc = "Timeouts that differ from the upstream's.",
            fields = {
                request = {
                    type = "duration",
                    doc = "From the complete request to the response, instead of the upstream's. `\"0s\"` is no limit.",
                },
            },
        },
    }
end

-- ---------------------------------------------------------------- upstreams

local endpoint = {
    type = "table", short = "address",
    fields = {
        address = {
            type = "string", required = true, check = check.with_message(address.parse_remote),
            doc = "`host:port`, `[IPv6]:port` or `unix:/path`.",
        },
        weight = { type = "integer", min = 1, max = 65535, default = 1, doc = "Share of the requests." },
        zone = balance.endpoint.zone,
        priority = balance.endpoint.priority,
        labels = balance.endpoint.labels,
        health = health.endpoint,
    },
}

local SOURCES = { "endpoints", "dns", "srv", "file", "http", "dynamic" }

local function upstream_fields()
    return {
        endpoints = { type = "list", items = endpoint, min = 1, doc = "Addresses of the servers." },
        dns = {
            type = "string", check = check.dns,
            doc = "One `host:port`; all addresses of the name are servers, looked up again when their time (TTL) is "
                .. "over.",
        },
        srv = {
            type = "string", check = check.srv,
            doc = "Name with SRV records, such as `_http._tcp.orders.internal`; all addresses of their targets are "
                .. "servers, by priority and weight, looked up again when their time (TTL) is over.",
        },
        file = {
            type = "string", min = 1, max = 1024, check = check.file_path,
            doc = "JSON file that lists the servers, read again when it changes. A relative path begins where "
                .. "Perigee was started.",
        },
        http = discovery.http,
        dynamic = {
            type = "list", items = endpoint,
            doc = "Policies and handlers set the servers with `perigee.upstream`; these are they until then, or none: "
                .. "`{}`.",
        },
        protocol = {
            type = "string", enum = { "auto", "h1", "h2", "h2c" }, default = "auto",
            doc = "Protocol of the servers: HTTP/1.1, HTTP/2 over TLS, or HTTP/2 without TLS. `auto`: with TLS what "
                .. "the server chooses, without it HTTP/1.1.",
        },
        proxy_protocol = {
            type = "string", enum = { "v1", "v2" },
            doc = "Connections begin with a PROXY header of this version, which says who the client is. For tcp "
                .. "listeners only: those of requests are shared by clients.",
        },
        tls = tls_settings.upstream,
        balance = balance.upstream.balance,
        health = health.upstream,
        outlier = resilience.outlier,
        accrual = resilience.accrual,
        breaker = resilience.breaker,
        retries = resilience.retries,
        hedge = resilience.hedge,
        slow_start = balance.upstream.slow_start,
        panic_threshold = balance.upstream.panic_threshold,
        zone = balance.upstream.zone,
        timeouts = {
            type = "table", default = {}, doc = 'Timeouts towards the servers; `"0s"` switches one off.',
            fields = {
                connect = { type = "duration", default = "5s", doc = "Until the connection stands." },
                request = { type = "duration", default = "15s", doc = "From the complete request to the response." },
                idle = { type = "duration", default = "300s", doc = "Without a byte in either direction." },
                stream = {
                    type = "duration", max = "24h",
                    doc = "A whole exchange, from the first byte of the request to the last of the response, or of the "
                        .. "tunnel that it became; a whole connection of a tcp listener. Without it: no limit.",
                },
            },
        },
        deadline_header = {
            type = "string", check = check.reply_header_name, max = 63,
            doc = "Header of each request in which the servers read how many milliseconds their answer is waited for, "
                .. 'less with each attempt, such as `"x-envoy-expected-rq-timeout-ms"`. What clients sent in it is '
                .. "taken off.",
        },
        pool = {
            type = "table", default = {}, doc = "Idle connections kept for later requests.",
            fields = {
                max_idle = { type = "integer", default = 128, min = 0, max = 65535, doc = "Per worker and server." },
                idle = { type = "duration", default = "60s", doc = "How long one is kept." },
                max_requests = {
                    type = "integer", default = 0, min = 0, max = 1000000000,
                    doc = "Requests on one connection before it is closed; 0 for no limit.",
                },
            },
        },
    }
end

-- ---------------------------------------------------------------- listeners

local function listener_fields(default)
    return {
        address = {
            type = "string", required = true, check = check.with_message(address.parse_local),
            doc = "IP address and port, `[IPv6]:port` or `unix:/path`. `*` is every IPv4 address; port 0 lets the "
                .. "system choose.",
        },
        protocol = {
            type = "string", enum = { "http", "tcp" }, default = "http",
            doc = "What it speaks; `tcp`: nothing, connections are passed on as they are.",
        },
        upstream = tcp_settings.upstream,
        sni = tcp_settings.sni,
        policies = tcp_settings.policies,
        tls = tls_settings.listener,
        proxy_protocol = {
            type = "table", doc = "Proxies in front that begin each connection with a PROXY header (version 1 or 2).",
            fields = {
                from = {
                    type = "list", required = true, min = 1, max = 1000,
                    items = { type = "string", check = check.proxy },
                    doc = 'Addresses and networks of these proxies, `"unix"` for whoever comes over a unix socket. '
                        .. "Their connections must begin with a header, and the client is who it says; of others no "
                        .. "header is believed.",
                },
            },
        },
        trusted_hops = {
            type = "integer", default = 0, min = 0, max = 100,
            doc = "Proxies in front whose entries in X-Forwarded-For are believed.",
        },
        deadline_header = {
            type = "string", check = check.reply_header_name, max = 63,
            doc = "Header in which clients say how many milliseconds they wait for the answer, such as "
                .. '`"x-envoy-upstream-rq-timeout-ms"`; 0, or anything else but a number, says nothing. Timeouts are '
                .. "never longer for it. Without it clients are believed only about `grpc-timeout`.",
        },
        limits = {
            type = "table", default = {}, doc = "Limits on requests.",
            fields = {
                headers = {
                    type = "integer", default = default(100, 200), min = 1, max = 10000,
                    doc = "Header fields of a request; more: 431.",
                },
                header_bytes = {
                    type = "size", default = default("60k", "128k"), min = "1k", max = "1m",
                    doc = "Bytes of the request line and header; more: 431.",
                },
                uri_bytes = {
                    type = "size", default = default("16k", "64k"), min = 64, max = "1m",
                    doc = "Bytes of the request target; more: 414.",
                },
                body = { type = "size", doc = "Bytes of a request's body; more: 413. Without it: no limit." },
                streams = {
                    type = "integer", default = default(100, 1000), min = 1, max = 10000,
                    doc = "Requests at once on one HTTP/2 connection.",
                },
                connections = {
                    type = "integer", default = 10000, min = 1, max = 10000000,
                    doc = "Open connections of a worker.",
                },
            },
        },
        timeouts = {
            type = "table", default = {}, doc = 'Timeouts towards the clients; `"0s"` switches one off.',
            fields = {
                headers = {
                    type = "duration", default = "10s",
                    doc = "From the first byte of a request to the end of its header; of a TLS handshake, a PROXY "
                        .. "header, and with `sni` until the server name is known.",
                },
                request = { type = "duration", default = "300s", doc = "Until the request is complete." },
                idle = {
                    type = "duration", default = default("75s", "1h"),
                    doc = "Between two requests of a connection.",
                },
                stream_idle = {
                    type = "duration", default = "300s",
                    doc = "Without a byte in either direction of an exchange or, with protocol `tcp`, a connection.",
                },
            },
        },
    }
end

-- ---------------------------------------------------------------- the whole

local access_log = {
    type = "table", short = "path", default = "stdout",
    fields = {
        path = {
            type = "string", required = true, min = 1,
            doc = '`"stdout"` (also `"-"` and `"/dev/stdout"`), `"stderr"` (also `"/dev/stderr"`), `"off"` or a file.',
        },
    },
    doc = "Where the access log goes. A string is the path.",
}

local reload = {
    type = "table", default = {}, doc = "What a change of the configuration must pass before it serves.",
    fields = {
        test = {
            type = "boolean", default = false,
            doc = "Run the specs beside the configuration first; one that fails refuses it.",
        },
        test_timeout = {
            type = "duration", default = "30s", min = "1s", max = "2m",
            doc = "How long all specs together may take.",
        },
        canary = {
            type = "string", check = percent.check("0.1%", "50%"),
            doc = 'Share of the exchanges that uses the new generation first, such as `"5%"`. Without it: all at once.',
        },
        window = {
            type = "duration", default = "30s", min = "1s", max = "24h",
            doc = "How long the canary is compared with what serves.",
        },
        max_errors = {
            type = "string", default = "2%", check = percent.check("0%", "100%"),
            doc = "Share of its exchanges by which the canary may have more 5xx; beyond it is given up.",
        },
        max_slowdown = {
            type = "number", default = 2, min = 1, max = 100,
            doc = "How many times the 99th percentile of durations the canary's may be.",
        },
    },
}

--- Settings of a configuration with the defaults of `role`.
---@param role "gateway"|"sidecar"
---@return table<string, table|string> schema
function settings.fields(role)
    local function default(gateway, sidecar)
        if role == "sidecar" then
            return sidecar
        end
        return gateway
    end
    return {
        role = {
            type = "string", enum = { "gateway", "sidecar" }, default = role,
            doc = "What the proxy is used as: changes defaults, nothing else.",
        },
        listeners = {
            type = "list", min = 1, max = 64, default = { { address = "127.0.0.1:8080" } },
            items = { type = "table", short = "address", fields = listener_fields(default) },
            doc = "Addresses that are served.",
        },
        upstreams = {
            type = "map", keys = { type = "string", check = check.name }, default = {},
            values = {
                type = "table", exactly_one = SOURCES, fields = upstream_fields(),
            },
            doc = "Servers that requests are passed to, by name.",
        },
        policies = { type = "list", items = "any", doc = "Policies that run on every route, in order." },
        routes = {
            type = "list", required = true,
            items = { type = "table", exactly_one = TARGETS, fields = route_fields() },
            doc = "What is done with which requests. A request without a route is answered 404.",
        },
        admin = {
            type = "string", check = check.admin,
            doc = "Address of the admin API: a loopback address or `unix:/path`. Without it: none.",
        },
        workers = {
            type = "one_of", default = default("auto", 0),
            of = { { type = "integer", min = 0, max = 256 }, { type = "string", enum = { "auto" } } },
            doc = 'Worker processes; `"auto"`: one for each CPU; 0: a single process without a supervisor.',
        },
        zone = { type = "string", min = 1, max = 128, doc = "Zone of this proxy: endpoints in it are preferred." },
        watch = { type = "boolean", default = false, doc = "Reload when a file changes." },
        watchdog = {
            type = "duration", default = "2s", min = "100ms", max = "1h",
            doc = "A worker stuck for this long is replaced.",
        },
        drain = {
            type = "duration", default = "30s", max = "24h",
            doc = "How long exchanges may finish after SIGTERM.",
        },
        shared_memory = {
            type = "size", default = "32m", min = "1m", max = "64g",
            doc = "Memory of `perigee.shared`. What is not used costs nothing.",
        },
        lua_memory = {
            type = "size", default = "256m", min = "8m", max = "64g",
            doc = "Largest Lua heap of a worker.",
        },
        overload = overload.setting,
        keep_generations = {
            type = "integer", default = 5, min = 0, max = 100,
            doc = "Snapshots kept for `perigee rollback`.",
        },
        access_log = access_log,
        explain = {
            type = "table", doc = "Lets a client ask why: a request with the token in `x-perigee-explain` gets the "
                .. "decision trace in the header of that name.",
            fields = {
                token = {
                    type = "string", required = true, min = 16, max = 1024, secret = true, check = check.header_value,
                    doc = "The token, 16 characters or more.",
                },
            },
        },
        reload = reload,
        dns = {
            type = "table", doc = "How names are looked up.",
            fields = {
                servers = {
                    type = "list", required = true, min = 1, max = 8,
                    items = { type = "string", check = check.dns_server },
                    doc = "DNS servers (`IP:port`) that are asked in the place of those in /etc/resolv.conf.",
                },
            },
        },
    }
end

return settings
