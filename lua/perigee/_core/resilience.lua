-- SPDX-License-Identifier: MIT
--
-- The settings of an upstream that say which of its servers are used, how much they are asked to do, and which attempts are
-- made again or twice: `outlier`, `breaker`, `retries` and `hedge`, with Envoy's names and numbers, `accrual` with Linkerd's,
-- and the form in which C reads them (docs/internals/config-json.md).

local duration = require "perigee._core.duration"

local resilience = {}

local MAX = 1000000

local function count(default, doc)
    return { type = "integer", default = default, min = 0, max = MAX, doc = doc }
end

local function percent(default, doc)
    return { type = "integer", default = default, min = 0, max = 100, doc = doc }
end

local function enforcing(default, what)
    return percent(default, "Per cent of those found by `" .. what .. "` that are ejected; 0: they are only counted.")
end

--- The schema of `outlier`.
resilience.outlier = {
    type = "table",
    doc = "Ejection of servers whose results are worse than allowed, counted over all workers. Without it: none. "
        .. "The names are Envoy's.",
    fields = {
        consecutive_5xx = count(5, "Failures in a row that eject: 5xx, and attempts without an answer. 0: no limit."),
        consecutive_gateway_failure = count(5, "502, 503 and 504 in a row that eject. 0: no limit."),
        consecutive_local_origin_failure = count(5, "Attempts without an answer in a row that eject, "
            .. "with `split_external_local_origin_errors`. 0: no limit."),
        interval = {
            type = "duration", default = "10s", min = "10ms", max = "1h",
            doc = "How often rates are compared and servers that were ejected come back.",
        },
        base_ejection_time = {
            type = "duration", default = "30s", min = "1ms", max = "24h",
            doc = "How long the first ejection lasts; the n-th in a row lasts n times as long.",
        },
        max_ejection_time = {
            type = "duration", default = "300s", min = "1ms", max = "24h", doc = "How long an ejection lasts at most.",
        },
        max_ejection_time_jitter = {
            type = "duration", default = "0s", max = "1h", doc = "Up to this is added to each ejection, at random.",
        },
        max_ejection_percent = percent(10, "Per cent of the servers that may be ejected at the same time."),
        always_eject_one_host = {
            type = "boolean", default = true, doc = "One server may be ejected whatever `max_ejection_percent` says.",
        },
        success_rate_minimum_hosts = count(5, "Servers with enough requests that are needed to compare success rates."),
        success_rate_request_volume = count(100, "Requests in an interval that are enough."),
        success_rate_stdev_factor = count(1900, "A server is ejected when its success rate is below the mean less this "
            .. "many thousandths of the standard deviation."),
        failure_percentage_threshold = percent(85, "Per cent of failed requests from which a server is ejected."),
        failure_percentage_minimum_hosts = count(5, "As `success_rate_minimum_hosts`."),
        failure_percentage_request_volume = count(50, "As `success_rate_request_volume`."),
        enforcing_consecutive_5xx = enforcing(100, "consecutive_5xx"),
        enforcing_consecutive_gateway_failure = enforcing(0, "consecutive_gateway_failure"),
        enforcing_consecutive_local_origin_failure = enforcing(100, "consecutive_local_origin_failure"),
        enforcing_success_rate = enforcing(100, "success_rate_*"),
        enforcing_failure_percentage = enforcing(0, "failure_percentage_*"),
        split_external_local_origin_errors = {
            type = "boolean", default = false,
            doc = "Attempts without an answer are counted apart from answers.",
        },
        successful_active_health_check_uneject_host = {
            type = "boolean", default = true, doc = "A server whose check (`health`) succeeds is back at once.",
        },
    },
}

--- The schema of `accrual`.
resilience.accrual = {
    type = "table",
    doc = "Servers that fail too often are shut, and come back when one request has succeeded, counted over all "
        .. "workers. Linkerd's failure accrual, in the place of `outlier`. Without it: none.",
    fields = {
        kind = {
            type = "string", enum = { "consecutive", "unified" }, default = "consecutive",
            doc = "What counts: failures in a row, or the rate of successes too.",
        },
        failures = {
            type = "integer", default = 7, min = 1, max = MAX, doc = "Failures in a row that shut.",
        },
        backoff = {
            type = "table", default = {}, doc = "How long a server is shut before it gets its one request.",
            fields = {
                min = { type = "duration", default = "1s", min = "1ms", max = "1h", doc = "The first time." },
                max = {
                    type = "duration", default = "60s", min = "1ms", max = "24h",
                    doc = "At most; each further time in a row is twice as long.",
                },
                jitter = {
                    type = "number", default = 0.5, min = 0, max = 1,
                    doc = "Share of it that is added at most, at random.",
                },
            },
        },
        success_rate = {
            type = "number", min = 0, max = 1,
            doc = "unified: share of successes below which a server is shut. Default 0.8.",
        },
        window = {
            type = "duration", min = "100ms", max = "1h",
            doc = "unified: time over which they are counted. Default 10s.",
        },
        min_requests = {
            type = "integer", min = 1, max = MAX, doc = "unified: requests that are needed in it. Default 5.",
        },
    },
}

local function limits()
    return {
        max_connections = count(1024, "Open connections, idle ones included. At the limit only requests that find an "
            .. "idle one are sent."),
        max_pending = count(1024, "Requests that wait for a connection."),
        max_requests = count(1024, "Requests under way."),
        max_retries = count(3, "Retries under way."),
    }
end

--- The schema of `breaker`.
resilience.breaker = {
    type = "table",
    doc = "Limits on what the servers are asked to do at the same time, over all workers. What is beyond is answered "
        .. "503. Without it: none.",
    fields = limits(),
}

