-- SPDX-License-Identifier: MIT
--
-- The request as policies and handlers see it. Strings are made when asked for; parts (headers, body …) on first use. A
-- field that does not exist is an error, so that a misspelt one cannot pass for an absent one.

local ffi = require "ffi"
local body = require "perigee.body"
local client = require "perigee.client"
local current = require "perigee._core.current"
local cookies = require "perigee.cookies"
local flags = require "perigee._core.flags"
local headers = require "perigee.headers"
local params = require "perigee.params"
local query = require "perigee.query"
local shadow = require "perigee._core.shadow"
local slot = require "perigee._core.slot"
local suggest = require "perigee._core.suggest"
local timeouts = require "perigee.timeouts"

local C, setmetatable, type, error, tostring, tonumber = ffi.C, setmetatable, type, error, tostring, tonumber
local ffi_string = ffi.string
local enter, fail = slot.enter, slot.fail

---@class perigee.Request
---@field method string "GET" …; may be set before the request is sent on
---@field scheme "http"|"https" may be set
---@field host string lower case, without port; may be set (with a port, if need be)
---@field path string normalised; may be set
---@field query perigee.Query a string may be assigned
---@field headers perigee.Headers
---@field trailers perigee.Headers
---@field cookies perigee.Cookies
---@field body perigee.Body
---@field client perigee.Client
---@field params table<string, string> captures of the route's path
---@field route string name of the route
---@field consumer string|nil who was authenticated; may be set
---@field id string|nil request id; may be set
---@field version "1.0"|"1.1"|"2"
---@field duration number seconds since the first byte of the request
---@field deadline number|nil when the client stops waiting, on the clock of perigee.time.monotonic(); may be set earlier
---@field timeouts perigee.Timeouts may be set before the request is sent on
---@field flag fun(self: perigee.Request, letters: "DI"|"FI"|"RL"|"RLSE"|"UAEX"|"UO") sets a flag of the access log
---@field ctx table room for policies, for as long as the exchange lasts
local request = {}

local VERSIONS = { [10] = "1.0", [11] = "1.1", [20] = "2" }

local METHOD, SCHEME, HOST, PATH = C.PERI_FFI_METHOD, C.PERI_FFI_SCHEME, C.PERI_FFI_HOST, C.PERI_FFI_PATH
local CONSUMER, REQUEST_ID = C.PERI_FFI_CONSUMER, C.PERI_FFI_REQUEST_ID
local VERSION, DURATION, DEADLINE = C.PERI_FFI_VERSION, C.PERI_FFI_DURATION, C.PERI_FFI_DEADLINE
local REQUEST_SIDE = tonumber(C.PERI_FFI_REQUEST)
local REQUEST_HEADERS, REQUEST_TRAILERS = C.PERI_FFI_REQUEST_HEADERS, C.PERI_FFI_REQUEST_TRAILERS

local function text(self, which)
    local s = enter(self)
    if C.peri_ffi_text(s, which) == 0 then
        return nil
    end
    return ffi_string(s.ptr, s.len)
end

local getters = {}

function getters.method(self)
    return text(self, METHOD)
end

function getters.scheme(self)
    return text(self, SCHEME)
end

function getters.host(self)
    return text(self, HOST)
end

function getters.path(self)
    return text(self, PATH)
end

function getters.consumer(self)
    return text(self, CONSUMER)
end

function getters.id(self)
    return text(self, REQUEST_ID)
end

function getters.version(self)
    return VERSIONS[C.peri_ffi_number(enter(self), VERSION)]
end

function getters.duration(self)
    return C.peri_ffi_number(enter(self), DURATION)
end

function getters.deadline(self)
    local seconds = C.peri_ffi_number(enter(self), DEADLINE)
    return seconds > 0 and seconds or nil
end

function getters.timeouts(self)
    return timeouts.new(self)
end

function getters.route(self)
    enter(self)
    return slot.chain(self).name
end

function getters.headers(self)
    return headers.new(self, REQUEST_HEADERS)
end

function getters.trailers(self)
    return headers.new(self, REQUEST_TRAILERS)
end

function getters.query(self)
    return query.new(self)
end

function getters.cookies(self)
    return cookies.new(self)
end

function getters.body(self)
    return body.new(self, REQUEST_SIDE)
end

function getters.client(self)
    return client.new(self)
end

function getters.params(self)
    return params.new(self)
end

local BITS = flags.bits

local function set_flag(self, letters)
    local s, value = enter(self), BITS[letters]
    if not value then
        error("req:flag expects " .. table.concat(flags.names, ", ") .. ", not " .. tostring(letters), 2)
    elseif current.shadow then
        return shadow.note_flag(current.shadow, letters)
    end
    C.peri_ffi_flag(s, value)
end

function getters.flag()
    return set_flag
end

function getters.ctx(self)
    enter(self)
    if current.shadow then
        return current.shadow.ctx
    end
    return slot.state(self).ctx
end

-- Text fields that may be set, and those that nil clears.
local SETTABLE = { method = METHOD, scheme = SCHEME, host = HOST, path = PATH, consumer = CONSUMER, id = REQUEST_ID }
local CLEARABLE = { consumer = true, id = true }

local names = {}
for name in pairs(getters) do
    names[#names + 1] = name
end
table.sort(names)

local function unknown(name)
    error("a request has no field '" .. tostring(name) .. "'" .. suggest.tail(tostring(name), names, "fields"), 3)
end

local Request = { __metatable = "perigee.Request" }

--- Hooks of one exchange may get different tables; they are the same request.
function Request.__eq(a, b)
    return a[1] == b[1] and a[2] == b[2]
end

function Request.__index(self, name)
    local get = getters[name]
    if not get then
        unknown(name)
    end
    return get(self)
end

function Request.__newindex(self, name, value)
    local which = SETTABLE[name]
    if name == "query" and type(value) == "string" then
        return query.replace(self, value)
    elseif name == "deadline" then
        return timeouts.set_deadline(self, value)
    elseif not which then
        if not getters[name] then
            unknown(name)
        end
        error("req." .. name .. " cannot be set", 2)
    elseif value == nil and CLEARABLE[name] then
        value = ""
    elseif type(value) ~= "string" then
        error("req." .. name .. " is a string, not a " .. type(value), 2)
    end
    local code = C.peri_ffi_set_text(enter(self), which, value, #value)
    if code ~= 0 then
        fail(code, "cannot set req." .. name)
    end
end

--- A request object for the slot `id` in its generation `gen`.
---@param id integer
---@param gen integer
---@return perigee.Request
function request.new(id, gen)
    return setmetatable({ id, gen }, Request)
end

return request
