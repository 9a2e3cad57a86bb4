-- SPDX-License-Identifier: MIT
--
-- perigee.http: HTTP requests from policies and handlers, over the same pools as the proxy's own. The host of the URL is an
-- address, or the name of an upstream of the configuration.

local ffi = require "ffi"
local async = require "perigee._core.async"

local C, type, error, setmetatable, tostring, pairs = ffi.C, type, error, setmetatable, tostring, pairs
local ffi_string = ffi.string

local http = {}

---@class perigee.FetchOptions
---@field method? string "GET" by default, "POST" with a body
---@field headers? table<string, string|number>
---@field body? string|table a table becomes JSON
---@field timeout? number seconds for all of it; 10 by default
---@field max_body? integer bytes of the response's body; 1 MiB by default

---@class perigee.FetchResponse
---@field status integer
---@field headers table<string, string> by name in any case; fields of one name are joined with ", "
---@field trailers table<string, string>
---@field body string
local Response = {}
local meta = { __index = Response, __metatable = "perigee.FetchResponse" }

--- The body, decoded as JSON.
---@return any value
---@return string|nil message
function Response:json()
    return require("perigee.json").decode(self.body)
end

local Fields = { __metatable = "perigee.FetchFields" }

function Fields.__index(fields, name)
    local lower = type(name) == "string" and name:lower()
    return lower and lower ~= name and fields[lower] or nil
end

local KNOWN = { method = "string", headers = "table", timeout = "number", max_body = "number" }

local function check_options(options)
    for name, value in pairs(options) do
        if name == "body" then
            if type(value) ~= "string" and type(value) ~= "table" then
                error("http.fetch: the body is a string or a table, not a " .. type(value), 3)
            end
        elseif type(value) ~= KNOWN[name] then
            local problem = KNOWN[name] and "' is a " .. KNOWN[name] .. ", not a " .. type(value) or "' is no option"
            error("http.fetch: '" .. tostring(name) .. problem, 3)
        end
    end
end

local function encode_body(options, list)
    local body = options.body
    if type(body) ~= "table" then
        return body or ""
    end
    local text, message = require("perigee.json").encode(body)
    if not text then
        error("http.fetch: the body cannot be written as JSON: " .. message, 3)
    end
    list[#list + 1], list[#list + 2] = "content-type", "application/json"
    return text
end

-- Names and values in turn.
local function header_list(options)
    local list, has_type = {}, false
    for name, value in pairs(options.headers or {}) do
        if type(name) ~= "string" or (type(value) ~= "string" and type(value) ~= "number") then
            error("http.fetch: headers are strings by name", 3)
        end
        list[#list + 1], list[#list + 2] = name, tostring(value)
        has_type = has_type or name:lower() == "content-type"
    end
    return list, has_type
end

local function to_array(list)
    local array = ffi.new("struct peri_ffi_str[?]", #list)
    for i = 1, #list do
        array[i - 1].ptr, array[i - 1].len = list[i], #list[i]
    end
    return array
end

local function read_fields(is_trailer)
    local fields, at = {}, 0
    local name, value = ffi.new("struct peri_ffi_str[1]"), ffi.new("struct peri_ffi_str[1]")
    while C.peri_ffi_fetch_header(is_trailer, at, name, value) ~= 0 do
        local key, text = ffi_string(name[0].ptr, name[0].len), ffi_string(value[0].ptr, value[0].len)
        fields[key] = fields[key] and fields[key] .. ", " .. text or text
        at = at + 1
    end
    return setmetatable(fields, Fields)
end

-- The response that has just arrived; the runtime keeps it only until the next wait.
local function read_response()
    local body = ffi.new("struct peri_ffi_str[1]")
    C.peri_ffi_fetch_body(body)
    return setmetatable({
        status = C.peri_ffi_fetch_status(),
        headers = read_fields(0),
        trailers = read_fields(1),
        body = ffi_string(body[0].ptr, body[0].len),
    }, meta)
end

--- Sends a request and waits for the whole response; other requests go on meanwhile.
---@param url string "http://host:port/path", or "http://NAME/path" with the name of an upstream
---@param options? perigee.FetchOptions
---@return perigee.FetchResponse|nil response whatever its status; nil when there is none
---@return string|nil message
function http.fetch(url, options)
    options = options or {}
    if type(url) ~= "string" then
        error("http.fetch expects a URL, not a " .. type(url), 2)
    end
    check_options(options)
    local list, has_type = header_list(options)
    local kinds = has_type and {} or list
    local body = encode_body(options, kinds)
    local method = options.method or (options.body and "POST" or "GET")
    local array = to_array(list)
    local code = C.peri_ffi_fetch(method, #method, url, #url, array, #list / 2, body, #body,
        options.timeout or 0, options.max_body or 0)
    if code ~= 0 and C.peri_ffi_can_wait() ~= 0 then
        return nil, ffi_string(C.peri_ffi_error_text(code))
    end
    code = async.wait(code, "http.fetch")
    if code ~= 0 then
        return nil, ffi_string(C.peri_ffi_error_text(code))
    end
    return read_response()
end

return http
