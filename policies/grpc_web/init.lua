-- SPDX-License-Identifier: MIT
--
-- Lets browsers call gRPC services: requests of gRPC-Web, binary or as base64 text, become gRPC, and the trailers of the
-- response, which scripts of a page cannot read, become the last frame of its body. Other requests pass as they are.

local perigee = require "perigee"
local grpc_web = require "perigee.algo.grpc_web"

local encode = perigee.base64.encode

local GrpcWeb = perigee.policy { name = "grpc_web", stage = "transform" }

-- What follows `prefix` in a content type, without parameters: "" or a suffix such as "+proto"; nil for other types.
local function suffix_of(kind, prefix)
    if not kind or kind:sub(1, #prefix):lower() ~= prefix then
        return nil
    end
    local rest = kind:sub(#prefix + 1)
    local last = (rest:find(";", 1, true) or #rest + 1) - 1
    while rest:sub(last, last) == " " do
        last = last - 1
    end
    rest = rest:sub(1, last)
    return (rest == "" or rest:sub(1, 1) == "+") and rest or nil
end

-- Is a type of gRPC-Web text, and its suffix; nothing for other types.
local function read_type(kind)
    local suffix = suffix_of(kind, "application/grpc-web")
    if suffix then
        return false, suffix
    end
    suffix = suffix_of(kind, "application/grpc-web-text")
    if suffix then
        return true, suffix
    end
end

function GrpcWeb:on_request(req)
    local headers = req.headers
    local is_text, suffix = read_type(headers:get "content-type")
    if suffix then
        local wants_text = read_type(headers:get "accept")
        if wants_text == nil then
            wants_text = is_text
        end
        req.ctx.grpc_web = { is_text = is_text, wants_text = wants_text, rest = "" }
        headers:set("content-type", "application/grpc" .. suffix)
        headers:set("accept", nil)
    end
end

function GrpcWeb:on_request_body(req, chunk, last)
    local call = req.ctx.grpc_web
    if not call or not call.is_text then
        return
    end
    local data
    data, call.rest = grpc_web.decode(call.rest, chunk)
    if not data or last and call.rest ~= "" then
        return perigee.problem(400, "The body is not base64.")
    end
    return data
end

function GrpcWeb:on_response(req, res)
    local call, suffix = req.ctx.grpc_web, suffix_of(res.headers:get "content-type", "application/grpc")
    if call and suffix then
        call.is_answered = true
        local kind = call.wants_text and "application/grpc-web-text" or "application/grpc-web"
        res.headers:set("content-type", kind .. (suffix == "" and "+proto" or suffix))
    end
end

-- The trailers as lines; they are taken out of the response.
local function take_trailers(res)
    local lines, names = {}, {}
    for name, value in res.trailers:iterate() do
        lines[#lines + 1], names[#names + 1] = name .. ":" .. value, name
    end
    for i = 1, #names do
        res.trailers:set(names[i], nil)
    end
    return lines
end

function GrpcWeb:on_response_body(req, res, chunk, last)
    local call = req.ctx.grpc_web
    if not call or not call.is_answered then
        return
    end
    if last then
        chunk = chunk .. grpc_web.frame(take_trailers(res))
    end
    return call.wants_text and encode(chunk) or chunk
end

return GrpcWeb
