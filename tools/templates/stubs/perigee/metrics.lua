---@meta
-- Made by tools/stubs.py from the annotations in lua/perigee/. Editors read it; it is never run.
--
-- perigee.metrics: counters, gauges and histograms of your own on the admin endpoint /metrics, beside the runtime's. Make a
-- metric once, at the top of a module; use it in hooks:
--
-- local orders = perigee.metrics.counter("orders_total", "Orders by result.", { "result" })
-- orders:inc(1, { "paid" })
--
-- The same name means the same metric in every policy, worker and generation. Label values should be few: all metrics of all
-- policies together have 4096 series; what would be one more is dropped and counted in perigee_metrics_dropped_total.

---@class perigee.Counter
---@field name string
local Counter = {}

--- Counts.
---@param by? number 0 or more; 1 by default
---@param values? (string|number|boolean)[] label values in the order of the labels
function Counter:inc(by, values) end

---@class perigee.Gauge
---@field name string
local Gauge = {}

---@class perigee.Histogram
---@field name string
local Histogram = {}

---@class perigee.metrics.module
local metrics = {}

--- A number that only grows; its name ends in `_total`.
---@param name string
---@param help string one line
---@param labels? string[]
---@return perigee.Counter
function metrics.counter(name, help, labels) end

--- A number that goes up and down.
---@param name string
---@param help string one line
---@param labels? string[]
---@return perigee.Gauge
function metrics.gauge(name, help, labels) end

--- Counts observations in buckets.
---@param name string
---@param help string one line
---@param labels? string[]
---@param bounds? number[] upper bounds, ascending; 5 ms to 10 s by default
---@return perigee.Histogram
function metrics.histogram(name, help, labels, bounds) end

return metrics
