-- SPDX-License-Identifier: MIT

local test = require "perigee.test"

local function gateway(hook, result)
    local code = "local P = require('perigee').policy { name = 'probe', stage = 'transform' }\nfunction P:" .. hook
        .. " if chunk ~= '' then return " .. result .. " end end\nreturn P"
    return test.gateway({ policies = { "probe" } }, { files = { ["policies/probe/init.lua"] = code } })
end

describe("a body hook that changes how long the body is", function()
    for _, case in ipairs {
        { "longer", "chunk .. ' and more'", "hello and more" },
        { "shorter", "chunk:sub(1, 2)", "he" },
        { "empty", "''", "" },
    } do
        it("leaves a whole request when it is made " .. case[1], function()
            local gw = gateway("on_request_body(req, chunk)", case[2])
            for _ = 1, 2 do -- the second shares the connection, which nothing may be left on
                assert.equal(200, gw:post("/", { body = "hello" }).status)
            end
            for i = 1, 2 do
                assert.equal(case[3], gw.upstreams.api.requests[i].body)
            end
        end)

        it("leaves a whole response when it is made " .. case[1], function()
            local gw = gateway("on_response_body(req, res, chunk)", case[2])
            for _ = 1, 2 do
                assert.equal((case[3]:gsub("hello", "ok"):gsub("he", "ok")), gw:get("/").body)
            end
        end)
    end
end)
