-- SPDX-License-Identifier: MIT
--
-- Checks a value against a schema that is data, and gives back a copy with every default filled in. All errors are
-- collected, each with the path of the setting and a sentence that says what was expected and what was found; nothing of
-- a field marked `secret` is ever shown. Knows nothing of files, lines or policies.
--
-- A schema maps names of settings to fields. A field is the name of a type, or a table:
--
--   type      string number integer boolean function any   as in Lua
--             duration   written "10s"; comes out as seconds          size   written "64k"; comes out as bytes
--             list       of `items`            set   a list of `items` that comes out as { [item] = true }
--             map        of `keys` to `values` (both are fields)
--             table      a record of `fields` (a schema); without `fields` any table
--             one_of     the first field of the list `of` that fits
--             upstream   the name of an upstream of the configuration
--   required  must be written
--   default   stands in when it is not written (checked like any value)
--   secret    neither the value nor anything below it appears in messages
--   doc       one sentence for the manual
--   enum      the strings allowed            reserved   { [value] = true }: known, but not supported yet
--   min, max  of numbers, durations and sizes; of the length of strings, lists and sets
--   short     of a record: name of the field meant by a bare value or by the first list element ({ "a:1", weight = 2 })
--   exactly_one   of a record: list of settings of which exactly one must be written
--   check     function(value) that returns a message when it does not like the value (of a record: and the name of a setting)
--   unsupported   known, but not supported yet: writing it is an error that says so

local duration = require "perigee._core.duration"
local readable = require "perigee._core.readable"
local size = require "perigee._core.size"
local suggest = require "perigee._core.suggest"

local schema = {}

--- Path segment that stands for a key which must not be shown.
schema.HIDDEN = readable.HIDDEN

schema.path_text = readable.path_text

local check_field
local check_types = {}

-- ---------------------------------------------------------------- state of one run

