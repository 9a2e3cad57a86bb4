local test = require "perigee.test"

describe("NAME", function()
    it("marks responses", function()
        local gw = test.gateway { policies = { { "NAME", value = "yes" } } }
        local res = gw:get "/"
        assert.response(res).has.status(200)
        assert.response(res).has.header("x-policy", "yes")
    end)

    it("answers for the closed path itself", function()
        local gw = test.gateway { policies = { { "NAME", closed = "/internal" } } }
        assert.response(gw:get "/internal").has.status(403)
        assert.same({}, gw.upstreams.api.requests)
    end)

    it("leaves other paths open", function()
        local gw = test.gateway { policies = { { "NAME", closed = "/internal" } } }
        assert.response(gw:get "/internal/more").has.status(200)
        assert.equal(1, #gw.upstreams.api.requests)
    end)

    it("wants a text for the header", function()
        local errors = test.errors { policies = { { "NAME", value = 1 } } }
        assert.equal("policies[1].value", errors[1].path)
    end)
end)
