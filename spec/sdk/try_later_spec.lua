-- SPDX-License-Identifier: MIT

local try_later = require "perigee.algo.try_later"

describe("a refusal of what may pass later", function()
    local refusal = try_later.new(429, "urn:perigee:full", 'It is "full".')

    it("is a problem document that ends a line, with the members in the order of the proxy's own errors", function()
        local answer = try_later.refuse(refusal, {})
        assert.equal(429, answer.status)
        assert.equal('{"type":"urn:perigee:full","title":"Too Many Requests","status":429,'
            .. '"detail":"It is \\"full\\"."}\n', answer.text)
        assert.equal("Service Unavailable",
            try_later.refuse(try_later.new(503, "urn:perigee:away", "Away."), {}).text:match '"title":"(.-)"')
    end)

    it("has the id of the request, whatever is in it", function()
        assert.matches(',"request_id":"a\\"b\\\\c"}\n', try_later.refuse(refusal, { id = 'a"b\\c' }).text, 1, true)
        assert.matches(',"request_id":null}\n', try_later.refuse(refusal, { id = "\255" }).text, 1, true)
    end)

    it("says when it is worth another try: not before a second, and in whole seconds", function()
        for wait, told in pairs { [0] = 1, [1] = 1, [1.01] = 2, [30] = 30 } do
            assert.equal(told, try_later.headers(wait)["retry-after"])
        end
        assert.equal(1, try_later.refuse(refusal, {}).headers["retry-after"])
        assert.equal(7, try_later.refuse(refusal, {}, try_later.headers(7)).headers["retry-after"])
        assert.equal("application/problem+json", try_later.refuse(refusal, {}).headers["content-type"])
    end)
end)
