-- SPDX-License-Identifier: MIT

local uri = require "perigee.uri"

describe("perigee.uri", function()
    it("encodes everything but unreserved characters", function()
        assert.equal("AZaz09-._~", uri.encode "AZaz09-._~")
        assert.equal("a%20b%2Fc%3F%26%3D%25%2B%00%C3%A9", uri.encode "a b/c?&=%+\0é")
        assert.equal("", uri.encode "")
    end)

    it("decodes what it encoded, byte for byte", function()
        local all = {}
        for code = 0, 255 do
            all[#all + 1] = string.char(code)
        end
        local bytes = table.concat(all)
        assert.equal(bytes, uri.decode(uri.encode(bytes)))
    end)

    it("decodes a plus as a space only where asked", function()
        assert.equal("a+b", uri.decode "a+b")
        assert.equal("a b c", uri.decode("a+b%20c", true))
    end)

    it("refuses a broken escape", function()
        for _, text in ipairs { "%", "%2", "%zz", "a%2" } do
            local plain, message = uri.decode(text)
            assert.is_nil(plain)
            assert.equal("a percent sign is not followed by two hex digits", message)
        end
    end)

    it("normalises paths as requests are", function()
        assert.equal("/a/b", uri.normalize_path "/a//./x/../%62")
        for _, path in ipairs { "/a%2Fb", "/a%5cb", "/a\\b", "/a%00", "" } do
            local normal, message = uri.normalize_path(path)
            assert.is_nil(normal, path)
            assert.equal("the path is malformed or ambiguous", message)
        end
    end)

    it("takes URLs apart", function()
        assert.same({ scheme = "http", host = "example.com", port = 8080, path = "/a/b", query = "x=1&y=%20" },
            uri.parse "HTTP://Example.COM:8080/a/./b?x=1&y=%20")
        assert.same({ path = "/a", query = "b" }, uri.parse "/a?b")
        assert.same({ scheme = "https", host = "example.com", path = "/" }, uri.parse "https://example.com")
    end)

    it("refuses URLs that can be read in two ways", function()
        for _, text in ipairs { "", "a b", "http://user@host/", "http://host/#f", "http:///x", "http://host:99999/" } do
            assert.is_nil(uri.parse(text), text)
        end
    end)

    it("reads a query as pairs in their order, decoded", function()
        assert.same({ { "b", "1" }, { "a", "x y" }, { "b", "" }, { "c", "" } }, uri.parse_query "b=1&&a=x+y&b=&c")
        assert.same({ { "a", "b=c" }, { "&", "=" } }, uri.parse_query "a=b=c&%26=%3D")
        assert.same({}, uri.parse_query "")
        assert.is_nil(uri.parse_query "a=%")
    end)

    it("writes a query from pairs, or sorted from a table", function()
        assert.equal("b=1&a=x%20y&b=", uri.format_query { { "b", 1 }, { "a", "x y" }, { "b", "" } })
        assert.equal("a=true&b=%26", uri.format_query { b = "&", a = true })
        assert.equal("", uri.format_query {})
    end)

    it("keeps results apart that come one after the other", function()
        local first = uri.parse "/first?1"
        uri.parse "/second?2"
        assert.equal("/first", first.path)
    end)
end)
