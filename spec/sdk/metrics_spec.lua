-- SPDX-License-Identifier: MIT

local metrics = require "perigee.metrics"
local ffi = require "ffi"
local inside = require("perigee._core.object").inside

describe("perigee.metrics", function()
    it("counts, with and without labels", function()
        local plain = metrics.counter("spec_plain_total", "Plain.")
        plain:inc()
        plain:inc(2.5)
        assert.is_true(inside(plain).series >= 0)
        local labelled = metrics.counter("spec_labelled_total", "Labelled.", { "status", "by" })
        labelled:inc(1, { 200, "ada" })
        labelled:inc(1, { true, "ada" })
        assert.is_true(inside(labelled).tree[200].ada >= 0)
        assert.is_true(inside(labelled).tree[true].ada >= 0)
    end)

    it("gives equal texts of labels the same series", function()
        local counter = metrics.counter("spec_series_total", "Series.", { "a", "b" })
        counter:inc(1, { 200, "x" })
        counter:inc(1, { "200", "x" })
        assert.equal(inside(counter).tree[200].x, inside(counter).tree["200"].x)
        counter:inc(1, { 404, "x" })
        assert.not_equal(inside(counter).tree[200].x, inside(counter).tree[404].x)
    end)

    it("does not remember numbers whose texts could be equal", function()
        local counter = metrics.counter("spec_fraction_total", "Fractions.", { "a" })
        counter:inc(1, { 1.00000000000001 })
        counter:inc(1, { 1e15 })
        assert.is_nil(next(inside(counter).tree))
    end)

    it("sets gauges and observes into histograms", function()
        local gauge = metrics.gauge("spec_depth", "Depth.", { "queue" })
        gauge:set(3, { "a" })
        gauge:add(-5, { "a" })
        local histogram = metrics.histogram("spec_seconds", "Seconds.")
        histogram:observe(0.2)
        local sized = metrics.histogram("spec_bytes", "Bytes.", { "kind" }, { 10, 100, 1000 })
        sized:observe(50, { "small" })
    end)

    it("is the same metric under the same name", function()
        local one = metrics.counter("spec_same_total", "Same.", { "a" })
        local other = metrics.counter("spec_same_total", "Other help.", { "a" })
        assert.equal(inside(one).id, inside(other).id)
    end)

    it("refuses a name that means something else already", function()
        metrics.counter("spec_conflict_total", "Conflict.", { "a" })
        local function redefine()
            metrics.gauge("spec_conflict_total", "Conflict.", { "a" })
        end
        assert.has_error(redefine, "metric 'spec_conflict_total': it exists with another type, other labels or other "
            .. "bounds; give it another name")
        assert.has_error(function() metrics.counter("spec_conflict_total", "Conflict.", { "b" }) end)
    end)

    it("refuses names, labels and bounds that Prometheus does not take", function()
        for _, name in ipairs { "", "1st", "a-b", "perigee_mine_total", "é" } do
            assert.has_error(function() metrics.counter(name, "Help.") end)
        end
        for _, label in ipairs { "", "a-b", "le", "__name" } do
            assert.has_error(function() metrics.counter("spec_bad", "Help.", { label }) end)
        end
        for _, bounds in ipairs { { 2, 1 }, { 1, math.huge }, { "1" }, "1" } do
            assert.has_error(function() metrics.histogram("spec_bad", "Help.", nil, bounds) end)
        end
        assert.has_error(function() metrics.counter("spec_bad") end)
    end)

    it("raises an error when labels and values do not fit", function()
        local counter = metrics.counter("spec_values_total", "Values.", { "a", "b" })
        local expected = "'spec_values_total' has 2 labels: pass a list of as many values"
        assert.has_error(function() counter:inc(1) end, expected)
        assert.has_error(function() counter:inc(1, { "x" }) end, expected)
        assert.has_error(function() counter:inc(1, { "x", "y", "z" }) end, expected)
        assert.has_error(function() counter:inc(1, { "x", {} }) end)
        assert.has_error(function() counter:inc(-1, { "x", "y" }) end, "a counter does not go down; use a gauge")
        assert.has_error(function() counter:inc("1", { "x", "y" }) end)
    end)

    it("drops a label value that is too long and goes on", function()
        local counter = metrics.counter("spec_long_total", "Long.", { "a" })
        counter:inc(1, { ("x"):rep(100000) })
        assert.is_nil(next(inside(counter).tree))
    end)
end)

describe("the row of a policy", function()
    local C = ffi.C

    it("is the same for the same policy and route", function()
        local one = C.peri_ffi_policy_id("jwt", 3, "user", 4)
        assert.equal(one, C.peri_ffi_policy_id("jwt", 3, "user", 4))
        assert.not_equal(one, C.peri_ffi_policy_id("jwt", 3, "shop", 4))
        C.peri_ffi_policy_count(one, C.peri_ffi_ticks(), 0)
        C.peri_ffi_policy_count(-1, 5, 1)
    end)

    it("is timed by a clock that goes forward", function()
        local before = C.peri_ffi_ticks()
        assert.is_true(C.peri_ffi_ticks() >= before)
    end)
end)
