-- SPDX-License-Identifier: MIT
--
-- Turns the lists of policies in a configuration into instances: loads each policy once, checks the settings of each use
-- against its schema, and gives every use an instance of its own.

local bit = require "bit"

local checks = require "perigee._core.checks"
local contract = require "perigee._core.contract"
local match = require "perigee._core.match"
local readable = require "perigee._core.readable"
local readonly = require "perigee._core.readonly"
local schema = require "perigee._core.schema"
local settings = require "perigee._core.settings"
local suggest = require "perigee._core.suggest"
local targets = require "perigee._core.targets"
local watch = require "perigee._core.watch"

local uses = {}

---@class perigee.Use one policy in a chain
---@field name string
---@field definition perigee.Policy
---@field instance table self of its hooks: `conf`, `name`, `id`, `dry_run`, and the definition behind
---@field when nil|fun(req: table): boolean
---@field on_failure "closed"|"open"
---@field dry_run boolean
---@field budget number seconds of CPU time for a call of a hook
---@field hooks integer bits of the hooks it has
---@field unused table<string, true> hooks that this configuration does without
---@field edits nil|table[] the same work as header edits, when it can be written so
---@field credentials nil|string[] where it looks for credentials: "header:NAME", "query:NAME", "cookie:NAME"

local HOOK_NAMES = readable.sorted_keys(contract.hooks)

-- ---------------------------------------------------------------- definitions

--- Sentence about what is wrong with the methods of a definition, and the bits of its hooks.
local function inspect(definition)
    local hooks, has_life = 0, false
    for _, name in ipairs(readable.sorted_keys(definition)) do
        local value = definition[name]
        if contract.hooks[name] or contract.life_cycle[name] then
            if type(value) ~= "function" then
                return "'" .. name .. "' must be a function, found " .. readable.value(value)
            end
            hooks, has_life = bit.bor(hooks, contract.hooks[name] or 0), true
        elseif type(value) == "function" and name:find("^on_") then
            return "'" .. name .. "' is no hook" .. suggest.tail(name, HOOK_NAMES, "hooks")
        end
    end
    if not has_life then
        return "it defines no hook; the hooks are " .. table.concat(HOOK_NAMES, ", ")
    end
    return nil, hooks
end

-- Sentence about why a policy has nothing to do where it is used: it would be passed by in silence.
local function misplaced(known, is_listener)
    local name = known.definition.name
    if is_listener and not known.definition.on_connect then
        return "policy '" .. name .. "' has no on_connect, which is what a tcp listener asks"
    elseif not is_listener and known.hooks == 0 and known.definition.on_connect then
        return "policy '" .. name .. "' has no hook for requests; it is one of tcp listeners"
    end
    return nil
end

local function problem_of(definition, name)
    if not contract.is_definition(definition) then
        return "it must return what perigee.policy { … } returned, found " .. readable.kind(definition)
    elseif definition.name ~= name then
        return "it declares the name '" .. definition.name .. "'; the name and the directory must be the same"
    end
    return inspect(definition)
end

local function merged_fields(definition)
    local fields = {}
    for name, field in pairs(definition.schema) do
        fields[name] = field
    end
    for name, field in pairs(contract.use_settings) do
        fields[name] = field
    end
    return fields
end

local function report_failure(build, name, err, path)
    if err and err.file then
        local errors = build.errors
        errors[#errors + 1] = {
            file = err.file, line = err.line, path = readable.path_text(path), message = err.message,
        }
        return { is_reported = true }
    end
    local tail = suggest.tail(name, build.policy_names, "policies")
    return { message = (err and err.message or "there is no policy " .. readable.quote(name)) .. tail }
end

local function load_policy(build, name, path)
    local definition, err = build.load_policy(name)
    if definition == nil then
        return report_failure(build, name, err, path)
    end
    local message, hooks = problem_of(definition, name)
    if message then
        return { message = "policy '" .. name .. "': " .. message }
    end
    return {
        definition = definition,
        hooks = hooks,
        fields = merged_fields(definition),
        metatable = { __index = definition },
    }
end

--- What is known of a policy, loaded at its first use; nil (and an error) when it cannot be used.
local function find_policy(build, name, path)
    local known = build.policies[name]
    if not known then
        known = load_policy(build, name, path)
        build.policies[name] = known
    end
    if known.message then
        build:error(path, known.message)
    end
    return known.definition and known or nil
end

-- ---------------------------------------------------------------- settings of one use

local MATCH = { type = "table", fields = settings.match, check = checks.match }

