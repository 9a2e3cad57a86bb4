-- SPDX-License-Identifier: MIT
--
-- How an upstream chooses among its endpoints: the settings, what they must fulfil together, and their normalised form
-- (docs/internals/config-json.md). The algorithms are C: runtime/upstream/balancer_*.c.

local address = require "perigee._core.address"
local check = require "perigee._core.checks"
local duration = require "perigee._core.duration"
local percent = require "perigee._core.percent"
local suggest = require "perigee._core.suggest"
local is_token = require("perigee.algo.token").is

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
    return 'expected "header:NAME", "cookie:NAME", "client", "path" or a function'
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
    if not is_token(name) then
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
        return value.type .. ' needs the part of a request that decides: by = "header:NAME", "cookie:NAME", "client", '
            .. '"path" or a function'
    elseif value.type == "sticky" and not value.cookie then
        return "sticky needs the name of its cookie"
    elseif (value.min_ring_size or 1024) > (value.max_ring_size or 1048576) then
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

local algorithm = {
    type = "table", short = "type", check = check_balance,
    fields = {
        type = { type = "string", enum = TYPES, required = true, doc = "The algorithm." },
        by = {
            type = "one_of", of = { { type = "string", check = check_by }, "function" },
            doc = "ring_hash, maglev: what decides: `header:NAME`, `cookie:NAME`, `client` (address), `path`, or a "
                .. "function of the request that returns a string or nil.",
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
            type = "integer", min = 1, max = 8388608, doc = "ring_hash: most points on the ring. Default 1048576.",
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
}

--- Fields of an upstream.
balance.upstream = {
    balance = {
        type = "one_of", default = "round_robin", of = { "function", algorithm },
        doc = "How an endpoint is chosen: the name of an algorithm, or a table of it and its settings, such as "
            .. '`{ "ring_hash", by = "header:x-user" }`; or a function of the request and the endpoints that returns '
            .. "the number of one, or nil for the next in turn.",
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

-- The setting as a table, however it was written.
local function settings_of(upstream)
    if type(upstream.balance) == "function" then
        return { type = "lua", choose = upstream.balance }
    end
    return upstream.balance
end

--- Checks the validated upstream at `path`.
function balance.check(build, upstream, path)
    local kind = upstream.balance and settings_of(upstream).type
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
        return upstream.dns == nil and upstream.srv == nil
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
    if type(by) == "function" then
        return nil
    end
    local kind, name = by:match("^(%a+):(.+)$")
    return { kind = kind or by, name = kind == "header" and name:lower() or name }
end

-- The value of a sticky cookie for one endpoint: the C side makes those for which there is no secret.
local function token(secret, name, text)
    local crypto = require "perigee.crypto"
    local mac = crypto.hmac("sha256", secret, "sticky " .. name .. " " .. text)
    return (mac:sub(1, 16):gsub(".", function(byte) return ("%02x"):format(byte:byte()) end))
end

--- The endpoints of an upstream, normalised.
function balance.write_endpoints(name, upstream)
    local list, secret = {}, settings_of(upstream).secret
    local named = upstream.dns and { { address = upstream.dns, weight = 1, priority = 0 } } -- until its addresses are known
    for i, endpoint in ipairs(upstream.endpoints or upstream.dynamic or named or {}) do
        local text = address.format(address.parse_remote(endpoint.address))
        list[i] = {
            address = text, weight = endpoint.weight, zone = endpoint.zone,
            priority = endpoint.priority ~= 0 and endpoint.priority or nil,
            labels = endpoint.labels and next(endpoint.labels) and endpoint.labels or nil,
            health = endpoint.health and next(endpoint.health) and endpoint.health or nil,
            token = secret and token(secret, name, text) or nil,
        }
    end
    return list
end

--- The functions of a checked upstream (_core/choosing.lua); nil when it has none.
function balance.functions(name, upstream)
    local conf = upstream.balance and settings_of(upstream) or {}
    local by = type(conf.by) == "function" and conf.by or nil
    if not by and not conf.choose then
        return nil
    end
    local choosing = require "perigee._core.choosing" -- not above: the manual is made without the runtime
    return choosing.new({ name = name, endpoints = balance.write_endpoints(name, upstream) }, by, conf.choose)
end

local function milliseconds(seconds)
    return seconds and duration.milliseconds(seconds)
end

--- Fields of a normalised upstream.
function balance.write(written, upstream, zone)
    local conf = settings_of(upstream)
    local is_wrapped = conf.type == "sticky" or conf.type == "lua"
    written.balance = conf.type
    written.balancer = {
        type = is_wrapped and (conf.fallback or "round_robin") or conf.type,
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
