-- SPDX-License-Identifier: MIT

local token_bucket = require "perigee.algo.token_bucket"

describe("the token bucket", function()
    it("starts full and gives burst tokens at once", function()
        local bucket = token_bucket.new(3, 100)
        for left = 2, 0, -1 do
            assert.same({ true, left, 0 }, { token_bucket.take(bucket, 1, 3, 1, 100) })
        end
        assert.same({ false, 0, 1 }, { token_bucket.take(bucket, 1, 3, 1, 100) })
    end)

    it("gains rate tokens a second, with fractions", function()
        local bucket = token_bucket.new(10, 0)
        token_bucket.take(bucket, 4, 10, 10, 0)
        assert.same({ false, 0.5, 0.125 }, { token_bucket.take(bucket, 4, 10, 1, 0.125) })
        assert.same({ true, 0, 0 }, { token_bucket.take(bucket, 4, 10, 1, 0.25) })
    end)

    it("says when the cost will be there, exactly", function()
        local bucket = token_bucket.new(5, 0)
        token_bucket.take(bucket, 2, 5, 5, 0)
        local _, _, retry_after = token_bucket.take(bucket, 2, 5, 3, 0)
        assert.equal(1.5, retry_after)
        assert.is_false((token_bucket.take(bucket, 2, 5, 3, 1.499)))
        assert.is_true((token_bucket.take(bucket, 2, 5, 3, 1.5)))
    end)

    it("takes nothing when there is not enough", function()
        local bucket = token_bucket.new(2, 0)
        assert.is_false((token_bucket.take(bucket, 1, 3, 3, 0)))
        assert.is_true((token_bucket.take(bucket, 1, 3, 2, 0)))
    end)

    it("never holds more than the burst", function()
        local bucket = token_bucket.new(2, 0)
        assert.same({ true, 1, 0 }, { token_bucket.take(bucket, 100, 2, 1, 3600) })
    end)

    it("shrinks at once when the burst is lowered", function()
        local bucket = token_bucket.new(100, 0)
        assert.same({ true, 1, 0 }, { token_bucket.take(bucket, 1, 2, 1, 0) })
    end)

    it("never gives a cost above the burst", function()
        local bucket = token_bucket.new(2, 0)
        assert.same({ false, 2, math.huge }, { token_bucket.take(bucket, 1, 2, 3, 0) })
    end)

    it("keeps what it has when the clock goes back", function()
        local bucket = token_bucket.new(5, 100)
        assert.same({ true, 4, 0 }, { token_bucket.take(bucket, 1, 5, 1, 99) })
    end)

    it("says when all of it will be there", function()
        local bucket = token_bucket.new(2, 0)
        token_bucket.take(bucket, 1, 2, 2, 0)
        assert.same({ false, 0, 2 }, { token_bucket.take(bucket, 1, 2, 2, 0) })
    end)

    it("stands still when the clock goes back", function()
        local bucket = token_bucket.new(1, 100)
        token_bucket.take(bucket, 1, 1, 1, 100)
        assert.is_false((token_bucket.take(bucket, 1, 1, 1, 50)))
        assert.is_false((token_bucket.take(bucket, 1, 1, 1, 100.5)))
        assert.is_true((token_bucket.take(bucket, 1, 1, 1, 101)))
    end)

    it("admits rate times time plus burst, whatever the pace", function()
        local bucket, admitted, now, seed = token_bucket.new(20, 0), 0, 0, 1
        while now < 100 do
            seed = (seed * 16807) % 2147483647
            now = now + seed / 2147483647 * 0.02
            if token_bucket.take(bucket, 50, 20, 1, now) then
                admitted = admitted + 1
            end
        end
        assert.is_true(admitted <= 50 * now + 20)
        assert.is_true(admitted >= 50 * 100 - 1)
    end)
end)
