-- SPDX-License-Identifier: MIT

local junit = require "perigee.test._core.junit"
local options = require "perigee.test._core.options"
local plain = require "perigee.test._core.plain"

describe("a text for machines", function()
    it("stays as it is when it is UTF-8 without control characters", function()
        local ends = "\239\191\189\237\159\191\238\128\128"
        for _, text in ipairs { "", "plain", "tab\tand\nnewline", "é ß € 𝄞", ends } do
            assert.equal(text, plain.text(text))
        end
    end)

    it("shows bytes that no reader of XML or JSON takes", function()
        for bytes, text in pairs {
            ["a\0b\27c\127"] = "a\\x00b\\x1Bc\\x7F",
            ["\255\254"] = "\\xFF\\xFE",
            ["\192\175"] = "\\xC0\\xAF", -- overlong
            ["\237\160\128"] = "\\xED\\xA0\\x80", -- a surrogate
            ["\239\191\191"] = "\\xEF\\xBF\\xBF", -- U+FFFF
            ["\244\144\128\128"] = "\\xF4\\x90\\x80\\x80", -- above U+10FFFF
            ["é\195"] = "é\\xC3", -- cut off
            ["\128é"] = "\\x80é",
            ["a\rb\r\nc"] = "a\\x0Db\nc",
        } do
            assert.equal(text, plain.text(bytes))
        end
    end)

    it("is one line where there is room for one", function()
        assert.equal("a b c", plain.line "a\n\n\tb\r\nc")
    end)
end)

describe("JUnit XML", function()
    it("groups cases by file, with what went wrong as text", function()
        local text = junit.format {
            cases = {
                { file = "a/spec.lua", line = 3, name = "<b> & \"\n", status = "success", seconds = 0.5,
                    problems = {} },
                { file = "b.lua", name = "b.lua", status = "error", seconds = 0, problems = {
                    { message = "b.lua:2: no ]]> here", place = "b.lua:2" },
                    { message = "and\nmore", place = "c.lua:7" },
                } },
                { file = "a/spec.lua", line = 9, name = "later", status = "skipped", seconds = 0,
                    problems = {} },
            },
        }
        text = text:gsub('timestamp="[^"]*"', 'timestamp=""')
        assert.equal([=[
<?xml version="1.0" encoding="UTF-8"?>
<testsuites name="perigee test" tests="3" failures="0" errors="1" skipped="1" time="0.500000">
  <testsuite name="a/spec.lua" timestamp="" tests="2" failures="0" errors="0" skipped="1" time="0.500000">
    <testcase classname="a.spec" name="&lt;b&gt; &amp; &quot;&#10;" file="a/spec.lua" line="3" time="0.500000"/>
    <testcase classname="a.spec" name="later" file="a/spec.lua" line="9" time="0.000000">
      <skipped message=""/>
    </testcase>
  </testsuite>
  <testsuite name="b.lua" timestamp="" tests="1" failures="0" errors="1" skipped="0" time="0.000000">
    <testcase classname="b" name="b.lua" file="b.lua" time="0.000000">
      <error message="b.lua:2: no ]]&gt; here" type="error">b.lua:2: no ]]&gt; here

c.lua:7: and
more</error>
    </testcase>
  </testsuite>
</testsuites>
]=], text)
    end)
end)

describe("the command line of perigee test", function()
    it("is taken apart into what the kit does and what busted does", function()
        local line = options.parse {
            "spec", "--coverage", "--min=80%", "--lcov", "l.info", "--junit=j.xml", "--tags=slow", "--filter", "a b",
            "-v",
        }
        assert.same({ true, false, 80 }, { line.coverage, line.tap, line.min })
        assert.same({ "l.info", "j.xml" }, { line.lcov, line.junit })
        assert.same({ "spec", "--tags=slow", "--filter=a b", "-v" }, line.rest)
    end)

    it("measures coverage when something is asked of it, and not for a list", function()
        assert.is_false(options.parse({}).coverage)
        assert.is_true(options.parse({ "-c" }).coverage)
        assert.is_true(options.parse({ "--min", "7.5" }).coverage)
        assert.is_true(options.parse({ "--lcov=x" }).coverage)
        assert.is_false(options.parse({ "--coverage", "--list" }).coverage)
    end)

    it("knows TAP by three names", function()
        for _, words in ipairs { { "--tap" }, { "-o", "tap" }, { "--output=TAP" } } do
            local line = options.parse(words)
            assert.is_true(line.tap)
            assert.same({ "--output=perigee.test._core.silent" }, line.rest)
        end
        assert.same({ "--output=gtest" }, options.parse({ "-o", "gtest" }).rest)
    end)

    it("says what it does not understand", function()
        for message, words in pairs {
            ["--min expects per cent of lines, such as 80%, not 'x'"] = { "--min", "x" },
            ["--min expects per cent of lines, such as 80%, not '101'"] = { "--min=101" },
            ["--junit expects a value"] = { "--junit" },
            ["--lcov expects a value"] = { "--lcov=" },
            ["--filter expects a Lua pattern: malformed pattern (missing ']')"] = { "--filter=[" },
        } do
            assert.same({ nil, message }, { options.parse(words) })
        end
    end)
end)
