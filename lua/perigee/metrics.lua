-- SPDX-License-Identifier: MIT
--
-- perigee.metrics: counters, gauges and histograms of your own on the admin endpoint /metrics, beside the runtime's. Make a
-- metric once, at the top of a module; use it in hooks:
--
--   local orders = perigee.metrics.counter("orders_total", "Orders by result.", { "result" })
--   orders:inc(1, { "paid" })
--
-- The same name means the same metric in every policy, worker and generation. Label values should be few: all metrics of all
-- policies together have 4096 series; what would be one more is dropped and counted in perigee_metrics_dropped_total.

local ffi = require "ffi"
local object = require "perigee._core.object"

local C, error, type, tostring = ffi.C, error, type, tostring
local floor, concat, inside = math.floor, table.concat, object.inside

local REFUSALS = {
    [C.PERI_FFI_METRIC_NAME] = "letters, digits, '_' and ':' make a name; it does not begin with a digit or 'perigee_'",
    [C.PERI_FFI_METRIC_LABEL] = "at most 8 different labels of letters, digits and '_'; not 'le', not '__…'",
    [C.PERI_FFI_METRIC_BOUNDS] = "at most 24 bounds, finite and ascending",
    [C.PERI_FFI_METRIC_CONFLICT] = "it exists with another type, other labels or other bounds; give it another name",
    [C.PERI_FFI_METRIC_FULL] = "there are too many metrics",
}

local packed_length = ffi.new("uint16_t[1]")

-- Strings as the runtime takes them: a length of two bytes and the bytes, each.
local function pack(strings)
    local parts = {}
    for i = 1, #strings do
        packed_length[0] = #strings[i]
        parts[2 * i - 1] = ffi.string(packed_length, 2)
        parts[2 * i] = strings[i]
    end
    return concat(parts)
end

-- ------------------------------------------------------------------ series

-- A value that is its own text, so that there are no more of them than series.
local function is_cachable(value)
    local kind = type(value)
    return kind == "string" or kind == "boolean"
        or (kind == "number" and floor(value) == value and value > -1e9 and value < 1e9)
end

local function check_values(this, values)
    if type(values) ~= "table" or #values ~= this.count then
        error("'" .. this.name .. "' has " .. this.count .. " labels: pass a list of as many values", 4)
    end
    for i = 1, this.count do
        local kind = type(values[i])
        if kind ~= "string" and kind ~= "number" and kind ~= "boolean" then
            error("the value of a label is a string, a number or a boolean, not a " .. kind, 4)
        end
    end
end

-- Puts the series under its label values; the last value holds the number itself.
local function remember(this, values, series)
    local node, count = this.tree, this.count
    for i = 1, count do
        if not is_cachable(values[i]) then
            return
        end
    end
    for i = 1, count - 1 do
        node[values[i]] = node[values[i]] or {}
        node = node[values[i]]
    end
    node[values[count]] = series
end

