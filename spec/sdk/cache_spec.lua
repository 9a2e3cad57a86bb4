-- SPDX-License-Identifier: MIT

local cache = require "perigee.cache"

describe("perigee.cache", function()
    local now

    local function new(options)
        now = 100
        options.clock = function()
            return now
        end
        return cache.new(options)
    end

    it("gives back what was set, whatever it is", function()
        local c, value = new { size = 3 }, {}
        c:set("a", value)
        c:set(value, false)
        assert.equal(value, c:get("a"))
        assert.is_false(c:get(value))
        assert.is_nil(c:get("b"))
    end)

    it("forgets what was used least recently", function()
        local c = new { size = 3 }
        c:set("a", 1)
        c:set("b", 2)
        c:set("c", 3)
        c:get("a")
        c:set("b", 20)
        c:set("d", 4)
        assert.is_nil(c:get("c"))
        assert.same({ 1, 20, 4 }, { c:get("a"), c:get("b"), c:get("d") })
        assert.equal(3, c:count())
    end)

    it("holds exactly its size through many sets and deletes", function()
        local c = new { size = 10 }
        for i = 1, 1000 do
            c:set(i % 37, i)
            if i % 3 == 0 then
                c:delete((i - 5) % 37)
            end
            assert.is_true(c:count() <= 10)
            assert.equal(i, c:get(i % 37) or (i - 5) % 37 == i % 37 and i)
        end
        local found = 0
        for key = 0, 36 do
            found = found + (c:get(key) and 1 or 0)
        end
        assert.equal(c:count(), found)
    end)

    it("forgets an entry when its time is over", function()
        local c = new { size = 3, ttl = 10 }
        c:set("a", 1)
        c:set("b", 2, 5)
        now = 104.9
        assert.equal(2, c:get("b"))
        now = 105
        assert.is_nil(c:get("b"))
        assert.equal(1, c:get("a"))
        now = 110
        assert.is_nil(c:get("a"))
        assert.equal(0, c:count())
    end)

    it("begins the time again when an entry is set again", function()
        local c = new { size = 3, ttl = 10 }
        c:set("a", 1)
        now = 109
        c:set("a", 2)
        now = 118
        assert.equal(2, c:get("a"))
    end)

    it("removes an entry that is set to nil", function()
        local c = new { size = 3 }
        c:set("a", 1)
        c:set("a", nil)
        c:set("never", nil)
        assert.is_nil(c:get("a"))
        assert.equal(0, c:count())
    end)

    it("uses the loop's clock when none is given", function()
        local c = cache.new { size = 1, ttl = 1000 }
        c:set("a", 1)
        assert.equal(1, c:get("a"))
    end)

    it("raises an error for sizes and times that mean nothing", function()
        for _, size in ipairs { 0, -1, 1.5, 0 / 0, "3" } do
            assert.has_error(function() cache.new { size = size } end)
        end
        assert.has_error(function() cache.new { size = 1, ttl = 0 } end)
        assert.has_error(function() new({ size = 1 }):set("a", 1, -1) end)
        assert.has_error(function() new({ size = 1 }):set(nil, 1) end)
    end)
end)
