-- SPDX-License-Identifier: MIT

local sliding_window = require "perigee.algo.sliding_window"

local room, wait = sliding_window.room, sliding_window.wait

-- The same numbers in every run.
local function generator(seed)
    return function(n)
        seed = seed * 16807 % 2147483647
        return seed % n
    end
end

describe("the sliding window", function()
    it("weighs the last window with the part of it that still counts", function()
        assert.equal(1, room(50, 42, 18, 15 / 60)) -- 42 * 3/4 + 18 = 49.5
        assert.equal(0, room(50, 42, 19, 15 / 60))
        assert.equal(10, room(10, 0, 0, 0))
        assert.equal(0, room(10, 10, 0, 0))
        assert.equal(5, room(10, 10, 0, 0.5))
        assert.equal(2, room(10, 10, 3, 0.5))
    end)

    it("counts a request fully or not at all", function()
        assert.equal(1, room(1, 1, 0, 0.01))
        assert.equal(2, room(10, 9, 0, 0.01))
        assert.equal(0, room(1, 0, 1, 0.99))
    end)

    it("has no room below zero when the limit was lowered", function()
        assert.equal(0, room(5, 100, 100, 0.5))
        assert.equal(0, room(5, 100, 0, 0.5))
    end)

    it("says when the next one fits", function()
        assert.equal(0, wait(50, 60, 42, 18, 15 / 60, 1))
        assert.near(0.715, wait(50, 60, 42, 19, 15 / 60, 1), 0.001) -- when 42 weigh less than 31
        assert.near(30.001, wait(10, 60, 0, 10, 0.5, 1), 1e-9) -- 10 weigh less than 10 just behind the bound
        assert.near(60.001, wait(10, 60, 0, 20, 0.5, 1), 1e-9) -- the limit was 20: they weigh 10 in half a window more
        assert.near(60.001, wait(1, 60, 0, 1, 0, 1), 1e-9)
    end)

    it("says when all of it fits", function()
        assert.equal(0, wait(10, 60, 0, 0, 0.25, 10))
        assert.near(45.001, wait(10, 60, 0, 1, 0.25, 10), 1e-9)
        assert.near(45 + 54, wait(10, 60, 0, 10, 0.25, 10), 0.002)
        assert.near(54 - 15, wait(10, 60, 10, 0, 0.25, 10), 0.002)
    end)

    it("never says to come back too early, nor more than a moment too late", function()
        local random = generator(7)
        for _ = 1, 4000 do
            local limit, window = 1 + random(20), 10
            local previous, current, at = random(limit + 3), random(limit + 3), random(1000) / 1000
            local wanted = 1 + random(limit)
            local seconds = wait(limit, window, previous, current, at, wanted)
            local function room_after(later)
                local part = at + later / window
                if part >= 2 then
                    return limit
                elseif part >= 1 then
                    return room(limit, current, 0, part - 1)
                end
                return room(limit, previous, current, part)
            end
            assert.is_true(room_after(seconds) >= wanted)
            assert.is_true(seconds < 0.002 or room_after(seconds - 0.002) < wanted)
        end
    end)

    it("lets in what the limit says when requests come evenly, in any stretch of one window", function()
        for _, per_window in ipairs { 50, 101, 130, 400 } do
            local limit, window, times = 100, 1, {}
            local previous, current, number = 0, 0, 0
            for i = 0, per_window * 20 do
                local now = i / per_window
                local this = math.floor(now)
                if this ~= number then
                    previous, current, number = this == number + 1 and current or 0, 0, this
                end
                if room(limit, previous, current, now - this) > 0 then
                    current = current + 1
                    times[#times + 1] = now
                end
            end
            local rate = #times / 20
            assert.is_true(rate <= limit * 1.06, per_window .. ": " .. rate)
            assert.is_true(rate >= math.min(per_window, limit) * 0.94, per_window .. ": " .. rate)
            local first = 1
            for last = 1, #times do
                while times[first] <= times[last] - window do
                    first = first + 1
                end
                assert.is_true(last - first + 1 <= 2 * limit)
            end
        end
    end)

    it("reads nothing from what is no reply of its script", function()
        assert.same({ true, 3, 4, 0.5 }, { sliding_window.read { 1, 3, 4, "0.5" } })
        assert.same({ false, 3, 4, 0.5 }, { sliding_window.read { 0, 3, 4, "0.5" } })
        for _, reply in ipairs { "OK", 7, {}, { 2, 3, 4, "0.5" }, { 1, 3, 4 }, { 1, "x", 4, "0.5" } } do
            assert.is_nil(sliding_window.read(reply))
        end
        assert.is_nil(sliding_window.read(nil))
    end)
end)