resilience.breaker.fields.high = {
    type = "table", default = {}, fields = limits(),
    doc = 'Limits for routes with `priority = "high"`, whose requests are counted apart and never wait.',
}

resilience.breaker.fields.queue = {
    type = "table",
    doc = "Requests beyond `max_requests` wait for a place, first come first served. Without it: none waits.",
    fields = {
        max = {
            type = "integer", default = 100, min = 1, max = MAX,
            doc = "Requests that may wait, over all workers; more are answered 503.",
        },
        timeout = {
            type = "duration", default = "1s", min = "1ms", max = "5m",
            doc = "How long one waits; then it is answered 503.",
        },
    },
}

local CONDITIONS = {
    "5xx", "gateway-error", "reset", "connect-failure", "refused-stream", "retriable-4xx",
    "cancelled", "deadline-exceeded", "internal", "resource-exhausted", "unavailable",
}

--- The schema of `retries`.
resilience.retries = {
    type = "table",
    doc = "Failed attempts are made again, on another server if there is one. Without it: only those that met a "
        .. "connection that was closing.",
    fields = {
        attempts = {
            type = "integer", default = 1, min = 0, max = 10,
            doc = "How many retries a request has, beyond the first attempt.",
        },
        on = {
            type = "list", default = { "connect-failure", "refused-stream", "reset", 503 },
            items = {
                type = "one_of",
                of = { { type = "string", enum = CONDITIONS }, { type = "integer", min = 400, max = 599 } },
            },
            doc = "What is worth a retry: conditions, names of gRPC statuses in the response's head, "
                .. "and status codes.",
        },
        non_idempotent = {
            type = "boolean", default = false,
            doc = "POST, PATCH and the like are sent again too when the server did not answer: it may have acted "
                .. "on them.",
        },
        per_try_timeout = {
            type = "duration", min = "1ms", max = "1h",
            doc = "From the complete request to the response, for each attempt. `timeouts.request` limits all of "
                .. "them together.",
        },
        backoff = {
            type = "table", default = {}, doc = "The wait before a retry, at random below a range that doubles.",
            fields = {
                base = {
                    type = "duration", default = "25ms", max = "1m",
                    doc = "The range before the first retry. `\"0s\"`: no wait.",
                },
                max = { type = "duration", default = "250ms", max = "5m", doc = "The widest range." },
            },
        },
        budget = {
            type = "table", default = {}, doc = "How many retries there may be, over all workers.",
            fields = {
                type = {
                    type = "string", enum = { "concurrency", "rate" }, default = "concurrency",
                    doc = "What is limited: the retries under way (Envoy), or those in a time (Finagle, Linkerd).",
                },
                percent = percent(20, "concurrency: per cent of the requests under way."),
                min_concurrency = count(3, "concurrency: retries that are always allowed."),
                ttl = {
                    type = "duration", default = "10s", min = "1s", max = "60s",
                    doc = "rate: how long a request counts.",
                },
                min_per_second = count(10, "rate: retries a second that are always allowed."),
                ratio = {
                    type = "number", default = 0.2, min = 0, max = 1000, doc = "rate: retries for each request.",
                },
            },
        },
        body = {
            type = "size", default = "64k", max = "16m",
            doc = "Bytes of a request's body that are kept to be sent again; a request with more has no retries once "
                .. "that much left.",
        },
    },
}

--- The schema of `hedge`.
resilience.hedge = {
    type = "table",
    doc = "A request that is not answered after a while is sent a second time, to another server if there is one, and "
        .. "the first good answer is taken. Counts as a retry for the budget of `retries` and for `max_retries`. "
        .. "Without it: never.",
    fields = {
        after = {
            type = "duration", min = "1ms", max = "1h",
            doc = "How long the answer is waited for first. Without it: only requests for which a policy says so.",
        },
        max = {
            type = "integer", default = 1, min = 1, max = 10,
            doc = "How often one request is sent again this way. Never are more than two on their way.",
        },
        non_idempotent = {
            type = "boolean", default = false,
            doc = "POST, PATCH and the like too: the servers may act on them twice.",
        },
    },
}

--- Checks the validated upstream at `path`.
function resilience.check(build, upstream, path)
    local accrual = upstream.accrual
    local at = { path[1], path[2], "accrual" }
    if accrual and upstream.outlier then
        build:error(at, "takes the place of 'outlier': use one of them")
    end
    local has_run_only = accrual and accrual.kind == "consecutive"
    for _, name in ipairs { "success_rate", "window", "min_requests" } do
        if has_run_only and accrual[name] ~= nil then
            at[4] = name
            build:error(at, 'has no effect with kind "consecutive"')
        end
    end
end

local write

--- Copies validated settings with their durations in milliseconds.
function write(settings, fields)
    local copy = {}
    for name, value in pairs(settings) do
        if fields[name].type == "duration" then
            copy[name .. "_ms"] = duration.milliseconds(value)
        elseif fields[name].type == "table" then
            copy[name] = write(value, fields[name].fields)
        else
            copy[name] = value
        end
    end
    return copy
end

--- Adds the settings of an upstream to its normalised form.
---@param upstream table validated
---@param list table the normalised form
function resilience.write(upstream, list)
    for _, name in ipairs { "outlier", "accrual", "breaker", "retries", "hedge" } do
        if upstream[name] then
            list[name] = write(upstream[name], resilience[name].fields)
        end
    end
    for i, condition in ipairs(list.retries and list.retries.on or {}) do
        list.retries.on[i] = tostring(condition)
    end
end

return resilience
