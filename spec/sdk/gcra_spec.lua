-- SPDX-License-Identifier: MIT

local gcra = require "perigee.algo.gcra"

describe("the replies of a bucket in Redis", function()
    it("are read as numbers", function()
        assert.same({ true, 2.5, 0 }, { gcra.read { 1, "2.500000", "0" } })
        assert.same({ false, 0.25, 1.5 }, { gcra.read { 0, "0.250000", "1.500000" } })
    end)

    it("are none when anything of them is something else", function()
        for _, reply in ipairs {
            {}, { 2, "1", "0" }, { "1", "1", "0" }, { 1, "x", "0" }, { 1, "1", "x" }, { 1, "1" }, { 0 },
        } do
            assert.is_nil((gcra.read(reply)))
        end
        for _, reply in ipairs { "OK", 1, false } do
            assert.is_nil((gcra.read(reply)))
        end
        assert.is_nil((gcra.read(nil)))
    end)

    it("come from microseconds per token and tokens of the bucket", function()
        assert.same({ "200000", "7" }, gcra.arguments(5, 7))
    end)
end)
