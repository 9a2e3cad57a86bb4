-- SPDX-License-Identifier: MIT
--
-- Names and passwords by the Basic scheme (RFC 7617). A password is checked once: what was found is remembered under a
-- digest of the header, for PBKDF2 is meant to be slow.

local perigee = require "perigee"

local base64, crypto = perigee.base64, perigee.crypto

local REMEMBERED = 1000 -- headers, good and bad ones each
local HEADER_MAX = 4096 -- bytes of a header that is looked at

local function check_users(users)
    if next(users) == nil then
        return "there is no user: nobody could ever come in"
    end
end

local function check_user(name)
    if name:find("[%c:]") then
        return "the name of a user has no colon and no control characters"
    end
end

local function check_realm(realm)
    if realm:find('[%c"\\]') then
        return "a realm has no quotes, backslashes or control characters"
    end
end

local user = {
    type = "table", short = "hash",
    fields = {
        hash = {
            type = "string", required = true, check = crypto.password.problem,
            doc = "Salted hash: `$pbkdf2-sha256$i=30000$salt$hash`.",
        },
        groups = { type = "list", items = "string", doc = "For the policy acl." },
    },
}

local BasicAuth = perigee.policy {
    name = "basic_auth",
    stage = "auth",
    schema = {
        users = {
            type = "map", keys = { type = "string", min = 1, check = check_user }, values = user, required = true,
            secret = true, check = check_users,
            doc = "Salted hash of the password by name, or `{ hash, groups = { \"staff\" } }`.",
        },
        realm = {
            type = "string", default = "perigee", check = check_realm, doc = "What the browser shows when it asks.",
        },
    },
}

local function iterations_of(hash)
    return tonumber(hash:match("i=(%d+)"))
end

--- Where the password is: recordings mask it there.
function BasicAuth:credentials()
    return { "header:authorization" }
end

function BasicAuth:init()
    self.users, self.decoy = {}, nil
    for name, found in pairs(self.conf.users) do
        self.users[name] = { name = name, hash = found.hash, groups = found.groups }
        if not self.decoy or iterations_of(found.hash) > iterations_of(self.decoy) then
            self.decoy = found.hash -- what is computed for a name that nobody has
        end
    end
    self.good = perigee.cache.new { size = REMEMBERED }
    self.bad = perigee.cache.new { size = REMEMBERED }
    self.challenge = 'Basic realm="' .. self.conf.realm .. '", charset="UTF-8"'
end

local function parse(header)
    local token = #header <= HEADER_MAX and header:match("^[Bb][Aa][Ss][Ii][Cc] +([%w+/]+=*)$")
    local text = token and base64.decode(token)
    if text and not text:find("%c") then
        return text:match("^([^:]+):(.*)$")
    end
end

-- The user that a header stands for, at the cost of one PBKDF2 whoever it is.
local function verify(self, header)
    local name, plain = parse(header)
    if not name then
        return nil
    end
    local found = self.users[name]
    local is_good = crypto.password.verify(plain, found and found.hash or self.decoy)
    return is_good and found or nil
end

local function find_user(self, header)
    local key = crypto.hash("sha256", header)
    local found = self.good:get(key)
    if found or self.bad:get(key) then
        return found
    end
    found = verify(self, header)
    if found then
        self.good:set(key, found)
    else
        self.bad:set(key, true)
    end
    return found
end

function BasicAuth:on_request(req)
    local headers = req.headers:all("authorization")
    local found = #headers == 1 and find_user(self, headers[1])
    if not found then
        return perigee.reply(401, {
            type = "urn:perigee:unauthorized", title = "Unauthorized", status = 401,
            detail = "The request needs a name and a password that are known.", request_id = req.id,
        }, { ["content-type"] = "application/problem+json", ["www-authenticate"] = self.challenge })
    end
    req.consumer = found.name
    req.ctx.groups = found.groups
end

return BasicAuth
