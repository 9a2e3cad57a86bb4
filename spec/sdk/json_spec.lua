-- SPDX-License-Identifier: MIT

local json = require "perigee.json"

describe("json.decode", function()
    it("turns values into Lua's", function()
        assert.same({ a = { 1, 2.5, -3e10 }, b = "x", c = true, d = false },
            json.decode '{"a":[1,2.5,-3e10],"b":"x","c":true,"d":false}')
        assert.equal(7, json.decode " 7 ")
        assert.equal("x", json.decode '"x"')
        assert.is_false(json.decode "false")
    end)

    it("gives json.null for null, never nil", function()
        assert.equal(json.null, json.decode "null")
        assert.equal(json.null, json.decode '{"a":null}'.a)
        assert.equal(3, #json.decode "[null,1,null]")
    end)

    it("keeps zero bytes and characters beyond the first plane", function()
        assert.equal("a\0b", json.decode [["a\u0000b"]])
        assert.equal("\240\159\152\128", json.decode [["\ud83d\ude00"]])
    end)

    it("reads numbers that no integer holds", function()
        assert.equal(2 ^ 64, json.decode "18446744073709551616")
        assert.equal(1e300, json.decode "1e300")
    end)

    it("knows which tables were arrays", function()
        local value = json.decode '{"list":[],"map":{},"full":[1]}'
        assert.is_true(json.is_array(value.list))
        assert.is_true(json.is_array(value.full))
        assert.is_false(json.is_array(value.map))
        assert.is_false(json.is_array("x"))
    end)

    it("refuses malformed text with the line", function()
        local texts = { "", "{", "[1,]", "{'a':1}", "[1] 2", "nan", '"\\ud800"', '"\255"', "1e999", '{"a" 1}' }
        for _, text in ipairs(texts) do
            local value, message = json.decode(text)
            assert.is_nil(value, text)
            assert.matches("^line 1: ", message)
        end
        local _, message = json.decode '{\n"a": 1,\n"b" 2}'
        assert.matches("^line 3: ", message)
    end)

    it("refuses an object that has a name twice", function()
        assert.is_nil(json.decode '{"role":"user","role":"admin"}')
    end)

    it("refuses more than 128 levels and takes 128", function()
        assert.is_table(json.decode(("["):rep(128) .. ("]"):rep(128)))
        for _, text in ipairs { ("["):rep(129) .. ("]"):rep(129), ("["):rep(100000), ('{"a":'):rep(100000) } do
            local value, message = json.decode(text)
            assert.is_nil(value)
            assert.matches("deeper than 128", message)
        end
    end)

    it("refuses text above the limit given", function()
        assert.same({}, json.decode("[]", 2))
        local value, message = json.decode("[ ]", 2)
        assert.is_nil(value)
        assert.equal("the text is longer than 2 bytes", message)
    end)

    it("raises an error for what is not a string", function()
        assert.has_error(function() json.decode(nil) end)
        assert.has_error(function() json.decode({}) end)
    end)
end)

describe("json.encode", function()
    it("writes names sorted, without white space", function()
        assert.equal('{"a":1,"b":[true,false,"x"],"c":{"d":null}}',
            json.encode { c = { d = json.null }, b = { true, false, "x" }, a = 1 })
    end)

    it("escapes what must be escaped and nothing else", function()
        assert.equal([["\"\\\b\f\n\r\t\u0000\u001f/é€]] .. '\127"', json.encode('"\\\b\f\n\r\t\0\31/é€\127'))
    end)

    it("writes numbers in the shortest form that reads back", function()
        local cases = { [0] = "0", [-1] = "-1", [0.1] = "0.1", [1e15] = "1e+15", [123456789012345] = "123456789012345",
            [1 / 3] = "0.3333333333333333", [1e300] = "1e+300", [5e-324] = "4.94065645841247e-324" }
        for number, text in pairs(cases) do
            assert.equal(text, json.encode(number))
            assert.equal(number, json.decode(text))
        end
    end)

    it("writes an empty table as an object, and as an array when it is marked", function()
        assert.equal("{}", json.encode {})
        assert.equal("[]", json.encode(json.array()))
        assert.equal("[]", json.encode(json.array {}))
        assert.equal('{"a":[],"b":{}}', json.encode(json.decode '{"a":[],"b":{}}'))
    end)

    it("keeps a decoded array an array when it has become empty", function()
        local value = json.decode "[1]"
        value[1] = nil
        assert.equal("[]", json.encode(value))
    end)

    local function refusal(value)
        local text, message = json.encode(value)
        assert.is_nil(text)
        return message
    end

    it("refuses what JSON cannot hold and says what", function()
        assert.equal("JSON cannot hold a number that is not finite", refusal(0 / 0))
        assert.equal("JSON cannot hold a number that is not finite", refusal { 1, 1 / 0 })
        assert.equal("JSON cannot hold a number that is not finite", refusal(-1 / 0))
        assert.equal("JSON cannot hold a value that is a function", refusal { a = print })
        assert.equal("JSON cannot hold a value that is a nil", refusal(nil))
        assert.equal("JSON cannot hold a value that is a thread", refusal(coroutine.create(print)))
        assert.equal("JSON cannot hold a sparse array", refusal { 1, nil, 3, nil, nil, 6 })
        assert.equal("JSON cannot hold a sparse array", refusal { [2] = 1 })
        assert.equal("JSON cannot hold a sparse array", refusal { [1] = 1, [1.5] = 2 })
        assert.equal("JSON cannot hold a sparse array", refusal(json.array { [3] = 1 }))
        assert.equal("JSON cannot hold a table with both positions and names", refusal { 1, a = 2 })
        assert.equal("JSON cannot hold a table with both positions and names", refusal(json.array { a = 2 }))
        assert.equal("JSON cannot hold a name that is a boolean", refusal { [true] = 1 })
        assert.equal("JSON cannot hold a string that is not UTF-8", refusal "a\255")
        assert.equal("JSON cannot hold a string that is not UTF-8", refusal { ["\192\128"] = 1 })
    end)

    it("refuses every broken UTF-8 sequence and takes every whole one", function()
        for _, text in ipairs { "\128", "\194", "\224\159\128", "\237\160\128", "\240\143\128\128", "\244\144\128\128",
            "\245\128\128\128", "\226\130", "\226\130a", "a\194" } do
            assert.matches("not UTF%-8", refusal(text))
        end
        for _, text in ipairs { "\194\128", "\224\160\128", "\237\159\191", "\238\128\128", "\240\144\128\128",
            "\244\143\191\191" } do
            assert.equal('"' .. text .. '"', json.encode(text))
        end
    end)

    it("refuses a table that contains itself, but not one that occurs twice", function()
        local loop = {}
        loop.self = { loop }
        assert.equal("JSON cannot hold a table that contains itself", refusal(loop))
        local leaf = { 1 }
        assert.equal("[[1],[1]]", json.encode { leaf, leaf })
    end)

    it("refuses more than 128 levels", function()
        local value = {}
        for _ = 1, 127 do
            value = { value }
        end
        assert.is_string(json.encode(value))
        assert.equal("JSON cannot hold more than 128 levels", refusal { value })
    end)

    it("cannot be misled by changing the mark of arrays", function()
        local list = json.decode "[1]"
        assert.equal("json.array", getmetatable(list))
        assert.has_error(function() setmetatable(list, {}) end)
    end)
end)
