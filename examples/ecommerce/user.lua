-- SPDX-License-Identifier: MIT
--
-- The user service: checks passwords, gives tokens, knows the users.

local perigee = require "perigee"
local at = require "addresses"(env)
local key = file "jwt.key"

-- Made with perigee.crypto.password.hash; the passwords of the demo are in the README.
local users = {
    ada = {
        name = "Ada Lovelace",
        role = "customer",
        hash = "$pbkdf2-sha256$i=20000$qFVllScLhsGLEvs17e797w$ZtSqMfw8XUJyZhaa0j4wAW8fUJH86y1KfLCkQxBWPF0",
    },
    root = {
        name = "The Administrator",
        role = "admin",
        hash = "$pbkdf2-sha256$i=20000$ot1sEZIbC8fLES6HT4ONew$lKL+3pCvU8oSkNeNbHudnqFlcXlT/iN+W4K/+wCikfU",
    },
}
local nobody = users.ada.hash -- what an unknown name's password is compared with, so that it takes as long

local function login(req)
    local given = req.body:json(4096)
    if type(given) ~= "table" or type(given.user) ~= "string" or type(given.password) ~= "string" then
        return reply(400, { error = "send {\"user\": …, \"password\": …}" })
    end
    local user = users[given.user]
    if not perigee.crypto.password.verify(given.password, user and user.hash or nobody) or not user then
        return reply(401, { error = "unknown user or wrong password" })
    end
    local now = math.floor(perigee.time.now())
    local claims = { iss = "shop", sub = given.user, role = user.role, iat = now, exp = now + 3600 }
    return reply(200, { token = assert(perigee.jwt.sign(claims, { alg = "HS256", key = key })) })
end

local function me(req)
    local name = req.headers["x-user"]
    local user = users[name]
    if not user then
        return reply(404, { error = "no such user" })
    end
    return reply(200, { user = name, name = user.name, role = user.role })
end

local function list()
    local names = {}
    for name, user in pairs(users) do
        names[#names + 1] = { user = name, name = user.name, role = user.role }
    end
    table.sort(names, function(a, b) return a.user < b.user end)
    return reply(200, names)
end

return {
    workers = 0,
    listeners = { { address = at.services.user } },
    policies = { { "request_id", trust = true } },
    routes = {
        { name = "login", match = { path = "/login", methods = { "POST" } }, handler = login },
        { name = "me", match = { path = "/users/me" }, handler = me },
        { name = "list", match = { path = "/users" }, handler = list },
    },
}
