-- SPDX-License-Identifier: MIT
local perigee = require "perigee"
local test = require "perigee.test"

local function answer(...)
    local problem = perigee.problem(...)
    local gw = test.gateway { routes = { { handler = function() return problem end } } }
    return gw:get "/"
end

describe("perigee.problem", function()
    it("answers in the form of the proxy's own errors", function()
        local res = answer(403, "Your plan does not include exports.")
        assert.response(res).is.problem(403)
        assert.response(res).has.json {
            type = "about:blank", title = "Forbidden", status = 403, detail = "Your plan does not include exports.",
        }
    end)

    it("ends its line, as they do", function()
        assert.matches("}\n$", answer(403).body)
    end)

    it("needs no more than a status", function()
        assert.response(answer(404)).has.json { type = "about:blank", title = "Not Found", status = 404 }
    end)

    it("takes further members, and another type and title, but no other status", function()
        local res = answer(402, "Too little.", {
            type = "https://example.com/credit", title = "No credit", status = 200, balance = 3,
            accounts = { "a", "b" },
        })
        assert.response(res).has.json {
            type = "https://example.com/credit", title = "No credit", status = 402, detail = "Too little.",
            balance = 3, accounts = { "a", "b" },
        }
    end)

    it("can stand in a configuration as a fixed answer", function()
        local gw = test.gateway { routes = { { reply = perigee.problem(410, "Gone for good.") } } }
        assert.response(gw:get "/").is.problem(410)
    end)

    for what, arguments in pairs {
        ["a status that is no error"] = { 200 },
        ["a status that is no whole number"] = { 404.5 },
        ["a detail that is no text"] = { 404, {} },
        ["members that are no table"] = { 404, nil, "x" },
        ["a member without a name"] = { 404, nil, { "x" } },
        ["a title that is no text"] = { 404, nil, { title = 1 } },
    } do
        it("refuses " .. what, function()
            local ok, message = pcall(perigee.problem, unpack(arguments, 1, 3))
            assert.is_false(ok)
            assert.matches("perigee.problem: ", message, 1, true)
        end)
    end
end)

describe("the headers of a fixed answer", function()
    for _, name in ipairs {
        "Content-Length", "transfer-encoding", "Connection", "upgrade", "trailer", "TE", "keep-alive",
    } do
        it("leave " .. name .. " to the proxy", function()
            local errors = test.errors { routes = { { reply = { body = "x", headers = { [name] = "1" } } } } }
            assert.matches("^routes%[1%]%.reply%.headers", errors[1].path)
            assert.matches("the proxy writes it itself", errors[1].message, 1, true)
        end)
    end
end)
