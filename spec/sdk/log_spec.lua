-- SPDX-License-Identifier: MIT

local ffi = require "ffi"
local current = require "perigee._core.current"

describe("perigee.log", function()
    local log, lines

    -- The module binds ffi.C when it is loaded: load it once more over a stand-in that keeps the lines.
    before_each(function()
        lines = {}
        local runtime = setmetatable({}, { __index = ffi.C })
        function runtime.peri_ffi_log_is_on(level)
            return level >= 1 and 1 or 0
        end
        function runtime.peri_ffi_log(level, text, len)
            lines[#lines + 1] = level .. " " .. text:sub(1, len)
        end
        local loaded, stand_in = package.loaded.ffi, setmetatable({ C = runtime }, { __index = ffi })
        package.loaded.ffi, package.loaded["perigee.log"] = stand_in, nil
        log = require "perigee.log"
        package.loaded.ffi, package.loaded["perigee.log"] = loaded, nil
        current.policy = false
    end)

    it("writes messages at their levels", function()
        log.debug("not written")
        log.info("one")
        log.warn("two")
        log.error("three")
        assert.same({ "1 one", "2 two", "3 three" }, lines)
    end)

    it("puts the name of the policy in front", function()
        current.policy = "jwt"
        log.warn("refused")
        assert.same({ "2 jwt: refused" }, lines)
    end)

    it("adds fields in the order of their names, with texts quoted", function()
        log.info("m", { b = 'say "hi" \\o/', a = 1.5, c = true, d = {} })
        assert.same({ [[1 m a=1.5 b="say \"hi\" \\o/" c=true d=(table)]] }, lines)
    end)

    it("takes any value as a message", function()
        log.info(nil)
        log.info(42)
        assert.same({ "1 nil", "1 42" }, lines)
    end)

    it("raises an error for fields that are no table", function()
        assert.has_error(function() log.info("m", "fields") end, "fields are a table of names and values, not a string")
    end)
end)
