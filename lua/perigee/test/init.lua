-- SPDX-License-Identifier: MIT
--
-- The test kit: `require "perigee.test"` in a spec that `perigee test` runs. See docs/testing.md.

local assertions = require "perigee.test.assertions"
local clock = require "perigee.test._core.clock"
local coverage = require "perigee.test._core.coverage"
local gateway = require "perigee.test.gateway"
local misuse = require "perigee.test._core.misuse"
local upstream = require "perigee.test.upstream"
local world = require "perigee.test.world"

---@class perigee.test
---@field fail perigee.test.Failures what can go wrong at an upstream
local test = {
    fail = upstream.fail,
}

--- An answer of a fake upstream.
---@param status integer
---@param body? string|table|perigee.test.Stream a table is sent as JSON; a stream, slowly
---@param headers? table<string, string|string[]>
---@param trailers? table<string, string>
---@return any
function test.reply(status, body, headers, trailers)
    return upstream.reply(status, body, headers, trailers)
end

--- A slow body: strings are chunks, numbers are pauses in seconds; test.fail.reset and test.fail.hang end it.
---@param parts (string|number|perigee.test.Failure)[]
---@return perigee.test.Stream
function test.stream(parts)
    return upstream.stream(parts)
end

--- A fake that gives each answer once, in this order. It is an error to ask it more often, and the test fails when it is asked
--- less often.
---@param list any[] what a fake may return, or functions
---@return perigee.test.Script
function test.answers(list)
    return upstream.answers(list)
end

--- A server without HTTP, for listeners that pass TCP on: `answer` gets what has arrived, and what it returns is sent
--- back. Without it nothing is.
---@param answer? fun(bytes: string): string|perigee.test.Failure|nil
---@return perigee.test.Bytes
function test.bytes(answer)
    return upstream.bytes(answer)
end

local function or_raise(found, errors)
    return found or misuse.raise("the configuration is refused:\n" .. gateway.format_errors(errors))
end

--- A gateway in memory. Raises an error that lists what is wrong with the configuration.
---@param config perigee.test.Config as a configuration file returns it; upstreams may be functions
---@param options? perigee.test.Options
---@return perigee.test.Gateway
function test.gateway(config, options)
    return or_raise(gateway.new(config, options))
end

--- A gateway for a configuration file.
---@param path string
---@param options? perigee.test.LoadOptions
---@return perigee.test.Gateway
function test.load(path, options)
    return or_raise(gateway.load(path, options))
end

--- What is wrong with a configuration: a list, empty when it is accepted.
---@param config perigee.test.Config
---@param options? perigee.test.Options
---@return perigee.test.Error[]
function test.errors(config, options)
    local found, errors = gateway.new(config, options)
    if found then
        found:close()
    end
    return errors or {}
end

--- Moves time on, and does what falls due; for tests without a gateway.
---@param span number|string seconds, or a duration such as "90s"
function test.advance(span)
    world.begin()
    world.advance("test.advance", span)
end

--- Sets the wall clock, forward or back; for tests without a gateway.
---@param moment number|string seconds since 1970, or a date such as "2026-03-01T12:00:00Z"
function test.set_time(moment)
    world.begin()
    clock.set(moment)
end

--- The wall clock in seconds since 1970; a test begins at 2026-01-01T00:00:00Z.
---@return number
function test.now()
    world.begin()
    return clock.now()
end

-- ---------------------------------------------------------------- for perigee/test/runner.lua

--- A spec file begins.
function test._begin_file(path)
    world.file = path:gsub("^%./", "")
end

--- A spec file has ended.
function test._end_file()
    world.file = nil
    collectgarbage()
end

--- A test begins.
function test._begin_test(name, place)
    world.test, world.place, world.status = name, place, nil
    coverage.resume()
end

--- A test has ended, its hooks have not.
function test._note_status(status)
    world.status = status
end

--- A test and its hooks have ended.
function test._end_test()
    world.finish()
end

--- busted is about to run. `block` tells the kind of its block that runs.
function test._begin(block)
    world.block = block
    clock.install()
    assertions.install()
end

--- Everything has ended.
function test._end()
    world.status = nil
    world.finish()
end

return test
