-- SPDX-License-Identifier: MIT
--
-- What hooks can change of an exchange, as values, and the difference of two such readings under the names that a policy's
-- author writes: "req.headers.x-a", "req.path", "res.status". What looks like a secret is not shown.

local ffi = require "ffi"
local flags = require "perigee._core.flags"

local C, ipairs, next = ffi.C, ipairs, next
local ffi_string, tostring = ffi.string, tostring
local concat, sort = table.concat, table.sort
local gsub, match, sub = string.gsub, string.match, string.sub

local head = {}

local TEXTS = {
    { "req.method", C.PERI_FFI_METHOD }, { "req.scheme", C.PERI_FFI_SCHEME }, { "req.host", C.PERI_FFI_HOST },
    { "req.path", C.PERI_FFI_PATH }, { "req.query", C.PERI_FFI_QUERY }, { "req.consumer", C.PERI_FFI_CONSUMER },
    { "req.id", C.PERI_FFI_REQUEST_ID }, { "attempt.upstream", C.PERI_FFI_UPSTREAM },
    { "attempt.endpoint", C.PERI_FFI_ENDPOINT },
}

local LISTS = {
    { "req.headers.", C.PERI_FFI_REQUEST_HEADERS }, { "req.trailers.", C.PERI_FFI_REQUEST_TRAILERS },
    { "res.headers.", C.PERI_FFI_RESPONSE_HEADERS }, { "res.trailers.", C.PERI_FFI_RESPONSE_TRAILERS },
}

local MASK = "(masked)"
local TEXT_MAX = 512 -- bytes of a value that is shown

local name_out = ffi.new("struct peri_ffi_str[1]")

local function is_secret(name)
    return C.peri_ffi_is_secret(name, #name) ~= 0
end

local function read_list(s, prefix, list, into)
    local at = 0
    while C.peri_ffi_header_at(s, list, at, name_out) ~= 0 do
        local name, value = prefix .. ffi_string(name_out[0].ptr, name_out[0].len), ffi_string(s.ptr, s.len)
        into[name] = into[name] and into[name] .. ", " .. value or value
        at = at + 1
    end
end

--- Everything that a hook can change but bodies, by name; nothing for what there is not.
---@param s ffi.cdata* slot
---@return table<string, string>
function head.read(s)
    local values = {}
    for _, text in ipairs(TEXTS) do
        if C.peri_ffi_text(s, text[2]) ~= 0 and s.len > 0 then
            values[text[1]] = ffi_string(s.ptr, s.len)
        end
    end
    for _, list in ipairs(LISTS) do
        read_list(s, list[1], list[2], values)
    end
    local status = C.peri_ffi_number(s, C.PERI_FFI_STATUS)
    values["res.status"] = status ~= 0 and tostring(status) or nil
    local set = C.peri_ffi_number(s, C.PERI_FFI_FLAGS)
    values["req.flags"] = set ~= 0 and flags.text(set) or nil
    return values
end

-- Values of query parameters whose names say so are secrets.
local function mask_query(query)
    return (gsub(query, "([^&=]+)=([^&]*)", function(name)
        return is_secret(name) and name .. "=" .. MASK or nil
    end))
end

--- The value as it may be shown.
---@param what string
---@param value string|nil
---@return string|nil
function head.shown(what, value)
    if not value then
        return nil
    elseif what == "req.query" then
        value = mask_query(value)
    elseif is_secret(match(what, "ers%.(.*)") or "") then
        return MASK
    end
    return #value > TEXT_MAX and sub(value, 1, TEXT_MAX) .. "…" or value
end

---@class perigee.Change
---@field what string
---@field from string|nil nil when it was not there
---@field to string|nil nil when it is gone

local function by_name(a, b)
    return a.what < b.what
end

--- What is different, in the order of the names.
---@param before table<string, string>
---@param after table<string, string>
---@return perigee.Change[]
function head.changes(before, after)
    local list = {}
    for what, value in next, after do
        if before[what] ~= value then
            list[#list + 1] = { what = what, from = head.shown(what, before[what]), to = head.shown(what, value) }
        end
    end
    for what, value in next, before do
        if after[what] == nil then
            list[#list + 1] = { what = what, from = head.shown(what, value) }
        end
    end
    sort(list, by_name)
    return list
end

--- The changes in words, without values: "set req.path and removed req.headers.x-a"; nothing for none.
---@param changes perigee.Change[]
---@return string[] phrases
function head.phrases(changes)
    local words, phrases = { set = {}, removed = {} }, {}
    for _, change in ipairs(changes) do
        local list = change.to and words.set or words.removed
        list[#list + 1] = change.what
    end
    for _, verb in ipairs { "set", "removed" } do
        if #words[verb] > 0 then
            phrases[#phrases + 1] = verb .. " " .. concat(words[verb], ", ")
        end
    end
    return phrases
end

return head
