-- SPDX-License-Identifier: MIT

local ip = require "perigee.ip"

describe("perigee.ip", function()
    it("reads addresses and gives their canonical text and version", function()
        assert.same({ "10.0.0.1", 4 }, { ip.parse "10.0.0.1" })
        assert.same({ "2001:db8::1", 6 }, { ip.parse "2001:0DB8:0::1" })
        assert.same({ "10.0.0.1", 4 }, { ip.parse "::ffff:10.0.0.1" })
    end)

    it("refuses what is not exactly an address", function()
        local texts = { "", "10.0.0", "010.0.0.1", "10.0.0.1/8", "[::1]", "::1%lo", "localhost", "10.0.0.1\0" }
        for _, text in ipairs(texts) do
            assert.same({ nil, "not an IP address" }, { ip.parse(text) })
        end
    end)

    it("knows which addresses a set of networks holds", function()
        local set = assert(ip.set { "10.0.0.0/8", "192.168.7.7", "::1/128", "2001:db8::/32" })
        local inside = { "10.0.0.0", "10.255.255.255", "192.168.7.7", "::1", "2001:db8:ffff::1", "::ffff:10.1.2.3" }
        for _, address in ipairs(inside) do
            assert.is_true(set:contains(address), address)
        end
        for _, address in ipairs { "9.255.255.255", "11.0.0.0", "192.168.7.8", "::2", "2001:db9::" } do
            assert.is_false(set:contains(address), address)
        end
    end)

    it("keeps the families apart", function()
        assert.is_false(assert(ip.set { "::/0" }):contains "10.0.0.1")
        assert.is_false(assert(ip.set { "0.0.0.0/0" }):contains "::1")
    end)

    it("says that an address is none", function()
        assert.same({ false, "not an IP address" }, { assert(ip.set { "0.0.0.0/0" }):contains "x" })
        assert.is_false(assert(ip.set {}):contains "10.0.0.1")
    end)

    it("names the entry that is wrong", function()
        local set, message = ip.set { "10.0.0.0/8", "10.0.0.5/8" }
        assert.is_nil(set)
        assert.equal("entry 2: '10.0.0.5/8' has bits set behind the prefix; the network is 10.0.0.0/8", message)
        set, message = ip.set { "10.0.0.0/33" }
        assert.is_nil(set)
        assert.equal("entry 1: '10.0.0.0/33' has no prefix length of 0 to 32", message)
        set, message = ip.set { "::1", 7 }
        assert.is_nil(set)
        assert.equal("entry 2 is not a string", message)
    end)

    it("raises an error instead of crashing when a method gets another table", function()
        local set = assert(ip.set { "::1" })
        assert.has_error(function() set.contains({}, "::1") end)
    end)
end)
