-- SPDX-License-Identifier: MIT
--
-- Lets in those who were authenticated and belong to a group: one that the policy key_auth, basic_auth or jwt found, or one
-- that a claim of the token names.

local perigee = require "perigee"

local find, sub = string.find, string.sub

local CHALLENGE = 'Bearer realm="perigee", ApiKey realm="perigee"'

-- Claims whose text is a list of words (RFC 8693 4.2); other texts are one value, whatever they contain.
local IS_WORDS = { scope = true, scp = true }

local function check(conf)
    if not conf.allow and not conf.deny then
        return "needs 'allow', 'deny' or both"
    end
end

local Acl = perigee.policy {
    name = "acl",
    stage = "auth",
    check = check,
    schema = {
        allow = { type = "set", items = "string", min = 1, doc = "One of these is needed." },
        deny = { type = "set", items = "string", min = 1, doc = "None of these may be there, whatever `allow` says." },
        claim = {
            type = "string", min = 1,
            doc = 'Compare the values of this claim of the token, `"a.b"` for b inside of a. Without it: the '
                .. "groups of the consumer.",
        },
    },
}

function Acl:init()
    local conf = self.conf
    self.allow, self.deny, self.claim = conf.allow, conf.deny, conf.claim
    self.is_words = IS_WORDS[conf.claim or ""] == true
    self.path = {}
    for name in (conf.claim or ""):gmatch("[^.]+") do
        self.path[#self.path + 1] = name
    end
end

-- The value of a claim by its whole name, or else along the path.
local function read_claim(self, claims)
    local value = claims[self.claim]
    if value == nil then
        value = claims
        for i = 1, #self.path do
            if type(value) ~= "table" then
                return nil
            end
            value = value[self.path[i]]
        end
    end
    return value
end

local function has_word(set, text)
    local from = 1
    while true do
        local space = find(text, " ", from, true)
        if set[sub(text, from, (space or 0) - 1)] then
            return true
        elseif not space then
            return false
        end
        from = space + 1
    end
end

-- Is the value, or one of the values, in the set?
local function has_any(self, set, value)
    if type(value) == "string" then
        return set[value] == true or self.is_words and has_word(set, value)
    elseif type(value) == "table" then
        for i = 1, #value do
            if set[value[i]] then
                return true
            end
        end
    end
    return false
end

local function refuse(req, status, title, kind, detail, challenge)
    return perigee.reply(status, {
        type = kind, title = title, status = status, detail = detail, request_id = req.id,
    }, { ["content-type"] = "application/problem+json", ["www-authenticate"] = challenge })
end

function Acl:on_request(req)
    local ctx = req.ctx
    local claims = ctx.jwt
    if not req.consumer and not claims then
        return refuse(req, 401, "Unauthorized", "urn:perigee:unauthorized",
            "The request needs an authenticated consumer.", CHALLENGE)
    end
    local value = ctx.groups
    if self.claim then
        value = claims and read_claim(self, claims)
    end
    local is_denied = self.deny and has_any(self, self.deny, value)
    if is_denied or self.allow and not has_any(self, self.allow, value) then
        return refuse(req, 403, "Forbidden", "urn:perigee:forbidden", "The consumer may not do this.")
    end
end

return Acl
