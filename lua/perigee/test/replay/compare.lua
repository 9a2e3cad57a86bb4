-- SPDX-License-Identifier: MIT
--
-- What differs between two exchanges: the decisions, not the bytes. Values that change with every run are left out, and a value
-- that was masked when it was recorded is the same as any value in its place.

local compare = {}

--- Headers that differ from run to run and say nothing about decisions.
compare.VOLATILE = { "age", "date", "server-timing", "traceparent", "tracestate", "via", "x-request-id" }

--- Headers that depend on what was before the recording, or is not in it: left out when a replay is compared with it.
compare.UNSTEADY = {
    "ratelimit", "ratelimit-remaining", "ratelimit-reset", "retry-after", "x-ratelimit-remaining", "x-ratelimit-reset",
}

-- Errors that a replay cannot tell apart.
local SAME_ERROR = { connect_timeout = "connect_failed", resolve_failed = "connect_failed" }

local MASK = "masked:%x%x%x%x%x%x%x%x%x%x%x%x%x%x%x%x"

--- A set of header names that do not count.
---@param is_recorded boolean one side is what was recorded
---@param names string[] beside the usual ones
---@return table<string, true>
function compare.ignored(is_recorded, names)
    local set = {}
    for _, list in ipairs { compare.VOLATILE, is_recorded and compare.UNSTEADY or {}, names } do
        for _, name in ipairs(list) do
            set[name:lower()] = true
        end
    end
    return set
end

--- Is something masked in the text?
---@param text string
---@return boolean
function compare.is_masked(text)
    return text:find(MASK) ~= nil
end

local function escape(text)
    return (text:gsub("%p", "%%%0"):gsub("%z", "%%z"))
end

-- Is `new` the same as `old`, where anything may stand for what is masked in `old`?
local function is_same(old, new)
    if old == new then
        return true
    elseif not old or not new or not compare.is_masked(old) then
        return false
    end
    local parts, at = {}, 1
    while true do
        local first, last = old:find(MASK, at)
        if not first then
            break
        end
        parts[#parts + 1] = escape(old:sub(at, first - 1)) .. ".-"
        at = last + 1
    end
    return new:find("^" .. table.concat(parts) .. escape(old:sub(at)) .. "$") ~= nil
end

-- Values by name, those of one name joined; and the names in order.
local function by_name(headers, ignored)
    local values, names = {}, {}
    for _, pair in ipairs(headers) do
        local name, value = pair[1], pair[2]
        if not ignored[name] then
            if values[name] then
                values[name] = values[name] .. ", " .. value
            else
                values[name], names[#names + 1] = value, name
            end
        end
    end
    return values, names
end

local function add(list, kind, old, new, name)
    if not is_same(old, new) then
        list[#list + 1] = { kind = kind, name = name, old = old, new = new }
    end
end

local function add_headers(list, kind, old, new, ignored)
    local before, names = by_name(old, ignored)
    local after, more = by_name(new, ignored)
    for _, name in ipairs(names) do
        add(list, kind, before[name], after[name], name)
    end
    for _, name in ipairs(more) do
        if before[name] == nil then
            add(list, kind, nil, after[name], name)
        end
    end
end

local function last_attempt(exchange)
    local attempts = exchange.attempts
    return attempts and attempts[#attempts]
end

local function text_of(status)
    return status and string.format("%d", status)
end

---@class perigee.test.replay.Difference
---@field kind string "route", "upstream", "status", "error", "consumer", "request", "request header", "response header"
---@field name string|nil of a header
---@field old string|nil
---@field new string|nil

--- The differences between an exchange as it was and as it would be.
---@param old table
---@param new table
---@param ignored table<string, true>
---@return perigee.test.replay.Difference[]
function compare.differences(old, new, ignored)
    local list = {}
    local before, after = last_attempt(old), last_attempt(new)
    local old_res, new_res = old.response or {}, new.response or {}
    add(list, "status", text_of(old_res.status), text_of(new_res.status))
    add(list, "route", old.route, new.route)
    add(list, "upstream", before and before.upstream, after and after.upstream)
    add(list, "error", SAME_ERROR[old.error] or old.error, SAME_ERROR[new.error] or new.error)
    add(list, "consumer", old.consumer, new.consumer)
    if before and after then
        local was, is = before.request, after.request
        add(list, "request", was.method .. " " .. was.target, is.method .. " " .. is.target)
        add_headers(list, "request header", was.headers, is.headers, ignored)
    end
    add_headers(list, "response header", old_res.headers or {}, new_res.headers or {}, ignored)
    return list
end

return compare
