-- SPDX-License-Identifier: MIT

local json = require "perigee.json"
local jwt = require "perigee.jwt"
local test = require "perigee.test"

local SECRET = ("s"):rep(32)

-- Stands in for what authenticates: the consumer, groups and claims come from the case.
local IDENTITY = [[
local perigee = require "perigee"
local Identity = perigee.policy {
    name = "identity", stage = "auth",
    schema = { consumer = "string", groups = "any", claims = "any" },
}
function Identity:on_request(req)
    req.consumer = self.conf.consumer
    req.ctx.groups, req.ctx.jwt = self.conf.groups, self.conf.claims
end
return Identity
]]

local function status_of(identity, acl)
    local first, second = { "identity" }, { "acl" }
    for name, value in pairs(identity) do
        first[name] = value
    end
    for name, value in pairs(acl) do
        second[name] = value
    end
    local gw = test.gateway({ policies = { first, second } }, { files = { ["policies/identity/init.lua"] = IDENTITY } })
    local res = gw:get "/"
    if res.status ~= 200 then
        assert.response(res).is.problem(res.status)
        assert.equal(0, #gw.upstreams.api.requests)
        assert.equal(res.status == 401, res.headers["www-authenticate"] ~= nil)
    end
    return res.status
end

local function describe_case(identity, acl)
    local function text(value)
        return (assert(json.encode(value)):gsub('"', ""))
    end
    return text(acl) .. " to " .. text(identity)
end

local STAFF = { allow = { "staff", "admin" } }
local NO_GUESTS = { deny = { "guest" } }
local BOTH = { allow = { "staff" }, deny = { "night" } }

describe("acl by groups", function()
    local cases = {
        { {}, STAFF, 401 }, { {}, NO_GUESTS, 401 }, { { groups = { "staff" } }, STAFF, 401 },
        { { consumer = "ada" }, STAFF, 403 }, { { consumer = "ada" }, NO_GUESTS, 200 },
        { { consumer = "ada" }, BOTH, 403 },
        { { consumer = "ada", groups = { "staff" } }, STAFF, 200 },
        { { consumer = "ada", groups = { "x", "admin" } }, STAFF, 200 },
        { { consumer = "ada", groups = { "x", "y" } }, STAFF, 403 },
        { { consumer = "ada", groups = {} }, STAFF, 403 },
        { { consumer = "ada", groups = "staff" }, STAFF, 200 },
        { { consumer = "ada", groups = "staff admin" }, STAFF, 403 },
        { { consumer = "ada", groups = { "Staff" } }, STAFF, 403 },
        { { consumer = "ada", groups = { "staff " } }, STAFF, 403 },
        { { consumer = "staff", groups = {} }, STAFF, 403 },
        { { consumer = "ada", groups = { staff = true } }, STAFF, 403 },
        { { consumer = "ada", groups = { { "staff" } } }, STAFF, 403 },
        { { consumer = "ada", groups = true }, STAFF, 403 }, { { consumer = "ada", groups = 1 }, STAFF, 403 },
        { { consumer = "ada", groups = { "guest" } }, NO_GUESTS, 403 },
        { { consumer = "ada", groups = "guest" }, NO_GUESTS, 403 },
        { { consumer = "ada", groups = { "x", "guest" } }, NO_GUESTS, 403 },
        { { consumer = "ada", groups = { "x" } }, NO_GUESTS, 200 },
        { { consumer = "ada", groups = { "staff", "night" } }, BOTH, 403 },
        { { consumer = "ada", groups = { "night", "staff" } }, BOTH, 403 },
        { { consumer = "ada", groups = { "staff", "day" } }, BOTH, 200 },
        { { consumer = "ada", groups = { "day" } }, BOTH, 403 },
        { { claims = {}, groups = { "staff" } }, STAFF, 200 }, -- a token without a subject
        { { claims = { role = "staff" }, consumer = "ada" }, STAFF, 403 },
    }
    for _, case in ipairs(cases) do
        it(("answers %d with %s"):format(case[3], describe_case(case[1], case[2])), function()
            assert.equal(case[3], status_of(case[1], case[2]))
        end)
    end
end)

describe("acl by a claim", function()
    local function by(claim, allow, deny)
        return { claim = claim, allow = allow, deny = deny }
    end
    local ADMIN = by("role", { "admin" })
    local SPACED = by("role", { "super user" })
    local SCOPE = by("scope", { "orders:write" })
    local NESTED = by("realm_access.roles", { "admin" })
    local URL = by("https://shop.example/roles", { "admin" })
    local cases = {
        { {}, ADMIN, 401 }, { { consumer = "ada" }, ADMIN, 403 },
        { { consumer = "ada", groups = { "admin" } }, ADMIN, 403 }, -- by key: there is no claim
        { { claims = {} }, ADMIN, 403 }, { { claims = { role = "admin" } }, ADMIN, 200 },
        { { claims = { role = { "x", "admin" } } }, ADMIN, 200 },
        { { claims = { role = "administrator" } }, ADMIN, 403 },
        { { claims = { role = "user admin" } }, ADMIN, 403 }, -- one value: it may be a free text
        { { claims = { role = "super user" } }, SPACED, 200 },
        { { claims = { role = { admin = true } } }, ADMIN, 403 }, { { claims = { role = true } }, ADMIN, 403 },
        { { claims = { role = json.null } }, ADMIN, 403 },
        { { claims = { role = "guest" } }, by("role", nil, { "guest" }), 403 },
        { { claims = { role = "ada" } }, by("role", nil, { "guest" }), 200 },
        { { claims = { role = { "admin", "guest" } } }, by("role", { "admin" }, { "guest" }), 403 },
        { { claims = { scope = "orders:write" } }, SCOPE, 200 },
        { { claims = { scope = "orders:read orders:write" } }, SCOPE, 200 },
        { { claims = { scope = "orders:write orders:read" } }, SCOPE, 200 },
        { { claims = { scope = "a orders:write b" } }, SCOPE, 200 },
        { { claims = { scope = "orders:writer orders" } }, SCOPE, 403 }, { { claims = { scope = "" } }, SCOPE, 403 },
        { { claims = { scope = "orders:read" } }, SCOPE, 403 },
        { { claims = { scp = "a b" } }, by("scp", { "b" }), 200 },
        { { claims = { scp = { "a", "b" } } }, by("scp", { "b" }), 200 },
        { { claims = { scope = "a guest" } }, by("scope", nil, { "guest" }), 403 },
        { { claims = { realm_access = { roles = { "user", "admin" } } } }, NESTED, 200 },
        { { claims = { realm_access = { roles = "admin" } } }, NESTED, 200 },
        { { claims = { realm_access = { roles = { "user" } } } }, NESTED, 403 },
        { { claims = { realm_access = "admin" } }, NESTED, 403 }, { { claims = { roles = { "admin" } } }, NESTED, 403 },
        { { claims = { realm_access = json.null } }, NESTED, 403 },
        { { claims = { ["realm_access.roles"] = "admin" } }, NESTED, 200 },
        { { claims = { ["https://shop.example/roles"] = { "admin" } } }, URL, 200 }, { { claims = {} }, URL, 403 },
    }
    for _, case in ipairs(cases) do
        it(("answers %d with %s"):format(case[3], describe_case(case[1], case[2])), function()
            assert.equal(case[3], status_of(case[1], case[2]))
        end)
    end
end)

describe("acl", function()
    it("works behind key_auth", function()
        local gw = test.gateway { policies = {
            { "key_auth", keys = { a = { "ada", groups = { "staff" } }, b = "bob" } }, { "acl", allow = { "staff" } },
        } }
        assert.response(gw:get("/", { headers = { ["x-api-key"] = "a" } })).has.status(200)
        assert.response(gw:get("/", { headers = { ["x-api-key"] = "b" } })).has.status(403)
        assert.response(gw:get "/").has.status(401)
    end)

    it("works behind jwt, where groups and roles are claims", function()
        local gw = test.gateway { policies = { { "jwt", secret = SECRET }, { "acl", allow = { "admin" } } } }
        local function status(claims)
            local token = assert(jwt.sign(claims, { alg = "HS256", key = SECRET }))
            return gw:get("/", { headers = { authorization = "Bearer " .. token } }).status
        end
        assert.equal(200, status { sub = "root", roles = { "admin" } })
        assert.equal(200, status { groups = { "admin" } })
        assert.equal(403, status { sub = "ada", roles = { "customer" } })
        assert.equal(403, status { sub = "admin" })
        assert.equal(403, status { sub = "ada", roles = { admin = "admin" } })
    end)

    it("does not name groups in its answers", function()
        local gw = test.gateway {
            policies = { { "key_auth", keys = { b = "bob" } }, { "acl", allow = { "inner-circle" } } },
        }
        local res = gw:get("/", { headers = { ["x-api-key"] = "b" } })
        assert.is_nil(res.body:find("inner-circle", 1, true))
    end)

    for what, settings in pairs {
        ["without a list"] = { "acl" }, ["with an empty list"] = { "acl", allow = {} },
        ["with a bare name"] = { "acl", allow = "admin" },
        ["with an empty claim"] = { "acl", allow = { "a" }, claim = "" },
    } do
        it("is refused " .. what, function()
            assert.equal(1, #test.errors { policies = { settings } })
        end)
    end
end)