local function open(this, values)
    check_values(this, values)
    local texts = {}
    for i = 1, this.count do
        texts[i] = tostring(values[i])
        if #texts[i] > 500 then
            texts[i] = texts[i]:sub(1, 501) -- the runtime drops it; its length fits two bytes
        end
    end
    local packed = pack(texts)
    local series = C.peri_ffi_metric_series(this.id, packed, #packed)
    if series >= 0 then
        remember(this, values, series)
    end
    return series
end

-- Number of the series with these label values, -1 when it was dropped.
local function find(this, values)
    local count = this.count
    if count == 0 then
        return this.series
    elseif type(values) ~= "table" then
        return open(this, values)
    end
    local node = this.tree
    for i = 1, count do
        local value = values[i]
        if value == nil then
            return open(this, values)
        end
        node = node[value]
        if node == nil then
            return open(this, values)
        end
    end
    return node
end

local function check_number(amount)
    if type(amount) ~= "number" then
        error("what is measured is a number, not a " .. type(amount), 3)
    end
end

---@class perigee.Counter
---@field name string
local Counter, new_counter = object.class "perigee.Counter"

--- Counts.
---@param by? number 0 or more; 1 by default
---@param values? (string|number|boolean)[] label values in the order of the labels
function Counter:inc(by, values)
    by = by or 1
    check_number(by)
    if by < 0 then
        error("a counter does not go down; use a gauge", 2)
    end
    local series = find(inside(self), values)
    if series >= 0 then
        C.peri_ffi_metric_add(series, by)
    end
end

---@class perigee.Gauge
---@field name string
local Gauge, new_gauge = object.class "perigee.Gauge"

--- Sets the value, which is one for all workers.
---@param amount number
---@param values? (string|number|boolean)[] label values in the order of the labels
function Gauge:set(amount, values)
    check_number(amount)
    local series = find(inside(self), values)
    if series >= 0 then
        C.peri_ffi_metric_set(series, amount)
    end
end

--- Adds to the value.
---@param by number may be negative
---@param values? (string|number|boolean)[] label values in the order of the labels
function Gauge:add(by, values)
    check_number(by)
    local series = find(inside(self), values)
    if series >= 0 then
        C.peri_ffi_metric_add(series, by)
    end
end

---@class perigee.Histogram
---@field name string
local Histogram, new_histogram = object.class "perigee.Histogram"

--- Adds an observation.
---@param amount number
---@param values? (string|number|boolean)[] label values in the order of the labels
function Histogram:observe(amount, values)
    check_number(amount)
    local series = find(inside(self), values)
    if series >= 0 then
        C.peri_ffi_metric_observe(series, amount)
    end
end

-- ------------------------------------------------------------------ the module

local function check_strings(list, what)
    if type(list) ~= "table" then
        error(what .. " are a list of strings, not a " .. type(list), 4)
    end
    for i = 1, #list do
        if type(list[i]) ~= "string" or #list[i] > 1000 then
            error(what .. " are a list of short strings", 4)
        end
    end
end

local function check_bounds(bounds)
    if type(bounds) ~= "table" or #bounds > 100 then
        error("bounds are a list of numbers", 4)
    end
    for i = 1, #bounds do
        if type(bounds[i]) ~= "number" then
            error("bounds are a list of numbers, not of a " .. type(bounds[i]), 4)
        end
    end
end

local COUNTER = { kind = C.PERI_FFI_COUNTER, new = new_counter }
local GAUGE = { kind = C.PERI_FFI_GAUGE, new = new_gauge }
local HISTOGRAM = { kind = C.PERI_FFI_HISTOGRAM, new = new_histogram }

local function define(class, name, help, labels, bounds)
    labels = labels or {}
    if type(name) ~= "string" or type(help) ~= "string" then
        error("a metric has a name and a help text", 3)
    end
    check_strings(labels, "labels")
    local count, list = 0, nil
    if bounds then
        check_bounds(bounds)
        count = #bounds
        list = ffi.new("double[?]", count, bounds)
    end
    local packed = pack(labels)
    local id = C.peri_ffi_metric_open(class.kind, name, #name, help, #help, packed, #packed, list, count)
    if id < 0 then
        error("metric '" .. name .. "': " .. REFUSALS[id], 3)
    end
    local this = { name = name, id = id, count = #labels, tree = {}, public = { name = name } }
    if this.count == 0 then
        this.series = C.peri_ffi_metric_series(id, "", 0)
    end
    return class.new(this)
end

local metrics = {}

--- A number that only grows; its name ends in `_total`.
---@param name string
---@param help string one line
---@param labels? string[]
---@return perigee.Counter
function metrics.counter(name, help, labels)
    return define(COUNTER, name, help, labels)
end

--- A number that goes up and down.
---@param name string
---@param help string one line
---@param labels? string[]
---@return perigee.Gauge
function metrics.gauge(name, help, labels)
    return define(GAUGE, name, help, labels)
end

--- Counts observations in buckets.
---@param name string
---@param help string one line
---@param labels? string[]
---@param bounds? number[] upper bounds, ascending; 5 ms to 10 s by default
---@return perigee.Histogram
function metrics.histogram(name, help, labels, bounds)
    return define(HISTOGRAM, name, help, labels, bounds)
end

return metrics
