-- SPDX-License-Identifier: MIT
--
-- How things end: a gateway that drains or stops, connections that break. Methods for gateways, pending requests and connections.

local testing = require "perigee._core.testing"
local world = require "perigee.test.world"

local ending = { gateway = {}, client = {} }

--- Lets the gateway end as SIGTERM does: idle connections are closed, the others after their exchange, all of them after
--- `seconds`.
---@param seconds? number 30
function ending.gateway:drain(seconds)
    self.server:drain((seconds or 30) * 1000)
    world.settle()
end

--- Has the drain come to its end?
---@return boolean
function ending.gateway:drained()
    world.settle()
    return self.server:is_drained()
end

--- Ends the gateway at once, as a second SIGTERM does. Clients find their connections closed.
function ending.gateway:stop()
    self.server:close()
    self.is_stopped = true
    world.settle()
end

--- What is open in this process now, by kind: exchanges, slots (Lua's handles on them), coroutines, tasks, timers, streams,
--- generations (one is the kit's own).
---@return table<string, integer>
function ending.gateway.open()
    world.settle()
    local counts = testing.counts()
    for kind, count in pairs(testing.held()) do
        counts[kind] = count
    end
    return counts
end

--- Breaks the client's connection.
function ending.client:reset()
    self.raw:reset()
    world.settle()
end

--- Ends the client's direction; the response may still come.
function ending.client:finish()
    self.raw:shutdown()
    world.settle()
end

return ending
