-- SPDX-License-Identifier: MIT
--
-- How an upstream chooses among its endpoints: the settings, what they must fulfil together, and their normalised form
-- (docs/internals/config-json.md). The algorithms are C: runtime/upstream/balancer_*.c.

local check = require "perigee._core.checks"
local duration = require "perigee._core.duration"
local percent = require "perigee._core.percent"
local suggest = require "perigee._core.suggest"

local balance = {}

local TYPES = { "round_robin", "least_request", "ewma", "random", "ring_hash", "maglev", "sticky" }
local FALLBACKS = { "round_robin", "least_request", "ewma", "random" }
local ZONES_MAX, TABLE_MAX = 32, 5000011

-- Settings that only some types have.
local OWNERS = {
    by = { "ring_hash", "maglev" },
    load_bound = { "ring_hash", "maglev" },
    min_ring_size = { "ring_hash" },
    max_ring_size = { "ring_hash" },
    table_size = { "maglev" },
    decay = { "ewma" },
    default_rtt = { "ewma" },
    cookie = { "sticky" },
    ttl = { "sticky" },
    secret = { "sticky" },
    fallback = { "sticky" },
}

-- ---------------------------------------------------------------- checks

local function check_by(by)
    local kind, name = by:match("^(%a+):(.+)$")
    if by == "client" or by == "path" or kind == "header" and not check.header_name(name) or kind == "cookie" then
        return nil
    end
    return 'expected "header:NAME", "cookie:NAME", "client" or "path"'
end

local function check_prime(number)
    for divisor = 2, math.floor(math.sqrt(number)) do
        if number % divisor == 0 then
            return "must be a prime number; " .. divisor .. " divides it"
        end
    end
    return nil
end

local function check_cookie(name)
    if not name:find("^[%w!#$%%&'*+.^_`|~-]+$") then
        return 'expected the name of a cookie such as "endpoint"'
    end
    return nil
end

local function check_balance(value)
    for name, owners in pairs(OWNERS) do
        if value[name] ~= nil and not suggest.contains(owners, value.type) then
            return "is a setting of " .. table.concat(owners, " and ") .. ", not of " .. value.type, name
        end
    end
    local is_hash = value.type == "ring_hash" or value.type == "maglev"
    if is_hash and not value.by then
        return value.type .. ' needs the part of a request that decides: by = "header:NAME", "cookie:NAME", "client" '
            .. 'or "path"'
    elseif value.type == "sticky" and not value.cookie then
        return "sticky needs the name of its cookie"
    elseif (value.min_ring_size or 1024) > (value.max_ring_size or 8388608) then
        return "is more than 'max_ring_size'", "min_ring_size"
    end
    return nil
end

-- ---------------------------------------------------------------- settings

local label = { type = "string", min = 1, max = 128 }

--- Labels of an endpoint, or those that are asked for.
function balance.labels(doc)
    return { type = "map", keys = label, values = label, doc = doc }
end

--- Fields of an endpoint that only balancing looks at.
balance.endpoint = {
    zone = { type = "string", min = 1, max = 128, doc = "Zone of the endpoint." },
    priority = {
        type = "integer", min = 0, max = 15, default = 0,
        doc = "Those of 0 get the requests; the next ones what they cannot take.",
    },
    labels = balance.labels("Labels, for routes that ask for them: `{ version = \"v2\" }`."),
}

--- Fields of an upstream.
balance.upstream = {
    balance = {
        type = "table", short = "type", default = "round_robin", check = check_balance,
        fields = {
            type = { type = "string", enum = TYPES, required = true, doc = "The algorithm." },
            by = {
                type = "string", check = check_by,
                doc = "ring_hash, maglev: what decides: `header:NAME`, `cookie:NAME`, `client` (address) or `path`.",
            },
            load_bound = {
                type = "integer", min = 100, max = 10000,
                doc = "ring_hash, maglev: per cent of the mean load that an endpoint may have before requests go to "
                    .. "the next one. Without it: no bound.",
            },
            min_ring_size = {
                type = "integer", min = 1, max = 8388608,
                doc = "ring_hash: points of two endpoints of the least weight. Default 1024.",
            },
            max_ring_size = {
                type = "integer", min = 1, max = 8388608, doc = "ring_hash: most points on the ring. Default 8388608.",
            },
            table_size = {
                type = "integer", min = 2, max = TABLE_MAX, check = check_prime,
                doc = "maglev: places of the table, a prime number. Default 65537.",
            },
            decay = {
                type = "duration", min = "1ms", max = "1h",
                doc = "ewma: time in which a measurement loses 63 % of its weight. Default 10s.",
            },
            default_rtt = {
                type = "duration", min = "1ms", max = "1m",
                doc = "ewma: what an endpoint that was never asked is taken for. Default 30ms.",
            },
            cookie = { type = "string", check = check_cookie, doc = "sticky: name of the cookie." },
            ttl = {
                type = "duration", min = "1s",
                doc = "sticky: life of the cookie. Without it: that of the client's session.",
            },
            secret = {
                type = "string", min = 16, secret = true,
                doc = "sticky: key of the cookie's values, for several proxies with the same endpoints. Without it: "
                    .. "one of the process's own, until it ends.",
            },
            fallback = {
                type = "string", enum = FALLBACKS,
                doc = "sticky: how clients without a cookie are spread. Default round_robin.",
            },
        },
        doc = "How an endpoint is chosen: the name of an algorithm, or a table of it and its settings, such as "
            .. '`{ "ring_hash", by = "header:x-user" }`.',
    },
    slow_start = {
        type = "duration", max = "1h",
        doc = "Time in which an endpoint that is new or was away grows from 10 % to all of its weight. Without it: at "
            .. "once.",
    },
    panic_threshold = {
        type = "string", default = "50%", check = percent.check("0%", "100%"),
        doc = "When less of the endpoints are available, all are used. `0%`: never.",
    },
    zone = { type = "string", min = 1, max = 128, doc = "Zone of this proxy, instead of the one at the top." },
}

