-- SPDX-License-Identifier: MIT

local grpc_web = require "perigee.algo.grpc_web"
local perigee = require "perigee"
local test = require "perigee.test"

local base64 = perigee.base64
local MESSAGE = "\0\0\0\0\2hi"
local ANSWER = "\0\0\0\0\5hello"
local TRAILERS = "\128\0\0\0\15grpc-status:0\r\n"

-- A service that answers with a message, or with what is given.
local function service(status, body, headers, trailers)
    return function()
        return test.reply(status or 200, body or ANSWER, headers or { ["content-type"] = "application/grpc+proto" },
            trailers or { ["grpc-status"] = "0" })
    end
end

local function gateway(answer, policies)
    return test.gateway { policies = policies or { "grpc_web" }, upstreams = { api = answer or service() } }
end

-- The bytes of text with padding within.
local function unframed(text)
    return (grpc_web.decode("", text))
end

local function call(gw, kind, body, more)
    local headers = { ["content-type"] = kind, ["x-grpc-web"] = "1", te = "trailers" }
    for name, value in pairs(more or {}) do
        headers[name] = value
    end
    return gw:post("/pkg.Service/Method", { headers = headers, body = body or MESSAGE })
end

describe("grpc_web: a binary call", function()
    for kind, sent in pairs {
        ["application/grpc-web"] = "application/grpc", ["application/grpc-web+proto"] = "application/grpc+proto",
        ["application/grpc-web+json"] = "application/grpc+json", ["Application/gRPC-Web ; a=b"] = "application/grpc",
    } do
        it("of type " .. kind .. " reaches the service as gRPC", function()
            local gw = gateway()
            local res = call(gw, kind)
            local seen = gw.upstreams.api.requests[1]
            assert.equal(sent, seen.headers["content-type"])
            assert.equal(MESSAGE, seen.body)
            assert.equal("application/grpc-web+proto", res.headers["content-type"])
        end)
    end

    it("gets the trailers as the last frame, and not as trailers", function()
        local res = call(gateway(), "application/grpc-web+proto")
        assert.equal(ANSWER .. TRAILERS, res.body)
        assert.is_nil(res.trailers["grpc-status"])
    end)

    it("gets a message that comes in pieces, and the trailers once", function()
        local gw = gateway(service(200, test.stream { ANSWER:sub(1, 4), 0.5, ANSWER:sub(5), 0.5, ANSWER }))
        assert.equal(ANSWER .. ANSWER .. TRAILERS, call(gw, "application/grpc-web").body)
    end)

    it("gets all trailers, in order", function()
        local gw = gateway(service(200, "", nil, { ["grpc-status"] = "5", ["grpc-message"] = "no%20such" }))
        local body = call(gw, "application/grpc-web").body
        assert.is_truthy(body:find("grpc-status:5\r\n", 1, true))
        assert.is_truthy(body:find("grpc-message:no%20such\r\n", 1, true))
        assert.equal(#body - 5, body:byte(5))
    end)

    it("gets an error in the head where there is nothing else", function()
        local gw = gateway(function()
            return test.reply(200, "", { ["content-type"] = "application/grpc", ["grpc-status"] = "12" })
        end)
        local res = call(gw, "application/grpc-web")
        assert.equal("application/grpc-web+proto", res.headers["content-type"])
        assert.equal("12", res.headers["grpc-status"])
    end)

    it("gets text when it accepts that", function()
        local res = call(gateway(), "application/grpc-web", MESSAGE, { accept = "application/grpc-web-text" })
        assert.equal("application/grpc-web-text+proto", res.headers["content-type"])
        assert.equal(ANSWER .. TRAILERS, unframed(res.body))
    end)
end)

describe("grpc_web: a call as text", function()
    it("reaches the service as bytes, and gets text", function()
        local gw = gateway()
        local res = call(gw, "application/grpc-web-text", base64.encode(MESSAGE))
        assert.equal(MESSAGE, gw.upstreams.api.requests[1].body)
        assert.equal("application/grpc", gw.upstreams.api.requests[1].headers["content-type"])
        assert.equal("application/grpc-web-text+proto", res.headers["content-type"])
        assert.equal(ANSWER .. TRAILERS, unframed(res.body))
    end)

    it("may come in pieces", function()
        local gw, text = gateway(), base64.encode(MESSAGE)
        gw:post("/", {
            headers = { ["content-type"] = "application/grpc-web-text" }, chunks = { text:sub(1, 3), 0.1, text:sub(4) },
        })
        assert.equal(MESSAGE, gw.upstreams.api.requests[1].body)
    end)

    it("gets bytes when it accepts those", function()
        local accepting = { accept = "application/grpc-web" }
        local res = call(gateway(), "application/grpc-web-text", base64.encode(MESSAGE), accepting)
        assert.equal(ANSWER .. TRAILERS, res.body)
    end)

    for what, body in pairs { ["no base64"] = "not base64!", ["a group that is not whole"] = "AAAAAAI" } do
        it("with " .. what .. " is refused", function()
            local res = call(gateway(), "application/grpc-web-text", body)
            assert.equal("13", res.headers["grpc-status"])
            assert.equal("application/grpc-web-text+proto", res.headers["content-type"])
            assert.equal("", res.body)
        end)
    end
end)

describe("grpc_web: what it leaves alone", function()
    for _, kind in ipairs { "application/grpc", "application/json", "application/grpc-webx", "text/plain" } do
        it("a request of type " .. kind, function()
            local gw = gateway()
            local res = call(gw, kind)
            assert.equal(kind, gw.upstreams.api.requests[1].headers["content-type"])
            assert.equal(ANSWER, res.body)
            assert.equal("0", res.trailers["grpc-status"])
        end)
    end

    it("a request without a type", function()
        local gw = gateway()
        assert.equal(ANSWER, gw:get("/").body)
    end)

    it("a response that is not gRPC", function()
        local gw = gateway(function() return test.reply(502, "<html>", { ["content-type"] = "text/html" }) end)
        local res = call(gw, "application/grpc-web")
        assert.equal(502, res.status)
        assert.equal("<html>", res.body)
    end)
end)

describe("grpc_web: an answer of another policy", function()
    it("is an error that the page can read", function()
        local origin = "https://app.example"
        local policies = { { "cors", origins = { origin } }, "grpc_web", { "key_auth", keys = { k = "ada" } } }
        local res = call(gateway(nil, policies), "application/grpc-web", nil, { origin = origin })
        assert.equal(200, res.status)
        assert.equal("16", res.headers["grpc-status"])
        assert.equal("application/grpc-web+proto", res.headers["content-type"])
        assert.equal(origin, res.headers["access-control-allow-origin"])
    end)
end)
