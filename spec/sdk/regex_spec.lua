-- SPDX-License-Identifier: MIT

local regex = require "perigee.regex"

describe("perigee.regex", function()
    it("captures the whole match, groups by number and groups by name", function()
        local date = assert(regex.compile [[(?<year>\d{4})-(\d\d)(-\d\d)?]])
        local found = date:match "on 2026-11 it was"
        assert.same({ [0] = "2026-11", "2026", "11", year = "2026" }, found)
        assert.equal(3, date.groups)
        assert.is_nil(found[3])
        local found_nothing, message = date:match "never"
        assert.is_nil(found_nothing)
        assert.is_nil(message)
    end)

    it("finds positions as string.find does", function()
        local number = assert(regex.compile [[\d+]])
        assert.same({ 3, 4 }, { number:find "ab12cd" })
        assert.same({ 4, 4 }, { number:find("ab12cd", 4) })
        assert.is_nil(number:find("ab12cd", 5))
        assert.is_nil(number:find("ab12cd", 99))
        assert.is_nil(number:find("ab12cd", 0))
    end)

    it("tells an empty capture from one without part in the match", function()
        local found = assert(regex.compile "a(b*)(c)?"):match "a"
        assert.equal("", found[1])
        assert.is_nil(found[2])
    end)

    it("takes flags", function()
        assert.is_true(assert(regex.compile("AB", "i")):test "ab")
        assert.is_true(assert(regex.compile("^b", "m")):test "a\nb")
        assert.is_true(assert(regex.compile("a.b", "s")):test "a\nb")
        assert.is_true(assert(regex.compile("a b", "x")):test "ab")
        assert.is_true(assert(regex.compile("^.$", "u")):test "é")
        assert.is_false(assert(regex.compile("^.$")):test "é")
    end)

    it("refuses a bad pattern or flag with the reason", function()
        local compiled, message = regex.compile "a(b"
        assert.is_nil(compiled)
        assert.matches("missing closing parenthesis.* %(at offset 3%)", message)
        compiled, message = regex.compile("a", "ig")
        assert.is_nil(compiled)
        assert.equal("unknown flag 'g'; the flags are i, m, s, u and x", message)
    end)

    it("replaces every match, with groups and dollars", function()
        local pair = assert(regex.compile [[(\w+)=(\w+)]])
        local text, count = pair:replace("a=1, b=2;", "$2:$1 $$ [$0]")
        assert.equal("1:a $ [a=1], 2:b $ [b=2];", text)
        assert.equal(2, count)
        assert.same({ "nothing", 0 }, { pair:replace("nothing", "$1") })
        assert.same({ "", 0 }, { pair:replace("", "$1") })
    end)

    it("replaces empty matches once each", function()
        assert.same({ "-a-b-", 3 }, { assert(regex.compile "x*"):replace("ab", "-") })
        assert.same({ "-a--b-", 4 }, { assert(regex.compile "x*"):replace("axb", "-") })
        assert.same({ "-", 1 }, { assert(regex.compile "x*"):replace("", "-") })
    end)

    it("puts nothing for a group without part in the match", function()
        assert.equal("[]", (assert(regex.compile "a(b)?"):replace("a", "[$1]")))
    end)

    it("raises an error for a replacement that names no group", function()
        local pattern = assert(regex.compile "(a)")
        assert.has_error(function() pattern:replace("a", "$2") end)
        assert.has_error(function() pattern:replace("a", "$x") end)
        assert.has_error(function() pattern:replace("a", "a$") end)
    end)

    it("reports a costly search as a failure, never as no match", function()
        local costly = assert(regex.compile "^(a|aa)+[bc]")
        local subject = ("a"):rep(100)
        local found, message = costly:match(subject)
        assert.is_nil(found)
        assert.equal("the search reached its limit", message)
        assert.same({ nil, "the search reached its limit" }, { costly:find(subject) })
        assert.same({ nil, "the search reached its limit" }, { costly:replace(subject, "") })
        assert.has_error(function() costly:test(subject) end, "the search reached its limit")
    end)

    it("matches zero bytes", function()
        assert.equal("\0", assert(regex.compile [[\x00]]):match("a\0b")[0])
    end)

    it("raises an error instead of crashing when a method gets another table", function()
        local pattern = assert(regex.compile "a")
        assert.has_error(function() pattern.match({}, "a") end)
        assert.has_error(function() pattern.match("a") end)
    end)
end)
