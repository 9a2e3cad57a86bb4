-- SPDX-License-Identifier: MIT
--
-- Every way in which an exchange may end, at every place where a policy may wait (reference: the filter life-cycle faults of other
-- proxies, CVE-2026-47204, -47205, -47207, -47221). The whole table is made to be run under AddressSanitizer:
-- build-asan/perigee test spec/contract/lifecycle_spec.lua

local lifecycle = require "spec.support.lifecycle"

local HOOKS = {
    "on_request", "on_request_body", "on_upstream", "on_response", "on_response_body", "on_log", "around, before next",
    "around, after next", "handler", "target", "when", "a task",
}
local WAITS = { "sleep", "http.fetch for a head", "http.fetch for a body", "task", "body:read" }

local ENDINGS = {}
for name in pairs(lifecycle.endings) do
    ENDINGS[#ENDINGS + 1] = name
end
table.sort(ENDINGS)

-- Hooks and waits that go together.
local function places()
    local list = { { "around, in next", "none" } }
    for _, hook in ipairs(HOOKS) do
        for _, wait in ipairs(WAITS) do
            if hook ~= "on_log" or wait ~= "body:read" then
                list[#list + 1] = { hook, wait }
            end
        end
    end
    for i = 1, 4 do
        list[#list + 1] = { "a timer", WAITS[i] }
    end
    return list
end

for _, place in ipairs(places()) do
    local hook, wait = place[1], place[2]
    describe(hook .. " that waits for " .. wait, function()
        for _, ending in ipairs(ENDINGS) do
            for _, logs in ipairs { true, false } do
                it("outlives " .. ending .. (logs and "" or ", without on_log"), function()
                    local run = lifecycle.run { hook = hook, wait = wait, ending = ending, logs = logs }
                    assert.is_true(run.entered >= 1)
                    lifecycle.check_outcome(run)
                    lifecycle.check(run)
                end)
            end
        end
    end)
end

describe("what a hook decides after it waited", function()
    local DECIDERS = {
        "on_request", "on_request_body", "on_upstream", "on_response", "on_response_body", "around, before next",
        "around, after next", "handler",
    }
    local BEFORE = { "nothing", "the client breaks off", "the upstream breaks off", "a reload", "a drain", "a stop" }

    -- Status of the answer when the exchange is still under way: what the hook decided counts before the head is sent.
    local function status_of(hook, decision)
        if decision == "reply" then
            return 418
        end
        return hook == "handler" and 500 or 503
    end

    for _, hook in ipairs(DECIDERS) do
        for _, decision in ipairs { "reply", "error", "message" } do
            for _, wait in ipairs { "none", "sleep" } do
                for _, ending in ipairs(BEFORE) do
                    for _, logs in ipairs { true, false } do
                        local name = ("%s, %s after %s, with %s%s"):format(
                            hook, decision, wait, ending, logs and "" or ", without on_log")
                        it(name, function()
                            local run = lifecycle.run {
                                hook = hook, wait = wait, ending = ending, decision = decision, logs = logs,
                            }
                            lifecycle.check(run)
                            if run.status and not run.is_head_sent and run.is_decided and run.woke == 1 then
                                local expected = hook == "on_response_body" and 200 or status_of(hook, decision)
                                assert.equal(expected, run.status)
                            end
                        end)
                    end
                end
            end
        end
    end
end)

describe("the end comes in every turn of the loop", function()
    local TURNS = 40
    local PLACES = {
        { "on_request", "http.fetch" }, { "on_request_body", "http.fetch" }, { "on_upstream", "http.fetch" },
        { "on_response", "http.fetch" }, { "on_response_body", "http.fetch" }, { "on_log", "http.fetch" },
        { "around, before next", "http.fetch" }, { "around, in next", "none" }, { "around, after next", "http.fetch" },
        { "handler", "http.fetch" }, { "target", "http.fetch" }, { "a task", "http.fetch" }, { "a timer", "http.fetch" },
        { "on_request", "body:read" }, { "on_response", "body:read" }, { "a task", "body:read" }, { "when", "none" },
    }
    local SUDDEN = {
        "the client breaks off", "the client ends its direction", "the client closes", "the upstream breaks off",
        "the upstream closes", "a reload", "a drain", "a stop",
    }

    for _, place in ipairs(PLACES) do
        for _, ending in ipairs(SUDDEN) do
            it(("of %s with %s: %s"):format(place[1], place[2], ending), function()
                for turns = 0, TURNS do
                    local run = lifecycle.run {
                        hook = place[1], wait = place[2], ending = ending, logs = turns % 2 == 0, turns = turns,
                    }
                    lifecycle.check(run)
                    run.gw:close()
                    if run.is_at_rest then
                        break
                    end
                end
            end)
        end
    end
end)