local function fail(state, message, segment)
    local segments = {}
    for i = 1, #state.path do
        segments[i] = state.path[i]
    end
    segments[#segments + 1] = segment
    local errors = state.errors
    errors[#errors + 1] = { path = readable.path_text(segments), segments = segments, message = message }
end

local function show(state, value)
    if state.hidden > 0 or type(value) == "string" and state.secrets[value] then
        return readable.kind(value)
    end
    return readable.value(value)
end

local function fail_type(state, field, value, hint)
    fail(state, "expected " .. schema.expected(field) .. ", found " .. show(state, value) .. (hint or ""))
end

local function check_below(state, segment, field, value)
    local path = state.path
    path[#path + 1] = segment
    local copy = check_field(state, field, value)
    path[#path] = nil
    return copy
end

-- ---------------------------------------------------------------- what a field expects, in words

local EXPECTED = {
    string = "a string",
    number = "a number",
    integer = "a whole number",
    boolean = "true or false",
    ["function"] = "a function",
    any = "a value",
    duration = duration.example,
    size = size.example,
    list = "a list",
    set = "a list",
    map = "a table",
    table = "a table",
    upstream = "the name of an upstream",
}

local function as_field(field)
    return type(field) == "string" and { type = field } or field
end

--- What a field expects, as a phrase.
---@param field table|string
---@return string
function schema.expected(field)
    field = as_field(field)
    if field.type == "one_of" then
        local parts = {}
        for i, alternative in ipairs(field.of) do
            parts[i] = schema.expected(alternative)
        end
        return table.concat(parts, " or ")
    end
    if field.enum then
        return readable.choice(field.enum)
    end
    if field.short then
        return schema.expected(field.fields[field.short]) .. " or a table"
    end
    return EXPECTED[field.type]
end

-- ---------------------------------------------------------------- scalars

local function limit_of(field, name)
    local limit = field[name]
    if type(limit) == "string" then
        return field.type == "duration" and duration.parse(limit) or size.parse(limit)
    end
    return limit
end

local function write_amount(field, amount)
    if field.type == "duration" then
        return duration.format(amount)
    end
    return field.type == "size" and size.format(amount) or readable.number(amount)
end

local function check_limits(state, field, amount, prefix)
    local min, max = limit_of(field, "min"), limit_of(field, "max")
    if min and amount < min then
        fail(state, prefix .. "at least " .. write_amount(field, min))
        return false
    elseif max and amount > max then
        fail(state, prefix .. "at most " .. write_amount(field, max))
        return false
    end
    return true
end

local function check_enum(state, field, value)
    if suggest.contains(field.enum, value) then
        return true
    end
    if field.reserved and field.reserved[value] then
        local others = readable.choice(field.enum)
        fail(state, show(state, value) .. " is not supported yet in this version; expected " .. others)
        return false
    end
    local nearest = state.hidden == 0 and suggest.nearest(value, field.enum)
    fail_type(state, field, value, nearest and "; did you mean " .. readable.value(nearest) .. "?")
    return false
end

function check_types.string(state, field, value)
    if type(value) ~= "string" then
        return fail_type(state, field, value)
    end
    if field.enum and not check_enum(state, field, value) then
        return nil
    end
    if value == "" and field.min == 1 then
        return fail(state, "must not be empty")
    end
    if not check_limits(state, field, #value, "its length in bytes must be ") then
        return nil
    end
    return value
end

function check_types.number(state, field, value)
    local is_integer = field.type == "integer"
    if type(value) ~= "number" or value ~= value or math.abs(value) == math.huge or is_integer and value % 1 ~= 0 then
        return fail_type(state, field, value)
    end
    if is_integer and math.abs(value) > 2 ^ 53 then
        return fail(state, "is too large")
    end
    return check_limits(state, field, value, "must be ") and value or nil
end

check_types.integer = check_types.number

function check_types.boolean(state, field, value)
    if type(value) ~= "boolean" then
        return fail_type(state, field, value)
    end
    return value
end

check_types["function"] = function(state, field, value)
    if type(value) ~= "function" then
        return fail_type(state, field, value)
    end
    return value
end

function check_types.any(_, _, value)
    return value
end

function check_types.duration(state, field, value)
    local seconds = type(value) == "string" and duration.parse(value)
    if not seconds then
        local number = type(value) == "number" and state.hidden == 0 and readable.number(value)
        return fail_type(state, field, value, number and '; for seconds write "' .. number .. 's"')
    end
    return check_limits(state, field, seconds, "must be ") and seconds or nil
end

function check_types.size(state, field, value)
    local bytes = (type(value) == "string" or type(value) == "number") and size.parse(value)
    if not bytes then
        return fail_type(state, field, value)
    end
    return check_limits(state, field, bytes, "must be ") and bytes or nil
end

function check_types.upstream(state, field, value)
    if type(value) ~= "string" then
        return fail_type(state, field, value)
    end
    local message = state.upstream_problem and state.upstream_problem(value)
    if message then
        local is_hidden = state.hidden > 0 or state.secrets[value]
        return fail(state, is_hidden and "there is no such upstream" or message)
    end
    return value
end

-- ---------------------------------------------------------------- tables

--- Length of a proper list; nil and a message for any other table.
local function list_length(state, value)
    local count = 0
    for key in next, value do
        if type(key) ~= "number" then
            local name = state.hidden > 0 and "" or " " .. readable.value(key)
            return nil, "expected a list, found a table with the key" .. name
        end
        count = count + 1
    end
    for i = 1, count do
        if value[i] == nil then
            return nil, "expected a list, but item " .. i .. " is missing (nil)"
        end
    end
    return count
end

function check_types.list(state, field, value)
    if type(value) ~= "table" then
        return fail_type(state, field, value, state.hidden == 0 and value ~= nil and "; put it in braces: { … }")
    end
    local count, message = list_length(state, value)
    if not count then
        return fail(state, message)
    end
    if not check_limits(state, field, count, "its number of items must be ") then
        return nil
    end
    local copy = {}
    for i = 1, count do
        local item = check_below(state, i, field.items, value[i])
        if item == nil then
            item = false -- a hole would hide the items after it; there is an error, so nobody takes it for a value
        end
        copy[i] = item
    end
    return copy
end

function check_types.set(state, field, value)
    local list = check_types.list(state, field, value)
    if not list then
        return nil
    end
    local copy = {}
    for _, item in ipairs(list) do
        copy[item] = true
    end
    return copy
end

function check_types.map(state, field, value)
    if type(value) ~= "table" then
        return fail_type(state, field, value)
    end
    local copy = {}
    for _, key in ipairs(readable.sorted_keys(value)) do
        local segment = state.hidden > 0 and schema.HIDDEN or key
        local name = check_below(state, segment, field.keys or "string", key)
        local item = check_below(state, segment, field.values, value[key])
        if name ~= nil then
            copy[name] = item
        end
    end
    return copy
end

-- ---------------------------------------------------------------- records

local names_of = setmetatable({}, { __mode = "k" })

local function sorted_names(fields)
    local names = names_of[fields]
    if not names then
        names = readable.sorted_keys(fields)
        names_of[fields] = names
    end
    return names
end

--- Record written out: a bare value, or the first list element, becomes the setting named by `short`.
local function expand_short(state, field, value)
    local short = field.short
    if type(value) ~= "table" then
        return { [short] = value }
    end
    if value[1] == nil then
        return value
    end
    local copy = {}
    for key, item in next, value do
        copy[key] = item
    end
    if copy[short] ~= nil then
        fail(state, "'" .. short .. "' is written twice: as the first item and by name")
    end
    copy[short], copy[1] = copy[1], nil
    return copy
end

local function fail_unknown(state, field, key)
    if state.hidden > 0 then
        fail(state, "unknown setting", schema.HIDDEN)
    elseif type(key) == "string" then
        local tail = suggest.tail(key, sorted_names(field.fields), "settings")
        fail(state, "unknown setting " .. readable.quote(key) .. tail, key)
    else
        fail(state, "unknown item: settings are written as name = value", key)
    end
end

local function check_unknown(state, field, value)
    local unknown = {}
    for key in next, value do
        if field.fields[key] == nil then
            unknown[key] = true
        end
    end
    for _, key in ipairs(readable.sorted_keys(unknown)) do
        fail_unknown(state, field, key)
    end
end

local function check_exactly_one(state, field, value)
    local written = {}
    for _, name in ipairs(field.exactly_one) do
        if value[name] ~= nil then
            written[#written + 1] = "'" .. name .. "'"
        end
    end
    if #written == 1 then
        return
    end
    local supported = {}
    for _, name in ipairs(field.exactly_one) do
        local of = field.fields[name]
        if type(of) ~= "table" or not of.unsupported then
            supported[#supported + 1] = "'" .. name .. "'"
        end
    end
    local found = #written == 0 and "none of them" or table.concat(written, " and ")
    fail(state, "needs exactly one of " .. table.concat(supported, ", ") .. "; found " .. found)
end

function check_types.table(state, field, value)
    if field.short and value ~= nil then
        value = expand_short(state, field, value)
    end
    if type(value) ~= "table" then
        return fail_type(state, field, value)
    end
    if not field.fields then
        return value
    end
    check_unknown(state, field, value)
    if field.exactly_one then
        check_exactly_one(state, field, value)
    end
    local copy = {}
    for _, name in ipairs(sorted_names(field.fields)) do
        copy[name] = check_below(state, name, field.fields[name], value[name])
    end
    return copy
end

-- ---------------------------------------------------------------- alternatives

local ACCEPTS = {
    string = { string = true, duration = true, size = true, upstream = true },
    number = { number = true, integer = true, size = true },
    boolean = { boolean = true },
    ["function"] = { ["function"] = true },
    table = { list = true, set = true, map = true, table = true },
}

local function accepts(alternative, value)
    local kinds = ACCEPTS[type(value)]
    return alternative.type == "any" or alternative.short ~= nil or kinds ~= nil and kinds[alternative.type] == true
end

function check_types.one_of(state, field, value)
    local errors = state.errors
    local first
    for _, alternative in ipairs(field.of) do
        alternative = as_field(alternative)
        if accepts(alternative, value) then
            state.errors = {}
            local copy = check_field(state, alternative, value)
            if #state.errors == 0 then
                state.errors = errors
                return copy
            end
            first = first or not alternative.enum and state.errors
        end
    end
    state.errors = errors
    if not first then
        return fail_type(state, field, value)
    end
    for _, err in ipairs(first) do
        errors[#errors + 1] = err
    end
    return nil
end

-- ---------------------------------------------------------------- one field

--- Text without the value it might repeat.
local function scrub(state, message, value)
    if type(value) ~= "string" or value == "" or state.hidden == 0 and not state.secrets[value] then
        return message
    end
    local from, to = message:find(value, 1, true)
    while from do
        message = message:sub(1, from - 1) .. "…" .. message:sub(to + 1)
        from, to = message:find(value, from + #"…", true)
    end
    return message
end

--- True when the check has nothing against the value.
local function run_check(state, check, value)
    local is_fine, message, name = pcall(check, value)
    if not is_fine then
        fail(state, "its check failed: " .. scrub(state, tostring(message), value))
    elseif message then
        fail(state, scrub(state, tostring(message), value), name)
    end
    return is_fine and not message
end

local function check_written(state, field, value)
    local before = #state.errors
    local copy = check_types[field.type](state, field, value)
    if field.check and #state.errors == before and not run_check(state, field.check, copy) then
        return nil
    end
    return copy
end

function check_field(state, field, value)
    field = as_field(field)
    if value == nil then
        if field.default ~= nil then
            return check_written(state, field, field.default)
        elseif field.required then
            fail(state, "is required: expected " .. schema.expected(field))
        end
        return nil
    end
    if field.unsupported then
        return fail(state, "is not supported yet in this version")
    end
    local step = field.secret and 1 or 0
    state.hidden = state.hidden + step
    local copy = check_written(state, field, value)
    state.hidden = state.hidden - step
    return copy
end

-- ---------------------------------------------------------------- public

---@class perigee.SchemaError
---@field path string as text, e.g. routes[2].match.path
---@field segments (string|number|table)[] the same path in parts
---@field message string

local function new_state(path, errors, secrets, upstream_problem)
    local segments = {}
    for i, segment in ipairs(path or {}) do
        segments[i] = segment
    end
    return {
        path = segments, errors = errors, hidden = 0, secrets = secrets or {}, upstream_problem = upstream_problem,
    }
end

--- Checks a value against one field.
---@param field table|string
---@param value any
---@param path (string|number)[]|nil where the value stands
---@param errors perigee.SchemaError[] errors are appended
---@param secrets table<string, true>|nil strings that no message may show
---@param upstream_problem nil|fun(name: string): string|nil why a name is not that of an upstream; without it all names will do
---@return any copy with defaults; where an error was appended it is nil (in lists: false)
function schema.validate_field(field, value, path, errors, secrets, upstream_problem)
    return check_field(new_state(path, errors, secrets, upstream_problem), field, value)
end

--- Checks a table against a schema (names of settings to fields).
---@param fields table<string, table|string>
---@param value table|nil
---@param path (string|number)[]|nil
---@param errors perigee.SchemaError[]
---@param secrets table<string, true>|nil
---@return table|nil copy
function schema.validate(fields, value, path, errors, secrets)
    return schema.validate_field({ type = "table", fields = fields, required = true }, value, path, errors, secrets)
end

--- Runs a check function as a field's `check` is run.
---@param check fun(value: any): string|nil, string|nil
function schema.run_check(check, value, path, errors, secrets)
    run_check(new_state(path, errors, secrets), check, value)
end

--- Appends an error.
---@param errors perigee.SchemaError[]
---@param path (string|number)[]
---@param message string
function schema.add_error(errors, path, message)
    fail({ path = path, errors = errors }, message)
end

return schema
