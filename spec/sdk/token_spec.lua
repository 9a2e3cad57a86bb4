-- SPDX-License-Identifier: MIT

local token = require "perigee.algo.token"

describe("a token", function()
    it("has letters, digits and the marks of RFC 9110, and is not empty", function()
        for _, text in ipairs { "x-user", "GET", "A9!#$%&'*+-.^_`|~" } do
            assert.is_true(token.is(text), text)
        end
    end)

    it("has no separator, space or byte outside ASCII", function()
        for _, text in ipairs { "", "a b", "a:b", "a/b", "a,b", "(a)", '"a"', "a\n", "a\0", "\195\164" } do
            assert.is_false(token.is(text), text)
        end
    end)
end)
