-- SPDX-License-Identifier: MIT

local up_to = require "perigee.algo.up_to"

-- A dictionary with one entry, whose first `races` changes are lost to another worker that adds 1 meanwhile.
local function dict(value, races)
    local self = { value = value, races = races or 0 }
    function self.get() return self.value end
    function self.cas(_, _, old, new, ttl)
        if self.races > 0 then
            self.races, self.value = self.races - 1, (self.value or 0) + 1
        end
        if self.value ~= old then
            return false
        end
        self.value, self.ttl = new, ttl
        return true
    end
    return self
end

describe("counting up to a bound", function()
    it("counts from nothing, up to the bound and not beyond", function()
        local entry = dict(nil)
        assert.same({ true, 2 }, { up_to.count(entry, "k", 2, 3, 60) })
        assert.equal(60, entry.ttl)
        assert.same({ false, 2 }, { up_to.count(entry, "k", 2, 3, 60) })
        assert.same({ true, 3 }, { up_to.count(entry, "k", 1, 3, 60) })
        assert.same({ false, 3 }, { up_to.count(entry, "k", 1, 3, 60) })
    end)

    it("looks again when another worker counted meanwhile", function()
        assert.same({ true, 4 }, { up_to.count(dict(1, 2), "k", 1, 10, 60) })
        assert.same({ false, 3 }, { up_to.count(dict(1, 2), "k", 1, 3, 60) })
    end)

    it("says why it cannot count", function()
        assert.same({ nil, "the entry is no number" }, { up_to.count(dict "text", "k", 1, 10, 60) })
        local full = dict(1)
        function full.cas() return nil, "no memory" end
        assert.same({ nil, "no memory" }, { up_to.count(full, "k", 1, 10, 60) })
    end)
end)
