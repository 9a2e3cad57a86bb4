-- SPDX-License-Identifier: MIT

local gradient = require "perigee.algo.gradient"
local log_histogram = require "perigee.algo.log_histogram"

local function options(changes)
    local result = {
        min_concurrency = 3, max_concurrency_limit = 1000, concurrency_update_interval = 0.1,
        sample_aggregate_percentile = 0.5,
        min_rtt = { interval = 60, request_count = 50, jitter = 0.15, buffer = 0.25 },
    }
    for name, value in pairs(changes or {}) do
        result[name] = value
    end
    return result
end

local function half()
    return 0.5
end

-- Lets `count` requests through, one after the other, each of which takes so long. The time when the last one is over.
local function serve(controller, now, count, seconds, is_failure)
    for _ = 1, count do
        assert.is_true(gradient.enter(controller, now))
        gradient.sample(controller, now, now + seconds, is_failure or false)
        gradient.leave(controller)
        now = now + seconds
    end
    return now
end

-- A controller that has measured `seconds` at time 0, and the time.
local function measured(seconds, changes)
    local controller = gradient.new(options(changes), 0, half)
    return controller, serve(controller, 0, 50, seconds)
end

-- One interval of requests that take so long; the time when the next one begins.
local function interval(controller, now, seconds)
    local began = now
    for _ = 1, 10 do
        if gradient.enter(controller, now) then
            gradient.sample(controller, began - seconds + 1e-9, began, false)
            gradient.leave(controller)
        end
    end
    return now + 0.1
end

describe("a histogram of durations", function()
    it("gives quantiles within about a percent, of any length", function()
        for _, seconds in ipairs { 1e-4, 0.003, 0.1, 1, 77, 2000 } do
            local histogram = log_histogram.new()
            for i = 1, 100 do
                log_histogram.add(histogram, seconds * i / 50)
            end
            for _, part in ipairs { 0.5, 0.9, 0.99 } do
                local value = log_histogram.quantile(histogram, part)
                assert.near(1, value / (seconds * 2 * part), 0.023)
            end
        end
    end)

    it("takes what is too short or too long for it as its ends", function()
        local histogram = log_histogram.new()
        log_histogram.add(histogram, 0)
        assert.near(1e-6, log_histogram.quantile(histogram, 1), 1e-7)
        log_histogram.add(histogram, 1e9)
        assert.near(4295, log_histogram.quantile(histogram, 1), 60)
    end)

    it("finds the longest when a shorter one comes after it", function()
        local histogram = log_histogram.new()
        log_histogram.add(histogram, 1)
        log_histogram.add(histogram, 0.01)
        assert.near(1, log_histogram.quantile(histogram, 1), 0.02)
    end)

    it("keeps nothing of what was there before it was cleared", function()
        local histogram = log_histogram.new()
        log_histogram.add(histogram, 0.1)
        log_histogram.clear(histogram)
        log_histogram.add(histogram, 0.01)
        log_histogram.add(histogram, 1)
        assert.near(1, log_histogram.quantile(histogram, 1), 0.02)
    end)

    it("is empty at first, and when it is cleared", function()
        local histogram = log_histogram.new()
        assert.is_nil(log_histogram.quantile(histogram, 0.5))
        log_histogram.add(histogram, 1)
        log_histogram.clear(histogram)
        assert.is_nil(log_histogram.quantile(histogram, 0.5))
        assert.equal(0, histogram.count)
        log_histogram.add(histogram, 0.01)
        assert.near(0.01, log_histogram.quantile(histogram, 1), 0.0002)
    end)
end)