-- ---------------------------------------------------------------- what must hold between settings

--- Checks the validated upstream at `path`.
function balance.check(build, upstream, path)
    local kind = upstream.balance and upstream.balance.type
    local at = { path[1], path[2] }
    if upstream.slow_start and (kind == "ring_hash" or kind == "maglev") then
        at[3] = "slow_start"
        build:error(at, "has no effect with " .. kind .. ": the request decides which endpoint it gets")
    end
    local zones, count = {}, 0
    for _, endpoint in ipairs(upstream.endpoints or {}) do
        local zone = endpoint and endpoint.zone
        if zone and not zones[zone] then
            zones[zone], count = true, count + 1
        end
    end
    if count > ZONES_MAX then
        at[3] = "endpoints"
        build:error(at, "has endpoints in " .. count .. " zones; at most " .. ZONES_MAX .. " are possible")
    end
end

--- Has any endpoint of the upstream all of `labels`? True for endpoints that are not known yet.
function balance.has_endpoint(upstream, labels)
    if not upstream.endpoints then
        return upstream.dns == nil
    end
    for _, endpoint in ipairs(upstream.endpoints) do
        local has_all = endpoint ~= false
        for name, value in pairs(labels) do
            has_all = has_all and endpoint.labels ~= nil and endpoint.labels[name] == value
        end
        if has_all then
            return true
        end
    end
    return false
end

-- ---------------------------------------------------------------- normalised form

local function write_by(by)
    local kind, name = by:match("^(%a+):(.+)$")
    return { kind = kind or by, name = kind == "header" and name:lower() or name }
end

-- The value of a sticky cookie for one endpoint: the C side makes those for which there is no secret.
local function token(secret, name, address)
    local crypto = require "perigee.crypto"
    local mac = crypto.hmac("sha256", secret, "sticky " .. name .. " " .. address)
    return (mac:sub(1, 16):gsub(".", function(byte) return ("%02x"):format(byte:byte()) end))
end

--- An endpoint's fields, beside address and weight.
function balance.write_endpoint(written, upstream, name, endpoint)
    local secret = upstream.balance.secret
    written.zone = endpoint.zone
    written.priority = endpoint.priority ~= 0 and endpoint.priority or nil
    written.labels = endpoint.labels and next(endpoint.labels) and endpoint.labels or nil
    written.token = secret and token(secret, name, written.address) or nil
    return written
end

local function milliseconds(seconds)
    return seconds and duration.milliseconds(seconds)
end

--- Fields of a normalised upstream.
function balance.write(written, upstream, zone)
    local conf = upstream.balance
    local is_sticky = conf.type == "sticky"
    written.balance = conf.type
    written.balancer = {
        type = is_sticky and (conf.fallback or "round_robin") or conf.type,
        by = conf.by and write_by(conf.by),
        load_bound = conf.load_bound, ring_min = conf.min_ring_size, ring_max = conf.max_ring_size,
        table_size = conf.table_size, decay_ms = milliseconds(conf.decay),
        default_rtt_ms = milliseconds(conf.default_rtt), cookie = conf.cookie,
        ttl_s = conf.ttl and math.ceil(conf.ttl),
    }
    written.slow_start_ms = milliseconds(upstream.slow_start)
    written.panic_threshold = percent.parse(upstream.panic_threshold) / 10000
    written.zone = upstream.zone or zone
    return written
end

return balance
