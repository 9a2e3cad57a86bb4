-- SPDX-License-Identifier: MIT

local breaker = require "perigee.algo.circuit_breaker"

-- A store of one process; times to live are left out but for probes, which the test ends itself.
local function new_store()
    local entries = {}
    local store = { entries = entries }
    function store.get(_, key)
        return entries[key]
    end
    function store.delete(_, key)
        entries[key] = nil
    end
    function store.incr(_, key, by, init)
        entries[key] = (entries[key] or init or 0) + by
        return entries[key]
    end
    function store.cas(_, key, old, new)
        if entries[key] ~= old then
            return false
        end
        entries[key] = new
        return true
    end
    return store
end

local function settings(changes)
    local all = { failures = 3, ratio = 0.5, volume = 10, window = 10, open = 30, probes = 1 }
    for name, value in pairs(changes or {}) do
        all[name] = value
    end
    return all
end

describe("the circuit breaker", function()
    local store, conf, now

    before_each(function()
        store, conf, now = new_store(), settings(), 1000
    end)

    local function admit()
        return breaker.admit(store, "k", conf, now)
    end

    local function record(is_failure, state)
        return breaker.record(store, "k", conf, state, is_failure, now)
    end

    local function open_it()
        for _ = 1, conf.failures do
            record(true)
        end
    end

    it("is closed in the beginning", function()
        assert.same({ true }, { admit() })
    end)

    it("opens after so many failures in a row", function()
        assert.is_nil(record(true))
        assert.is_nil(record(true))
        assert.is_nil(record(false))
        assert.is_nil(record(true))
        assert.is_nil(record(true))
        assert.equal("open", record(true))
        assert.same({ false, 30 }, { admit() })
    end)

    it("opens when too many of a window fail, and there were enough", function()
        conf = settings { failures = 0 }
        for i = 1, 9 do
            assert.is_nil(record(i % 2 == 0))
        end
        assert.equal("open", record(true)) -- 5 of 10
    end)

    it("stays closed when less than the share fails", function()
        conf = settings { failures = 0 }
        for i = 1, 1000 do
            assert.is_nil(record(i % 3 == 0))
        end
    end)

    it("looks at this half window and the last one", function()
        conf = settings { failures = 0 }
        for _ = 1, 9 do
            record(true)
        end
        now = now + 10
        assert.is_nil(record(true)) -- what was before has gone
        now = now + 5
        for _ = 1, 8 do
            assert.is_nil(record(true))
        end
        assert.equal("open", record(true))
    end)

    it("lets as many through as there are probes when its time is over", function()
        conf = settings { probes = 2 }
        open_it()
        now = now + 29.9
        local passes, wait = admit()
        assert.is_false(passes)
        assert.near(0.1, wait, 1e-9)
        now = 1030
        assert.is_true((admit()))
        assert.is_true((admit()))
        assert.same({ false, 1 }, { admit() })
    end)

    it("closes when all probes succeed, and counts anew", function()
        conf = settings { probes = 2 }
        open_it()
        now = 1030
        local _, first = admit()
        local _, second = admit()
        assert.is_nil(record(false, first))
        assert.equal("close", record(false, second))
        assert.same({ true }, { admit() })
        assert.is_nil(record(true))
        assert.is_nil(record(true))
        assert.equal("open", record(true))
    end)

    it("opens again when a probe fails", function()
        open_it()
        now = 1030
        local _, state = admit()
        assert.equal("open", record(true, state))
        assert.same({ false, 30 }, { admit() })
        now = 1060
        assert.is_true((admit()))
    end)

    it("ignores results of an earlier state", function()
        open_it()
        assert.is_nil(record(true))
        assert.is_nil(record(false))
        now = 1030
        local _, old = admit()
        record(true, old)
        assert.is_nil(record(false, old))
        assert.is_false((admit()))
    end)

    it("gives the place of a probe that says nothing to another one", function()
        open_it()
        now = 1030
        local _, state = admit()
        assert.is_false((admit()))
        breaker.forget(store, "k", state)
        assert.is_true((admit()))
    end)

    it("forgets nothing for a request of a closed one", function()
        breaker.forget(store, "k", nil)
        assert.same({}, store.entries)
    end)

    it("changes its state once, whoever sees it first", function()
        local other = new_store()
        open_it()
        assert.is_nil(breaker.record(store, "k", conf, nil, true, now))
        assert.same({ true }, { breaker.admit(other, "k", conf, now) })
    end)

    it("counts from the first request on, and neither more nor fewer", function()
        conf = settings { failures = 0, volume = 4, ratio = 0.5 }
        record(false)
        record(false)
        record(false)
        assert.is_nil(record(true)) -- one of four
        store = new_store()
        for _ = 1, 3 do
            assert.is_nil(record(true)) -- three are too few
        end
        assert.equal("open", record(true))
    end)

    it("adds what the last half window saw, requests and failures", function()
        conf = settings { failures = 0, volume = 4, ratio = 0.75 }
        record(true)
        record(true)
        now = now + 5
        record(false)
        assert.equal("open", record(true)) -- three of four
    end)

    it("looks at half a window at least, and at no more than a whole one", function()
        conf = settings { failures = 0, volume = 2, ratio = 1 }
        record(true)
        now = now + 9.9
        assert.equal("open", record(true))
        store, now = new_store(), 1000
        record(true)
        now = now + 10
        assert.is_nil(record(true))
    end)

    it("forgets the counts of both halves of the window when it opens and closes", function()
        -- What came before it opened, by the half window, and after it closed: too little to open it again.
        for _, case in ipairs {
            { volume = 4, ratio = 0.25, before = { true, false, false }, after = { true } },
            { volume = 2, ratio = 1, before = { true }, after = { false, true } },
        } do
            conf = settings { failures = 0, volume = case.volume, ratio = case.ratio, open = 0.5 }
            store, now = new_store(), 1004
            for _, is_failure in ipairs(case.before) do
                assert.is_nil(record(is_failure))
            end
            now = 1005.1
            assert.equal("open", record(true))
            now = 1005.7
            local _, state = admit()
            assert.equal("close", record(false, state))
            for _, is_failure in ipairs(case.after) do
                assert.is_nil(record(is_failure))
            end
        end
    end)

    it("lets nobody through in the place of a request that it refused", function()
        open_it()
        now = now + 30
        local _, state = admit()
        for _ = 1, 3 do
            assert.same({ false, 1 }, { admit() })
        end
        breaker.forget(store, "k", state)
        assert.is_true((admit()))
        assert.is_false((admit()))
    end)

    it("gives back one place for one probe that says nothing, and none that is not there", function()
        conf = settings { probes = 2 }
        open_it()
        now = now + 30
        local _, state = admit()
        admit()
        breaker.forget(store, "k", state)
        assert.is_true((admit()))
        assert.is_false((admit()))
        store.entries.kp = nil -- its time to live is over
        breaker.forget(store, "k", state)
        assert.is_true((admit()))
        assert.is_true((admit()))
        assert.is_false((admit()))
        store.entries.kp = 0
        breaker.forget(store, "k", state)
        assert.equal(0, store.entries.kp)
        store.entries.kp = 1
        breaker.forget(store, "k", state - 1) -- of an earlier state
        assert.equal(1, store.entries.kp)
    end)

    it("does not count the success of a probe of an earlier state for this one", function()
        conf = settings { probes = 2 }
        open_it()
        now = now + 30
        local _, first = admit()
        admit()
        assert.equal("open", record(true, first))
        assert.is_nil(record(false, first)) -- comes late
        now = now + 30
        local _, second = admit()
        admit()
        assert.is_nil(record(false, second))
        assert.equal("close", record(false, second))
    end)

    it("lets nobody probe, and opens for nothing, when the store cannot count", function()
        open_it()
        now = now + 30
        function store.incr() return nil, "full" end
        assert.same({ false, 1 }, { admit() })
        store.entries.ko, conf.failures = nil, 1
        assert.is_nil(record(true))
        assert.same({ true }, { admit() })
    end)

    it("keeps breakers apart", function()
        open_it()
        assert.is_true((breaker.admit(store, "other", conf, now)))
    end)
end)