describe("the gradient controller", function()
    it("computes limits as Envoy does", function()
        local function next_limit(limit, min_rtt, sample_rtt)
            return gradient.next_limit(options(), limit, min_rtt, sample_rtt)
        end
        assert.equal(5, next_limit(3, 0.1, 0.1)) -- 3 * 1.25 + sqrt(3.75)
        assert.equal(8, next_limit(5, 0.1, 0.1))
        assert.equal(110, next_limit(100, 0.1, 0.125)) -- 100 + sqrt(100)
        assert.equal(57, next_limit(100, 0.1, 10)) -- half, and no less
        assert.equal(214, next_limit(100, 0.1, 0.001)) -- twice, and no more
        assert.equal(3, next_limit(3, 0.1, 10))
        assert.equal(1000, next_limit(990, 0.1, 0.1))
    end)

    it("begins with the least limit and measures", function()
        local controller = gradient.new(options(), 0, half)
        assert.equal(3, controller.limit)
        assert.is_nil(controller.min_rtt)
        local admitted = 0
        for _ = 1, 10 do
            admitted = admitted + (gradient.enter(controller, 0) and 1 or 0)
        end
        assert.equal(3, admitted)
        gradient.leave(controller)
        assert.is_true(gradient.enter(controller, 100)) -- however long it takes
        assert.is_false(gradient.enter(controller, 100))
        assert.equal(3, controller.limit)
    end)

    it("has measured when it has seen so many requests", function()
        local controller = gradient.new(options(), 0, half)
        local now = serve(controller, 0, 49, 0.01)
        assert.is_nil(controller.min_rtt)
        serve(controller, now, 1, 0.01)
        assert.near(0.01, controller.min_rtt, 0.0002)
    end)

    it("raises the limit while requests take no longer, up to the most", function()
        local controller, now = measured(0.01)
        local before = controller.limit
        for _ = 1, 40 do
            now = interval(controller, now, 0.01)
            assert.is_true(controller.limit >= before)
            before = controller.limit
        end
        assert.equal(1000, controller.limit)
    end)

    it("lowers it while they take longer, and raises it again when that is over", function()
        local controller, now = measured(0.01)
        for _ = 1, 20 do
            now = interval(controller, now, 0.01)
        end
        local high = controller.limit
        assert.is_true(high > 100)
        for _ = 1, 5 do
            now = interval(controller, now, 0.03)
        end
        local low = controller.limit
        assert.is_true(low < high / 4)
        for _ = 1, 20 do
            now = interval(controller, now, 0.01)
        end
        assert.is_true(controller.limit > low * 4)
    end)

    it("keeps the limit in an interval without requests", function()
        local controller, now = measured(0.01)
        for _ = 1, 10 do
            now = interval(controller, now, 0.01)
        end
        gradient.enter(controller, now)
        gradient.leave(controller)
        local limit = controller.limit
        for i = 1, 10 do
            gradient.enter(controller, now + i)
            gradient.leave(controller)
        end
        assert.equal(limit, controller.limit)
    end)

    it("measures again after the interval and its jitter, and then has its limit back", function()
        for part, expected in pairs { [0] = 60, [0.5] = 64.5, [1] = 69 } do
            local controller = gradient.new(options(), 0, function() return part end)
            local now = serve(controller, 0, 50, 0.01)
            local due = now + expected
            for _ = 1, 10 do
                now = interval(controller, now, 0.01)
            end
            assert.is_true(gradient.enter(controller, due - 0.01))
            gradient.leave(controller)
            local limit = controller.limit
            assert.is_true(limit > 100)
            assert.is_true(gradient.enter(controller, due))
            gradient.leave(controller)
            assert.equal(3, controller.limit)
            serve(controller, due, 50, 0.02)
            assert.near(0.02, controller.min_rtt, 0.0004)
            assert.equal(limit, controller.limit)
        end
    end)

    it("takes only requests for the measurement that began in it", function()
        local controller, now = measured(0.01)
        gradient.enter(controller, now + 65) -- begins to measure
        for _ = 1, 100 do
            gradient.sample(controller, now + 64.9, now + 66, false)
        end
        assert.equal(3, controller.limit)
        assert.near(0.01, controller.min_rtt, 0.0002)
    end)

    it("measures with requests of the measurement only", function()
        local controller, now = measured(0.01)
        local due = now + 64.5
        gradient.enter(controller, due - 0.05)
        gradient.leave(controller)
        for _ = 1, 20 do
            gradient.sample(controller, due - 0.05, due - 0.01, false) -- of an interval that the measurement ends
        end
        assert.is_true(gradient.enter(controller, due))
        gradient.leave(controller)
        now = serve(controller, due, 49, 0.02)
        assert.is_not_nil(controller.deferred)
        serve(controller, now, 1, 0.02)
        assert.is_nil(controller.deferred)
    end)

    it("begins a new interval when it has measured", function()
        local controller, now = measured(0.01)
        local limit = controller.limit
        gradient.sample(controller, now, now + 0.01, false)
        gradient.enter(controller, now + 0.09)
        assert.equal(limit, controller.limit)
        gradient.enter(controller, now + 0.1)
        assert.is_true(controller.limit > limit)
    end)

    it("computes a limit when a response comes after the interval, though no request does", function()
        local controller, now = measured(0.01)
        local limit = controller.limit
        gradient.sample(controller, now, now + 0.01, false)
        gradient.sample(controller, now, now + 0.2, false)
        assert.is_true(controller.limit > limit)
    end)

    it("measures again when the limit was at its bottom for five intervals", function()
        local controller, now = measured(0.01)
        for i = 1, 30 do
            now = interval(controller, now, 0.5) -- from now on the service is as slow as that
            if controller.deferred then
                assert.is_true(i >= 6)
                break
            end
        end
        assert.is_not_nil(controller.deferred)
        now = serve(controller, now, 50, 0.5)
        assert.near(0.5, controller.min_rtt, 0.01)
        for _ = 1, 20 do
            now = interval(controller, now, 0.5)
        end
        assert.is_true(controller.limit > 100)
    end)

    it("takes the percentile that is wanted", function()
        local controller = gradient.new(options { sample_aggregate_percentile = 0.9 }, 0, half)
        local now = serve(controller, 0, 40, 0.01)
        serve(controller, now, 10, 0.09)
        assert.near(0.09, controller.min_rtt, 0.002)
    end)

    it("learns nothing from failures that were quick, and slows down for those that were not", function()
        local controller = gradient.new(options(), 0, half)
        local now = serve(controller, 0, 100, 0.001, true)
        assert.is_nil(controller.min_rtt)
        now = serve(controller, now, 50, 0.01)
        for _ = 1, 20 do
            now = interval(controller, now, 0.01)
        end
        local limit = controller.limit
        serve(controller, now, 20, 0.001, true)
        assert.equal(limit, controller.limit)
        serve(controller, now + 1, 2, 1, true)
        assert.is_true(controller.limit < limit)
    end)

    it("goes on from what was saved, within its own bounds", function()
        local controller, now = measured(0.01)
        for _ = 1, 20 do
            now = interval(controller, now, 0.01)
        end
        local heir = gradient.new(options { max_concurrency_limit = 50 }, now, half)
        gradient.restore(heir, gradient.save(controller), now)
        assert.equal(50, heir.limit)
        assert.equal(controller.min_rtt, heir.min_rtt)
        gradient.enter(controller, now + 100) -- measures, which the heir then does first
        local other = gradient.new(options(), now + 100, half)
        gradient.restore(other, gradient.save(controller), now + 100)
        assert.is_true(other.limit > 100)
        gradient.enter(other, now + 100)
        assert.equal(3, other.limit)
        local fresh = gradient.new(options(), 0, half)
        gradient.restore(fresh, gradient.save(gradient.new(options(), 0, half)), 0)
        assert.equal(3, fresh.limit)
        assert.is_nil(fresh.min_rtt)
        assert.is_not_nil(fresh.deferred)
    end)

    it("goes on with its own intervals after that", function()
        local controller, now = measured(0.01)
        local sooner = options()
        sooner.min_rtt.interval, sooner.min_rtt.jitter = 10, 0.5
        local heir = gradient.new(sooner, now, half)
        gradient.restore(heir, gradient.save(controller), now)
        local limit = heir.limit
        gradient.sample(heir, now, now + 0.01, false)
        gradient.enter(heir, now + 0.09)
        assert.equal(limit, heir.limit)
        gradient.enter(heir, now + 14.9)
        assert.is_nil(heir.deferred)
        gradient.enter(heir, now + 15)
        assert.is_not_nil(heir.deferred)
    end)

    describe("agrees with Envoy's", function()
        -- A controller of Envoy's tests: settings that differ from the defaults, and those of the measurement.
        local function envoy(measuring, changes)
            local min_rtt = { interval = 30, request_count = 5, jitter = 0, buffer = 0.25 }
            for name, value in pairs(measuring) do
                min_rtt[name] = value
            end
            changes = changes or {}
            changes.min_rtt = min_rtt
            return gradient.new(options(changes), 0, half)
        end

        -- So many requests, one after the other, that took so many milliseconds when they end at `now`.
        local function take(controller, now, count, ms)
            for _ = 1, count do
                assert.is_true(gradient.enter(controller, now))
                gradient.sample(controller, now - ms / 1000, now, false)
                gradient.leave(controller)
            end
        end

        -- Measures `ms` at its beginning. Gives the time.
        local function past_measuring(controller, count, ms)
            take(controller, 2, count, ms)
            assert.is_nil(controller.deferred)
            assert.near(ms / 1000, controller.min_rtt, ms / 1000 * 0.02)
            return 2
        end

        -- One window of five requests that take so long. Gives the time of the next one, the limit before and after.
        local function window(controller, now, ms)
            local before = controller.limit
            take(controller, now, 5, ms)
            now = now + 0.101
            gradient.enter(controller, now)
            gradient.leave(controller)
            return now, before, controller.limit
        end

        it("in pinning the concurrency while it measures, from the first request to the last", function()
            local controller = envoy({ request_count = 50 }, { min_concurrency = 7 })
            for _ = 1, 7 do
                assert.is_true(gradient.enter(controller, 0))
            end
            assert.is_false(gradient.enter(controller, 0))
            for _ = 1, 7 do
                gradient.sample(controller, 0, 0.013, false)
                gradient.leave(controller)
            end
            for _ = 1, 43 do
                assert.equal(7, controller.limit)
                assert.is_not_nil(controller.deferred)
                take(controller, 0.013, 1, 13)
            end
            assert.is_nil(controller.deferred)
            assert.near(0.013, controller.min_rtt, 0.0003)
        end)

        it("in what the middle of five times is", function()
            local controller = envoy {}
            for ms = 1, 5 do
                take(controller, 1, 1, ms)
            end
            assert.near(0.003, controller.min_rtt, 0.00006)
        end)

        it("in freeing the place of a request that told nothing", function()
            local controller = envoy {}
            for _ = 1, 3 do
                assert.is_true(gradient.enter(controller, 0))
            end
            assert.is_false(gradient.enter(controller, 0))
            gradient.leave(controller)
            assert.is_true(gradient.enter(controller, 0))
            assert.is_false(gradient.enter(controller, 0))
        end)

        it("in growing while times are within the buffer", function()
            local controller = envoy { buffer = 0.5 }
            local now = past_measuring(controller, 5, 5)
            local before, after
            for _ = 1, 10 do
                now, before, after = window(controller, now, 6)
                assert.is_true(after > before)
            end
        end)

        it("in growing at most by the gradient and its root, and in shrinking beyond the buffer", function()
            local controller = envoy({ buffer = 0.1 }, { min_concurrency = 7 })
            local now = past_measuring(controller, 5, 5)
            local before, after
            for _ = 1, 10 do
                now, before, after = window(controller, now, 4)
                assert.is_true(after >= before and before / after >= 0.5)
            end
            for _ = 1, 10 do
                now, before, after = window(controller, now, 6)
                assert.is_true(after < before and after >= 7)
            end
        end)

        it("in looking away from requests that began before it measured", function()
            local controller = envoy({ request_count = 25, buffer = 0 }, { min_concurrency = 2 })
            past_measuring(controller, 25, 1350)
            for i = 3, 31 do
                local before = controller.limit
                take(controller, i, 1, 1350)
                gradient.enter(controller, i + 0.5)
                gradient.leave(controller)
                assert.is_true(controller.limit > before)
            end
            local under_way = controller.limit
            assert.is_true(under_way > 25)
            for _ = 1, under_way do
                assert.is_true(gradient.enter(controller, 31.6))
            end
            assert.is_false(gradient.enter(controller, 35))
            assert.is_not_nil(controller.deferred)
            assert.equal(2, controller.limit)
            for _ = 1, under_way do
                gradient.sample(controller, 31.6, 35, false)
                gradient.leave(controller)
            end
            assert.is_not_nil(controller.deferred)
        end)

        it("in going back to the limit that it had when it has measured", function()
            local controller = envoy {}
            local now = past_measuring(controller, 5, 5)
            local before, after
            for _ = 1, 5 do
                now, before, after = window(controller, now, 4)
                assert.is_true(after > before)
            end
            now = now + 31
            gradient.enter(controller, now)
            gradient.leave(controller)
            for _ = 1, 5 do
                assert.equal(3, controller.limit)
                take(controller, now + 1, 1, 13)
            end
            assert.equal(after, controller.limit)
        end)

        it("in computing no limit while it measures", function()
            local controller = envoy {}
            local now = window(controller, past_measuring(controller, 5, 5), 4) + 31
            for i = 0, 3 do
                take(controller, now + 1 + i, 1, 4)
                assert.equal(3, controller.limit)
                assert.is_not_nil(controller.deferred)
            end
        end)

        it("in measuring again when the fifth window in a row leaves the limit at its bottom", function()
            local controller = envoy({ interval = 3600, buffer = 0 }, { min_concurrency = 7 })
            local now = past_measuring(controller, 5, 5)
            now = window(controller, now, 5) -- grows to 9
            assert.equal(9, controller.limit)
            now = window(controller, now, 10) -- falls to the bottom, which is not a window that leaves it there
            for _ = 1, 4 do
                assert.equal(7, controller.limit)
                assert.is_nil(controller.deferred)
                now = window(controller, now, 10)
            end
            assert.is_nil(controller.deferred)
            now = window(controller, now, 10)
            assert.is_not_nil(controller.deferred)
            take(controller, now + 1, 5, 10)
            assert.near(0.01, controller.min_rtt, 0.0002)
            assert.equal(7, controller.limit)
            now = now + 1
            for _ = 1, 10 do
                local before, after
                now, before, after = window(controller, now, 10)
                assert.is_true(after > before)
            end
        end)

        it("in counting five windows each time", function()
            local controller = envoy({ interval = 3600, buffer = 0 }, { min_concurrency = 7 })
            local now = past_measuring(controller, 5, 5)
            for _ = 1, 2 do
                for i = 1, 5 do
                    assert.is_nil(controller.deferred, i)
                    now = window(controller, now, 10)
                end
                assert.is_not_nil(controller.deferred)
                take(controller, now + 1, 5, 5)
                now = now + 1
            end
        end)

        it("in counting anew after a window that raised the limit, and in counting none without requests", function()
            local controller = envoy({ interval = 3600, buffer = 0 }, { min_concurrency = 7 })
            local now = past_measuring(controller, 5, 5)
            for _ = 1, 4 do
                now = window(controller, now, 10)
            end
            now = window(controller, now, 5)
            assert.is_true(controller.limit > 7)
            now = window(controller, now, 10)
            for _ = 1, 4 do
                now = window(controller, now, 10)
            end
            for _ = 1, 10 do
                now = now + 0.2
                gradient.enter(controller, now)
                gradient.leave(controller)
            end
            assert.equal(7, controller.limit)
            assert.is_nil(controller.deferred)
            window(controller, now, 10)
            assert.is_not_nil(controller.deferred)
        end)
    end)

    -- A service with `capacity` places: a request takes `base` seconds, and longer in proportion when more are there. Clients
    -- come back at once, whether they were let in or not. Gives the mean limit of the second half of the time.
    local function simulate(capacity, base, clients, seconds)
        local controller, now, step = gradient.new(options(), 0, half), 0, base / 20
        local under_way, sum, count = {}, 0, 0
        while now < seconds do
            for i = #under_way, 1, -1 do
                if under_way[i].ends <= now then
                    gradient.sample(controller, under_way[i].began, now, false)
                    gradient.leave(controller)
                    table.remove(under_way, i)
                end
            end
            while #under_way < clients and gradient.enter(controller, now) do
                local load = math.max(1, controller.in_flight / capacity)
                under_way[#under_way + 1] = { began = now, ends = now + base * load }
            end
            if now > seconds / 2 then
                sum, count = sum + controller.limit, count + 1
            end
            now = now + step
        end
        return sum / count
    end

    it("finds the limit of a service that gets slower beyond its capacity", function()
        for _, capacity in ipairs { 10, 40 } do
            local limit = simulate(capacity, 0.02, 500, 10)
            local without_queue = capacity * 1.25
            assert.near(1, limit / (without_queue + math.sqrt(without_queue)), 0.1)
        end
    end)
end)
