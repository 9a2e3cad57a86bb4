-- SPDX-License-Identifier: MIT

local base64 = require "perigee.base64"

describe("perigee.base64", function()
    it("encodes and decodes the vectors of RFC 4648", function()
        local vectors = { [""] = "", f = "Zg==", fo = "Zm8=", foo = "Zm9v", foob = "Zm9vYg==", foobar = "Zm9vYmFy" }
        for plain, text in pairs(vectors) do
            assert.equal(text, base64.encode(plain))
            assert.equal(plain, base64.decode(text))
        end
    end)

    it("uses the URL alphabet without padding where asked", function()
        assert.equal("++//", base64.encode("\251\239\255"))
        assert.equal("--__", base64.encode_url("\251\239\255"))
        assert.equal("Zg", base64.encode_url("f"))
        assert.equal("\251\239\255", base64.decode_url("--__"))
    end)

    it("refuses what encoding does not write", function()
        for _, text in ipairs { "Zg", "Zg=", "Zm 8", "Zm8=\n", "Zh==", "--__", "Z", "Zm9v====", "Zm8=Zm8=" } do
            local data, message = base64.decode(text)
            assert.is_nil(data, text)
            assert.equal("not base64", message)
        end
        for _, text in ipairs { "Zg==", "Zh", "++//", "Z", "Zm9v ", "Zm9vY" } do
            assert.is_nil(base64.decode_url(text), text)
        end
    end)

    it("keeps every byte of data larger than its buffer", function()
        local data = {}
        for i = 1, 100000 do
            data[i] = string.char(i * 7 % 256)
        end
        data = table.concat(data)
        assert.equal(data, base64.decode(base64.encode(data)))
        assert.equal(data, base64.decode_url(base64.encode_url(data)))
    end)

    it("raises an error for what is not a string", function()
        assert.has_error(function() base64.encode(nil) end)
        assert.has_error(function() base64.decode(7) end)
    end)
end)