local function below(path, segment)
    local longer = {}
    for i, part in ipairs(path) do
        longer[i] = part
    end
    longer[#longer + 1] = segment
    return longer
end

local function compile_when(build, when, path)
    if when == nil or type(when) == "function" then
        return when
    end
    local before = #build.errors
    local conditions = schema.validate_field(MATCH, when, path, build.errors, build.secrets)
    if #build.errors > before then
        return nil
    end
    local predicate, message = match.compile(conditions, build.compile_regex)
    if not predicate then
        build:error(path, message)
    end
    return predicate
end

--- Settings of the policy itself, out of those of the use.
local function pick_conf(definition, written)
    local conf = {}
    for name in pairs(definition.schema) do
        conf[name] = written[name]
    end
    return conf
end

-- ---------------------------------------------------------------- header edits

local EDITS = {
    type = "list",
    items = {
        type = "table",
        fields = {
            on = { type = "string", enum = { "request", "response" }, required = true },
            op = { type = "string", enum = { "set", "add", "remove" }, required = true },
            name = { type = "string", check = checks.header_name, required = true },
            value = { type = "string", check = checks.header_value },
        },
        check = function(edit)
            if (edit.op == "remove") ~= (edit.value == nil) then
                return edit.op == "remove" and "'remove' has no value" or "'" .. edit.op .. "' needs a value"
            end
        end,
    },
}

--- Edits of an instance; nil when it offers none or they depend on the exchange.
local function edits_of(build, use, conf, path)
    if not use.definition.edits or use.when or use.dry_run then
        return nil
    end
    local is_fine, edits = pcall(use.definition.edits, use.instance, conf)
    if not is_fine then
        return build:error(path, "edits() of policy '" .. use.name .. "' failed: " .. tostring(edits))
    elseif edits == nil then
        return nil
    end
    local errors = {}
    local copy = schema.validate_field(EDITS, edits, {}, errors)
    if #errors > 0 then
        local where = errors[1].path
        return build:error(path, "edits() of policy '" .. use.name .. "': " .. where .. " " .. errors[1].message)
    end
    return copy
end

-- ---------------------------------------------------------------- public

local function name_of(written)
    if type(written) == "table" then
        return written[1] or written.policy
    end
    return written
end

local function make_instance(known, conf, id, is_dry_run)
    local definition = known.definition
    return setmetatable({
        conf = readonly.freeze(definition.schema, conf), name = definition.name, id = id, dry_run = is_dry_run,
    }, known.metatable)
end

-- Hooks that a definition says it does not need under this configuration are never entered.
local function drop_unused(build, use, path)
    if not use.definition.unused then
        return
    end
    local is_fine, names = pcall(use.definition.unused, use.instance, use.instance.conf)
    local what = "unused() of policy '" .. use.name .. "' "
    if not is_fine or type(names) ~= "table" then
        return build:error(path, what .. "must return a list of hooks: " .. tostring(names))
    end
    for _, name in ipairs(names) do
        if not use.definition[name] or not contract.hooks[name] then
            return build:error(path, what .. "names " .. readable.value(name) .. ", which is none of its hooks")
        end
        use.unused[name] = true
        use.hooks = bit.band(use.hooks, bit.bnot(contract.hooks[name]))
    end
end

local PLACES = { header = true, query = true, cookie = true }

-- Where a policy says it looks for credentials: recordings mask them there.
local function credentials_of(build, use, path)
    if not use.definition.credentials then
        return nil
    end
    local is_fine, places = pcall(use.definition.credentials, use.instance, use.instance.conf)
    local what = "credentials() of policy '" .. use.name .. "' "
    if not is_fine or type(places) ~= "table" then
        return build:error(path, what .. "must return a list of places: " .. tostring(places))
    end
    for i = 1, #places do
        local kind, name = tostring(places[i]):match("^(%l+):(.+)$")
        if not PLACES[kind] or kind == "header" and checks.header_name(name) then
            local wanted = '"header:NAME", "query:NAME" or "cookie:NAME"'
            return build:error(path, what .. "names " .. readable.value(places[i]) .. "; a place is " .. wanted)
        end
    end
    return #places > 0 and places or nil
end

local function make_use(build, known, written, path, id, upstream_problem)
    local definition, before = known.definition, #build.errors
    local record = { type = "table", short = "policy", fields = known.fields }
    local checked = schema.validate_field(record, written, path, build.errors, build.secrets, upstream_problem)
    local when = compile_when(build, checked.when, below(path, "when"))
    if #build.errors > before then
        return nil
    end
    local conf = pick_conf(definition, checked)
    if definition.check then
        schema.run_check(definition.check, conf, path, build.errors, build.secrets)
        if #build.errors > before then
            return nil
        end
    end
    local use = {
        name = definition.name,
        definition = definition,
        instance = make_instance(known, conf, id, checked.dry_run),
        when = when,
        on_failure = checked.on_failure or definition.on_failure,
        dry_run = checked.dry_run,
        budget = checked.budget and checked.budget.cpu or watch.DEFAULT,
        hooks = known.hooks,
        unused = {},
    }
    drop_unused(build, use, path)
    use.edits = edits_of(build, use, use.instance.conf, path)
    use.credentials = credentials_of(build, use, path)
    return use
end

--- Makes the uses of a list of policies. Errors are added to the build; what has one is left out.
---@param build table state of _core/config.lua
---@param list any[] as written: "name" or { "name", setting = … } or { policy = "name", … }
---@param path (string|number)[] where the list stands
---@param route string|nil name of the route it belongs to; nil for the policies of every route
---@param is_listener boolean|nil they are those of a tcp listener, named by `route`
---@return perigee.Use[] uses their `instance.id` names the place of use: the same in every worker and after a reload
function uses.make(build, list, path, route, is_listener)
    local made, counts = {}, {}
    local problem = is_listener and targets.connection_problem or targets.request_problem
    local function upstream_problem(name)
        return problem(build, name)
    end
    for i, written in ipairs(list) do
        local at, name = below(path, i), name_of(written)
        if type(name) ~= "string" then
            build:error(at, 'expected a policy: "name" or { "name", setting = … }, found ' .. readable.kind(name))
        else
            local known = find_policy(build, name, at)
            local message = known and misplaced(known, is_listener)
            if message then
                build:error(at, message)
            end
            counts[name] = (counts[name] or 0) + 1
            local id = (route or "") .. "#" .. counts[name]
            made[#made + 1] = known and make_use(build, known, written, at, id, upstream_problem)
        end
    end
    return made
end

return uses
