-- SPDX-License-Identifier: MIT

local admission = require "perigee.algo.admission"

local function new(changes, now)
    local options = { window = 30, threshold = 0.95, aggression = 1, max_rejection = 0.8, min_rate = 0 }
    for name, value in pairs(changes or {}) do
        options[name] = value
    end
    return admission.new(options, now or 0)
end

local function record(window, total, succeeded, now)
    for i = 1, total do
        admission.record(window, i <= succeeded, now or 0)
    end
    return window
end

local function probability(changes, total, succeeded)
    return admission.probability(record(new(changes), total, succeeded), 0)
end

describe("admission control", function()
    it("refuses nothing when it has seen nothing", function()
        assert.equal(0, admission.probability(new(), 0))
    end)

    it("refuses nothing while enough succeed", function()
        assert.equal(0, probability({}, 100, 100))
        assert.equal(0, probability({}, 100, 95))
        assert.equal(0, probability({}, 1, 1))
        assert.equal(0, probability({ threshold = 0.5 }, 100, 50))
    end)

    it("refuses the more the fewer succeed", function()
        assert.near(0.0097, probability({}, 100, 94.07), 0.001)
        assert.near((100 - 50 / 0.95) / 101, probability({}, 100, 50), 1e-9)
        assert.near((100 - 40 / 0.5) / 101, probability({ threshold = 0.5 }, 100, 40), 1e-9)
        local before = 0
        for succeeded = 94, 0, -1 do
            local now = probability({ max_rejection = 1 }, 100, succeeded)
            assert.is_true(now > before)
            before = now
        end
    end)

    it("refuses never more than the most", function()
        assert.equal(0.8, probability({}, 1000, 0))
        assert.near(1000 / 1001, probability({ max_rejection = 1 }, 1000, 0), 1e-9)
        assert.equal(0.5, probability({}, 1, 0)) -- one failure is not much
    end)

    it("refuses sooner with more aggression", function()
        local plain = probability({}, 100, 80)
        assert.near(math.sqrt(plain), probability({ aggression = 2 }, 100, 80), 1e-9)
        assert.near(plain ^ (1 / 3), probability({ aggression = 3 }, 100, 80), 1e-9)
        assert.equal(0, probability({ aggression = 3 }, 100, 95))
    end)

    it("refuses nothing below a rate", function()
        assert.equal(0, probability({ min_rate = 5 }, 149, 0))
        assert.equal(0.8, probability({ min_rate = 5 }, 150, 0))
    end)

    it("forgets what is older than the window, second by second", function()
        local window = record(new(), 100, 0, 0.5)
        record(window, 100, 100, 10.2)
        assert.near((200 - 100 / 0.95) / 201, admission.probability(window, 29.99), 1e-9)
        assert.equal(0, admission.probability(window, 30))
        assert.equal(100, window.total)
        assert.equal(100, window.succeeded)
        admission.probability(window, 39.99)
        assert.equal(100, window.total)
        admission.probability(window, 40)
        assert.equal(0, window.total)
        assert.equal(0, window.succeeded)
    end)

    it("forgets all of it in a long silence", function()
        local window = record(new(nil, 5), 100, 0, 5)
        assert.equal(0, admission.probability(window, 1e6))
        record(window, 10, 0, 1e6)
        assert.equal(10, window.total)
        assert.equal(0.8, admission.probability(window, 1e6 + 29))
        assert.equal(0, admission.probability(window, 1e6 + 30))
    end)

    it("forgets a second whatever the time until the next request", function()
        for gap = 1, 100 do
            local window = record(new(nil, 5), 10, 5, 5)
            admission.probability(window, 5 + gap)
            assert.equal(gap < 30 and 10 or 0, window.total)
            assert.equal(gap < 30 and 5 or 0, window.succeeded)
        end
    end)

    it("has the sums of its window at any time", function()
        local window, seed, all = new { window = 7 }, 3, {}
        for step = 0, 2000 do
            seed = seed * 16807 % 2147483647
            local now, is_success = step * 0.13 + (step > 1000 and 5 or 0), seed % 3 > 0
            admission.record(window, is_success, now)
            all[#all + 1] = { math.floor(now), is_success }
            local total, succeeded = 0, 0
            for i = #all, 1, -1 do
                if all[i][1] <= math.floor(now) - 7 then
                    break
                end
                total, succeeded = total + 1, succeeded + (all[i][2] and 1 or 0)
            end
            assert.equal(total, window.total)
            assert.equal(succeeded, window.succeeded)
        end
    end)

    it("stands still when the clock goes back", function()
        local window = record(new(nil, 100), 10, 0, 100)
        record(window, 10, 0, 90)
        admission.probability(window, 101)
        assert.equal(20, window.total)
        admission.probability(window, 130)
        assert.equal(0, window.total)
    end)

    it("saves every second of its window once, and no other", function()
        local window = new({ window = 3 }, 10)
        for second = 10, 13 do
            record(window, second == 11 and 1 or 2, 0, second)
        end
        local longer = new({ window = 60 }, 13)
        admission.restore(longer, admission.save(window))
        assert.equal(5, longer.total)
        local shorter = new({ window = 2 }, 13)
        admission.restore(shorter, admission.save(window))
        assert.equal(4, shorter.total)
        local later = new({ window = 3 }, 14)
        admission.restore(later, admission.save(window))
        assert.equal(4, later.total) -- second 11 is just over
    end)

    it("goes on from what was saved, as far as its window reaches", function()
        local window = record(new(), 10, 5, 0)
        record(window, 20, 5, 20)
        local heir = new(nil, 20)
        admission.restore(heir, admission.save(window))
        assert.equal(30, heir.total)
        assert.equal(10, heir.succeeded)
        admission.probability(heir, 30)
        assert.equal(20, heir.total)
        local short = new({ window = 10 }, 20)
        admission.restore(short, admission.save(window))
        assert.equal(20, short.total)
        local late = new(nil, 100)
        admission.restore(late, admission.save(window))
        assert.equal(0, late.total)
    end)
end)
