-- SPDX-License-Identifier: MIT
--
-- The test kit: `require "perigee.test"` in a spec that `perigee test` runs. See docs/testing.md.

local assertions = require "perigee.test.assertions"
local gateway = require "perigee.test.gateway"
local upstream = require "perigee.test.upstream"
local world = require "perigee.test.world"

---@class perigee.test
local test = {
    reply = upstream.reply,
    stream = upstream.stream,
    fail = upstream.fail,
}

local function or_raise(found, errors)
    if found then
        return found
    end
    error("the configuration is refused:\n" .. gateway.format_errors(errors), 2)
end

--- A gateway in memory. Raises an error that lists what is wrong with the configuration.
---@param config table as a configuration file returns it; upstreams may be functions
---@param options? perigee.test.Options
---@return perigee.test.Gateway
function test.gateway(config, options)
    return or_raise(gateway.new(config, options))
end

--- A gateway for a configuration file.
---@param path string
---@param options? perigee.test.Options
---@return perigee.test.Gateway
function test.load(path, options)
    return or_raise(gateway.load(path, options))
end

--- What is wrong with a configuration: a list of { file, line, path, message }, empty when it is accepted.
---@param config table
---@param options? perigee.test.Options
---@return table[]
function test.errors(config, options)
    local found, errors = gateway.new(config, options)
    if found then
        found:close()
    end
    return errors or {}
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
function test._begin_test(name)
    world.test, world.status = name, nil
end

--- A test has ended, its hooks have not.
function test._note_status(status)
    world.status = status
end

--- A test and its hooks have ended.
function test._end_test()
    world.finish()
end

--- busted is about to run.
function test._begin()
    assertions.install()
end

--- Everything has ended.
function test._end()
    world.status = nil
    world.finish()
end

return test
