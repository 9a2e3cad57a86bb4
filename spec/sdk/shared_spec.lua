-- SPDX-License-Identifier: MIT

local shared = require "perigee.shared"

describe("perigee.shared", function()
    local dict = shared "shared_spec"

    before_each(function()
        dict:flush()
    end)

    it("gives the same dictionary for the same name", function()
        assert.equal(dict, shared.open("shared_spec"))
        assert.not_equal(dict, shared "shared_spec_other")
        assert.equal("perigee.shared shared_spec", tostring(dict))
    end)

    it("gives back strings, numbers and booleans as they were", function()
        for _, value in ipairs { "text", "", "a\0b", ("x"):rep(65536), 0, -1.5, 1e300, math.huge, true, false } do
            assert.is_true(dict:set("key", value))
            assert.equal(value, (dict:get("key")))
        end
    end)

    it("has nothing under a key that was not set", function()
        assert.is_nil((dict:get("absent")))
        assert.is_false(dict:delete("absent"))
    end)

    it("removes an entry by delete and by setting nil", function()
        dict:set("a", 1)
        dict:set("b", 2)
        assert.is_true(dict:delete("a"))
        assert.is_true(dict:set("b", nil))
        assert.is_nil((dict:get("a")))
        assert.is_nil((dict:get("b")))
    end)

    it("adds only what is absent and replaces only what is there", function()
        assert.is_false(dict:replace("a", 1))
        assert.is_true(dict:add("a", "one"))
        assert.is_false(dict:add("a", "two"))
        assert.equal("one", (dict:get("a")))
        assert.is_true(dict:replace("a", false))
        assert.is_false((dict:get("a")))
    end)

    it("swaps only when the entry is as expected", function()
        assert.is_true(dict:cas("a", nil, "one"))
        assert.is_false(dict:cas("a", nil, "two"))
        assert.is_false(dict:cas("a", "other", "two"))
        assert.is_true(dict:cas("a", "one", 2))
        assert.is_true(dict:cas("a", 2, true))
        assert.is_true(dict:cas("a", true, nil))
        assert.is_nil((dict:get("a")))
    end)

    it("counts from an initial value", function()
        assert.equal(1, (dict:incr("n")))
        assert.equal(3.5, (dict:incr("n", 2.5)))
        assert.equal(105, (dict:incr("m", 5, 100)))
        assert.equal(104, (dict:incr("m", -1, 100)))
    end)

    it("says that a text is no counter", function()
        dict:set("s", "1")
        local sum, message, code = dict:incr("s")
        assert.is_nil(sum)
        assert.equal("the entry is no number", message)
        assert.equal("type", code)
    end)

    it("tells and changes the time to live", function()
        assert.is_nil(dict:ttl("a"))
        assert.is_false(dict:expire("a", 1))
        dict:set("a", 1)
        assert.equal(math.huge, dict:ttl("a"))
        assert.is_true(dict:expire("a", 100))
        assert.is_true(dict:ttl("a") <= 100 and dict:ttl("a") > 50)
        dict:set("a", 1, 0.0001)
        local ttl = dict:ttl("a")
        assert.is_true(ttl == nil or ttl <= 0.001)
        assert.is_true(dict:add("b", 1, 20))
        assert.is_true(dict:ttl("b") <= 20)
        dict:incr("c", 1, 0, 30)
        assert.is_true(dict:ttl("c") <= 30)
    end)

    it("lists its own keys only", function()
        local other = shared "shared_spec_other"
        other:set("elsewhere", 1)
        dict:set("one", 1)
        dict:set(("k"):rep(256), 2)
        local keys = dict:keys()
        table.sort(keys)
        assert.same({ ("k"):rep(256), "one" }, keys)
        assert.equal(1, #dict:keys(1))
        other:flush()
        assert.same({}, other:keys())
        assert.equal(2, #dict:keys())
    end)

    it("refuses data that is too long with a message, not an error", function()
        local long = ("k"):rep(257)
        for _, result in ipairs {
            { dict:get(long) }, { dict:set(long, 1) }, { dict:add(long, 1) }, { dict:incr(long) },
            { dict:cas(long, nil, 1) }, { dict:take(long, { rate = 1 }) },
        } do
            assert.is_nil(result[1])
            assert.equal("the key is longer than 256 bytes", result[2])
            assert.equal("too_long", result[3])
        end
        local stored, message, code = dict:set("a", ("v"):rep(65537))
        assert.is_nil(stored)
        assert.equal("the value is longer than 65536 bytes", message)
        assert.equal("too_long", code)
    end)

    it("raises an error when it is called wrongly", function()
        assert.has_error(function() dict:get(nil) end, "a key is a string, not a nil")
        assert.has_error(function() dict:set(7, 1) end, "a key is a string, not a number")
        assert.has_error(function() dict:set("a", {}) end, "a value is a string, a number or a boolean, not a table")
        assert.has_error(function() dict:add("a", nil) end, "there is no value to store")
        assert.has_error(function() dict:set("a", 1, 0) end, "a time to live is a number of seconds above 0, not 0")
        assert.has_error(function() dict:set("a", 1, 0 / 0) end)
        assert.has_error(function() dict:incr("a", "1") end, "what is counted is a number")
        assert.has_error(function() dict:keys(0) end)
        assert.has_error(function() shared "" end)
        assert.has_error(function() shared(("n"):rep(65)) end)
        assert.has_error(function() shared(nil) end)
    end)

    it("cannot be changed into something else by a policy", function()
        assert.equal("perigee.Dict", getmetatable(dict))
        assert.equal("perigee.shared", getmetatable(shared))
        assert.is_nil(next(dict))
        assert.is_nil(dict.__index)
        assert.has_error(function() dict.get = print end)
    end)
end)

describe("a shared token bucket", function()
    local dict = shared "shared_spec"

    before_each(function()
        dict:flush()
    end)

    it("admits the burst and then says how long to wait", function()
        local limit = { rate = 0.001, burst = 3 }
        for left = 2, 0, -1 do
            local is_admitted, remaining, retry_after, reset = dict:take("k", limit)
            assert.is_true(is_admitted)
            assert.near(left, remaining, 0.01)
            assert.equal(0, retry_after)
            assert.near((3 - left) * 1000, reset, 10)
        end
        local is_admitted, remaining, retry_after = dict:take("k", limit)
        assert.is_false(is_admitted)
        assert.near(0, remaining, 0.01)
        assert.near(1000, retry_after, 10)
    end)

    it("takes what a call costs", function()
        local limit = { rate = 0.001, burst = 10, cost = 4 }
        assert.is_true((dict:take("k", limit)))
        assert.is_true((dict:take("k", limit)))
        assert.is_false((dict:take("k", limit)))
        limit.cost = 2
        assert.is_true((dict:take("k", limit)))
    end)

    it("holds the tokens of one second when no burst is given", function()
        local _, remaining = dict:take("a", { rate = 5 })
        assert.equal(4, remaining)
        _, remaining = dict:take("b", { rate = 0.5 })
        assert.equal(0, remaining)
    end)

    it("never admits what costs more than the burst", function()
        local is_admitted, _, retry_after = dict:take("k", { rate = 1, burst = 1, cost = 2 })
        assert.is_false(is_admitted)
        assert.equal(math.huge, retry_after)
    end)

    it("reads as the number of its tokens", function()
        dict:take("k", { rate = 0.001, burst = 10 })
        assert.equal(9, (dict:get("k")))
    end)

    it("is refused where something else is stored", function()
        dict:set("k", "text")
        local is_admitted, message, code = dict:take("k", { rate = 1 })
        assert.is_nil(is_admitted)
        assert.equal("the entry is of another kind", message)
        assert.equal("type", code)
    end)

    it("raises an error for a limit that means nothing", function()
        for _, limit in ipairs {
            {}, { rate = 0 }, { rate = -1 }, { rate = 0 / 0 }, { rate = math.huge }, { rate = "1" },
            { rate = 1, burst = 0 }, { rate = 1, cost = -1 },
        } do
            assert.has_error(function() dict:take("k", limit) end)
        end
    end)

    it("makes no garbage", function()
        local limit = { rate = 1e6, burst = 1e6 }
        local function run()
            for _ = 1, 2000 do
                dict:take("k", limit)
            end
        end
        run()
        collectgarbage()
        collectgarbage("stop")
        local before = collectgarbage("count")
        run()
        local grown = collectgarbage("count") - before
        collectgarbage("restart")
        assert.is_true(grown < 8, "2000 takes made " .. grown .. " KiB") -- a trace may be compiled in between
    end)
end)
