-- SPDX-License-Identifier: MIT
--
-- Prints docs/reference/configuration.md, made from the schema in lua/perigee/_core/settings.lua.
--
-- usage: lua5.1 tools/gen_config_doc.lua       (from anywhere; LuaJIT will do too)

local top = arg[0]:match("^(.*)/tools/[^/]*$") or "."
package.path = top .. "/lua/?.lua;" .. package.path

local contract = require "perigee._core.contract"
local readable = require "perigee._core.readable"
local schema = require "perigee._core.schema"
local settings = require "perigee._core.settings"

local INTRODUCTION = [=[
# Configuration

<!-- Made by tools/gen_config_doc.lua. Change lua/perigee/_core/settings.lua instead. -->

A configuration is one Lua file that returns a table, or the same table as JSON in a file whose name ends in
`.json`. `perigee check FILE` prints every mistake as `file:line: path: message`.

```lua
return {
    listeners = { { address = "0.0.0.0:8080" } },
    upstreams = { users = { endpoints = { "127.0.0.1:9001", "127.0.0.1:9002" } } },
    policies = { "request_id" },
    routes = {
        { name = "users", match = { path = "/users/*" }, upstream = "users" },
        { name = "hello", match = { path = "/hello" }, reply = "hello\n" },
    },
}
```

* **Unknown settings are errors**, and so are settings of later versions: nothing is ignored.
* **Durations** are a number and a unit: `"500ms"`, `"10s"`, `"5m"`, `"1h"`. **Sizes** are `"64k"`, `"1m"`,
  `"1g"` (powers of 1024) or a number of bytes.
* **Short forms**: where a table has one main setting, its value alone will do, or its value as the first item:
  `"127.0.0.1:9001"` and `{ "127.0.0.1:9001", weight = 2 }` are endpoints. In JSON the main setting has its
  name: `{ "address": "127.0.0.1:9001", "weight": 2 }`.
* **In the Lua file** there are `env "NAME"` and `file "path"` for values from outside, `reply(status, body,
  headers)`, and `require` for files below the configuration's directory. In JSON `{ "$env": "NAME" }` and `{
  "$file": "path" }` stand for the first two. What they give is never shown in messages.
* **Roles**: `role = "sidecar"`, or `perigee sidecar FILE`, changes the defaults marked below and nothing else.
]=]

local TYPE_TEXT = { ["function"] = "function", boolean = "true or false", integer = "whole number", any = "" }

-- The tables that have a section of their own: title, and what is said before the table.
local SECTIONS = {
    listeners = { "Listeners", "Each entry of `listeners`. Main setting: `address`." },
    upstreams = { "Upstreams", "Each value of `upstreams`, by name. Exactly one of `endpoints` and `dns` is written." },
    routes = {
        "Routes",
        "Each entry of `routes`. Exactly one of `upstream`, `handler`, `redirect` and `reply` is written.\n\n"
            .. "Of the routes that fit a request the most specific one takes it: an exact host before the longest "
            .. "wildcard before none; then an exact path, captures, the longest prefix, an expression; then methods, "
            .. "most headers, most query parameters, and the order in the file.",
    },
}

local function as_field(field)
    return type(field) == "string" and { type = field } or field
end

local function type_text(field)
    field = as_field(field)
    if field.type == "one_of" then
        local parts, seen = {}, {}
        for _, alternative in ipairs(field.of) do
            local text = type_text(alternative)
            if not seen[text] then
                parts[#parts + 1] = text
            end
            seen[text] = true
        end
        return table.concat(parts, " or ")
    elseif field.enum then
        return (schema.expected(field):gsub('"[^"]*"', "`%0`"))
    elseif field.type == "list" or field.type == "map" then
        local items = as_field(field.items or field.values)
        local text = items.type == "any" and "" or " of " .. type_text(items)
        return field.type .. text
    end
    return TYPE_TEXT[field.type] or field.type
end

local function value_text(value)
    if type(value) ~= "table" then
        return "`" .. readable.value(value) .. "`"
    elseif next(value) == nil then
        return ""
    end
    return "`" .. readable.value(value[1].address) .. "`"
end

local function default_text(gateway, sidecar)
    if gateway.required then
        return "required"
    elseif gateway.default == nil then
        return ""
    end
    local text, other = value_text(gateway.default), value_text(sidecar.default)
    return text == other and text or text .. ", sidecar " .. other
end

local function limits_text(field)
    if field.type == "string" or field.type == "list" then
        return ""
    elseif field.min and field.max then
        return (" From %s to %s."):format(field.min, field.max)
    elseif field.min then
        return (" At least %s."):format(field.min)
    end
    return field.max and (" At most %s."):format(field.max) or ""
end

local function row(name, gateway, sidecar)
    local doc = (gateway.doc or "") .. limits_text(gateway)
    return ("| `%s` | %s | %s | %s |"):format(name, type_text(gateway), default_text(gateway, sidecar), doc)
end

-- The table whose settings are listed below a setting: its own, or that of its items.
local function nested(field)
    if field.fields then
        return field, "."
    elseif field.type == "one_of" then
        for _, alternative in ipairs(field.of) do
            local found, mark = nested(as_field(alternative))
            if found then
                return found, mark
            end
        end
        return nil
    end
    local items = field.items or field.values
    if type(items) == "table" and items.fields then
        return items, field.items and "[]." or ".NAME."
    end
    return nil
end

local function add_rows(rows, later, gateway, sidecar, prefix)
    for _, name in ipairs(readable.sorted_keys(gateway)) do
        local field, other = as_field(gateway[name]), as_field(sidecar[name])
        if field.unsupported then
            later[#later + 1] = "`" .. prefix .. name .. "`"
        else
            rows[#rows + 1] = row(prefix .. name, field, other)
            local inner, mark = nested(field)
            if inner and not (prefix == "" and SECTIONS[name]) then
                add_rows(rows, later, inner.fields, nested(other).fields, prefix .. name .. mark)
            end
        end
    end
end

local function settings_table(gateway, sidecar)
    local rows, later = {}, {}
    add_rows(rows, later, gateway, sidecar, "")
    local text = "| setting | type | default | meaning |\n|---|---|---|---|\n" .. table.concat(rows, "\n") .. "\n"
    if #later > 0 then
        text = text .. "\nNot supported yet: " .. table.concat(later, ", ") .. ".\n"
    end
    return text
end

local function section(name, gateway, sidecar)
    local title, text = unpack(SECTIONS[name])
    local own, other = nested(gateway[name]), nested(sidecar[name])
    return ("\n## %s\n\n%s\n\n%s"):format(title, text, settings_table(own.fields, other.fields))
end

local POLICIES = [=[

## Policies

`policies` of the file run on every route, then those of the route, in the order in which they are written. A
policy is written as its name, or as a table with its name and settings: `{ "rate_limit", limit = 100 }`, in JSON
`{ "policy": "rate_limit", "limit": 100 }`. It is looked up in `policies/NAME/init.lua` beside the file, then
among the shipped ones. Every policy has these settings beside its own:

]=]

-- "fixed answer" is written in several ways, so its schema is not part of the route's.
local REPLY = [=[

### A fixed answer

`reply` is text, a value of `reply(…)`, or a table:

]=]

local gateway, sidecar = settings.fields "gateway", settings.fields "sidecar"
local page = {
    INTRODUCTION, "\n## The file\n\n", settings_table(gateway, sidecar),
    section("listeners", gateway, sidecar), section("upstreams", gateway, sidecar), section("routes", gateway, sidecar),
    REPLY, settings_table(settings.reply, settings.reply),
    POLICIES, settings_table(contract.use_settings, contract.use_settings),
}
io.write(table.concat(page))
