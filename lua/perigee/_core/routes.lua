-- SPDX-License-Identifier: MIT
--
-- Routes of a configuration: checks what their settings must fulfil together (names, references, captures) and writes them
-- in the normalised form of docs/internals/config-json.md, with the chain that Lua runs for each.

local bit = require "bit"

local balance = require "perigee._core.balance"
local contract = require "perigee._core.contract"
local duration = require "perigee._core.duration"
local path_pattern = require "perigee._core.path_pattern"
local readable = require "perigee._core.readable"
local schema = require "perigee._core.schema"
local settings = require "perigee._core.settings"
local suggest = require "perigee._core.suggest"
local targets = require "perigee._core.targets"
local uses = require "perigee._core.uses"

local routes = {}

local JSON_TYPE, TEXT_TYPE = "application/json", "text/plain; charset=utf-8"

-- ---------------------------------------------------------------- fixed answers

--- Pairs of name and value, ordered by name, and whether one of them is content-type.
local function header_pairs(headers)
    local list, has_type = {}, false
    for _, name in ipairs(readable.sorted_keys(headers or {})) do
        local values = headers[name]
        for _, value in ipairs(type(values) == "table" and values or { values }) do
            list[#list + 1] = { name:lower(), tostring(value) }
        end
        has_type = has_type or name:lower() == "content-type"
    end
    return list, has_type
end

local REPLY = { type = "table", fields = settings.reply }

--- The three fields of a fixed answer, however it was written.
local function reply_fields(written)
    if type(written) == "string" then
        return { body = written }
    elseif type(written) == "table" and getmetatable(written) ~= nil then
        return { status = written.status, body = written.body, headers = written.headers } -- a value of reply(…)
    end
    return written
end

local function compile_reply(build, written, path)
    local before = #build.errors
    local reply = schema.validate_field(REPLY, reply_fields(written), path, build.errors, build.secrets)
    if #build.errors > before then
        return nil
    end
    local body, content_type = reply.body, TEXT_TYPE
    if type(body) == "table" then
        local text, message = build.encode_json(body)
        if not text then
            return build:error(path, "the body cannot be written as JSON: " .. tostring(message))
        end
        body, content_type = text, JSON_TYPE
    end
    local headers, has_type = header_pairs(reply.headers)
    if body and body ~= "" and not has_type then
        headers[#headers + 1] = { "content-type", content_type }
    end
    return { kind = "reply", status = reply.status, body = body or "", headers = #headers > 0 and headers or nil }
end

-- ---------------------------------------------------------------- targets

local function check_upstream(build, name, path)
    local message = targets.request_problem(build, name)
    if message then
        build:error(path, message)
    end
end

local function compile_split(build, choices, path)
    local list = {}
    for i, choice in ipairs(choices) do
        path[#path + 1] = i
        check_upstream(build, choice.upstream, path)
        path[#path] = nil
        list[i] = { upstream = choice.upstream, weight = choice.weight }
    end
    return { kind = "split", choices = list }
end

--- Target in normalised form; nil when it has errors.
local function compile_target(build, route, path)
    local upstream = route.upstream
    local at = { path[1], path[2], upstream and "upstream" or "reply" }
    if type(upstream) == "string" then
        check_upstream(build, upstream, at)
        return { kind = "upstream", upstream = upstream }
    elseif type(upstream) == "table" then
        return compile_split(build, upstream, at)
    elseif type(upstream) == "function" then
        return { kind = "lua" }
    elseif route.handler then
        return { kind = "handler" }
    elseif route.redirect then
        return { kind = "redirect", status = route.redirect.status, location = route.redirect.location }
    elseif route.reply then
        return compile_reply(build, route.reply, at)
    end
    return nil
end

--- Labels that no endpoint has would make every request fail.
local function check_labels(build, labels, target, path)
    local at = { path[1], path[2], "labels" }
    if target.kind ~= "upstream" and target.kind ~= "split" and target.kind ~= "lua" then
        return build:error(at, "chooses among the endpoints of an upstream, but the route has no 'upstream'")
    end
    for _, choice in ipairs(target.choices or { target }) do
        local upstream = build.checked_upstreams[choice.upstream]
        if upstream and not balance.has_endpoint(upstream, labels) then
            build:error(at, "no endpoint of the upstream " .. readable.quote(choice.upstream) .. " has these labels")
        end
    end
end

--- Functions that balance the upstreams which the target may be, by name; nil when there are none.
local function balancers_of(build, target)
    local is_any, list = target.kind == "lua", {}
    for _, choice in ipairs(target.choices or { target }) do
        list[choice.upstream or ""] = true
    end
    local balancers = {}
    for name, upstream in pairs(build.checked_upstreams) do
        if is_any or list[name] then
            balancers[name] = balance.functions(name, upstream)
        end
    end
    return next(balancers) and balancers or nil
end

-- ---------------------------------------------------------------- match and rewrite

local function check_regex(build, pattern, path)
    local compiled, message = build.compile_regex(pattern)
    if not compiled then
        build:error(path, "is no regular expression: " .. tostring(message))
    end
end

local function check_conditions(build, conditions, path)
    for _, name in ipairs(readable.sorted_keys(conditions)) do
        if conditions[name].regex then
            path[5], path[6] = name, "regex"
            check_regex(build, conditions[name].regex, path)
            path[5], path[6] = nil, nil
        end
    end
end

local function check_match(build, match, path)
    local prefix = { path[1], path[2], "match" }
    if match.path_regex then
        prefix[4] = "path_regex"
        check_regex(build, match.path_regex, prefix)
    end
    for _, name in ipairs { "headers", "query" } do
        prefix[4] = name
        check_conditions(build, match[name] or {}, prefix)
    end
end

local function check_template(build, template, captures, path)
    for _, name in ipairs(path_pattern.names(template)) do
        if not suggest.contains(captures, name) then
            local tail = suggest.tail(name, captures, "captures")
            build:error(path, "the path of the match captures no " .. readable.quote(name) .. tail)
        end
    end
end

local function check_rewrite(build, rewrite, written, captures, path)
    local at = { path[1], path[2], "rewrite" }
    if written.upstream == nil then
        return build:error(at, "changes the path that an upstream sees, but the route has no 'upstream'")
    end
    if rewrite.prefix and type(written.match) == "table" and written.match.path_regex then
        at[4] = "prefix"
        build:error(at, "needs the 'path' of the match; with 'path_regex' use 'regex' and 'to'")
    elseif rewrite.path and captures then
        at[4] = "path"
        check_template(build, rewrite.path, captures, at)
    elseif rewrite.regex then
        at[4] = "regex"
        check_regex(build, rewrite.regex, at)
    end
end

local function field_list(conditions, is_header)
    local list = {}
    for _, name in ipairs(readable.sorted_keys(conditions or {})) do
        local condition = conditions[name]
        list[#list + 1] = {
            name = is_header and name:lower() or name,
            value = condition.value, present = condition.present, regex = condition.regex,
        }
    end
    return #list > 0 and list or nil
end

local function write_match(match)
    return {
        host = match.host and match.host:lower() or "",
        path = match.path or "",
        path_regex = match.path_regex or "",
        methods = match.methods,
        headers = field_list(match.headers, true),
        query = field_list(match.query, false),
    }
end

-- ---------------------------------------------------------------- chain

local function append(list, items)
    for i = 1, #items do
        list[#list + 1] = items[i]
    end
    return list
end

--- Header edits of the whole chain in the order in which they are applied: those of requests as the policies stand, those of
--- responses the other way round. Nil when some policy needs Lua.
local function merge_edits(chain)
    local edits, count = {}, #chain
    for i = 1, 2 * count do
        local use = chain[i <= count and i or 2 * count + 1 - i]
        local side = i <= count and "request" or "response"
        if not use.edits then
            return nil
        end
        for _, edit in ipairs(use.edits) do
            if edit.on == side then
                edits[#edits + 1] = { on = edit.on, op = edit.op, name = edit.name:lower(), value = edit.value }
            end
        end
    end
    return edits
end

--- Bits of the phases for which the route enters Lua, and the edits that C makes in place of the policies.
local function plan(chain, target, balancers)
    local is_lua = target.kind == "lua" or target.kind == "handler" or balancers ~= nil
    local edits = not is_lua and merge_edits(chain)
    if edits then
        return 0, #edits > 0 and edits or nil
    end
    local hooks, enforced = is_lua and contract.hooks.on_request or 0, 0
    for _, use in ipairs(chain) do
        hooks = bit.bor(hooks, use.hooks)
        enforced = bit.bor(enforced, use.dry_run and 0 or use.hooks)
    end
    for _, mark in next, contract.marks do
        if bit.band(hooks, mark.hook) ~= bit.band(enforced, mark.hook) then
            hooks = bit.bor(hooks, mark.dry)
        end
    end
    return hooks, nil
end

--- What is worth knowing of each use, for those who explain a route.
local function describe(chain)
    local list = {}
    for k, use in ipairs(chain) do
        list[k] = {
            policy = use.name, hooks = use.hooks, when = use.when and true or nil, dry_run = use.dry_run or nil,
            on_failure = use.on_failure, credentials = use.credentials,
        }
    end
    return #list > 0 and list or nil
end

-- ---------------------------------------------------------------- one route

local function check_name(build, name, index, path)
    local other = build.route_names[name]
    if other then
        build:error(path, "route " .. other .. " has the name " .. readable.quote(name) .. " already")
    end
    build.route_names[name] = other or index
end

--- Names of the captured segments; nil when the path that was written cannot be read.
local function captures_of(match, written)
    if match.path then
        return path_pattern.parse(match.path).captures
    end
    return (written.match == nil or type(written.match) == "table" and written.match.path == nil) and {} or nil
end

local function compile_route(build, route, written, index)
    local path = { "routes", index }
    local name = route.name or "route-" .. index
    local match = route.match or {}
    local captures = captures_of(match, written)
    check_name(build, name, index, { "routes", index, route.name and "name" })
    check_match(build, match, path)
    if route.rewrite then
        check_rewrite(build, route.rewrite, written, captures, path)
    end
    local target = compile_target(build, route, path)
    if route.labels and target then
        check_labels(build, route.labels, target, path)
    end
    local chain = append({}, build.global_uses)
    append(chain, uses.make(build, route.policies or {}, { "routes", index, "policies" }, name))
    if #build.errors > 0 then
        return nil
    end
    local balancers = balancers_of(build, target)
    local hooks, edits = plan(chain, target, balancers)
    local names = {}
    for k, use in ipairs(chain) do
        names[k] = use.name
    end
    local request = route.timeouts and route.timeouts.request
    local normalized = {
        name = name,
        match = write_match(match),
        captures = #captures > 0 and captures or nil,
        target = target,
        labels = route.labels and next(route.labels) and route.labels or nil,
        priority = route.priority == "high" and route.priority or nil,
        rewrite = route.rewrite,
        edits = edits,
        hooks = hooks,
        policies = #names > 0 and names or nil,
        chain = describe(chain),
        timeouts = request and { request_ms = duration.milliseconds(request) },
    }
    local choose = type(route.upstream) == "function" and route.upstream or nil
    return normalized, {
        name = name, policies = chain, handler = route.handler, target = choose, balancers = balancers,
    }
end

--- Compiles the validated routes. Errors are added to the build.
---@param build table state of _core/config.lua
---@param list table[] validated
---@param written table[] the same routes as they were written
---@return table[] normalized
---@return table[] chains { name, policies, handler, target, balancers } for each route
function routes.compile(build, list, written)
    local normalized, chains = {}, {}
    for i, route in ipairs(list) do
        if route then
            normalized[#normalized + 1], chains[#chains + 1] = compile_route(build, route, written[i], i)
        end
    end
    return normalized, chains
end

return routes
