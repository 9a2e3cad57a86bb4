-- SPDX-License-Identifier: MIT

local base64 = require "perigee.base64"
local grpc_web = require "perigee.algo.grpc_web"

-- What arrives when `text` comes in pieces of `size` letters, and what is left.
local function decode(text, size)
    local out, rest = {}, ""
    for at = 1, #text, size do
        local data
        data, rest = grpc_web.decode(rest, text:sub(at, at + size - 1))
        if not data then
            return nil
        end
        out[#out + 1] = data
    end
    return table.concat(out), rest
end

describe("base64 in pieces", function()
    local BYTES = "\0\0\0\0\5hello\128\255 and some more"

    for _, size in ipairs { 1, 2, 3, 4, 5, 7, 100 } do
        it("of " .. size .. " letters gives the bytes", function()
            assert.same({ BYTES, "" }, { decode(base64.encode(BYTES), size) })
        end)

        it("of " .. size .. " letters may have padding within", function()
            local text = base64.encode "a" .. base64.encode "bc" .. base64.encode "def" .. base64.encode "g"
            assert.same({ "abcdefg", "" }, { decode(text, size) })
        end)

        it("of " .. size .. " letters keeps what is no whole group", function()
            assert.same({ "abc", "ZG" }, { decode("YWJjZG", size) })
        end)
    end

    for _, text in ipairs { "====", "Y===", "YQ=a", "Y Q=", "YQ=\n", "YWJj====", "=YWJ", "YR==", "\0\0\0\0" } do
        it(("%q is refused"):format(text), function()
            assert.is_nil((decode(text, 100)))
        end)
    end

    it("of nothing is nothing", function()
        assert.same({ "", "YQ" }, { grpc_web.decode("YQ", "") })
    end)
end)

describe("a frame of trailers", function()
    it("has its flag, its length in four bytes and lines", function()
        local frame = grpc_web.frame { "grpc-status:0", "grpc-message:" }
        assert.equal("\128\0\0\0\30grpc-status:0\r\ngrpc-message:\r\n", frame)
    end)

    it("may be empty", function()
        assert.equal("\128\0\0\0\0", grpc_web.frame {})
    end)

    it("may be long", function()
        assert.equal("\128\0\1\17\114", grpc_web.frame({ ("x"):rep(70000) }):sub(1, 5))
    end)
end)
