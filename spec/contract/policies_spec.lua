-- SPDX-License-Identifier: MIT

local lfs = require "lfs"
local util = require "jit.util"

local contract = require "perigee._core.contract"
local keys = require "spec.support.keys"
local perigee = require "perigee"
local test = require "perigee.test"

-- The settings that users, examples and specs agree on; more are the policy's own.
local AGREED = {
    acl = { "allow", "deny", "claim" },
    admission_control = { "window", "threshold", "aggression", "max_rejection", "min_rate", "failures" },
    adaptive_concurrency = {
        "max_concurrency_limit", "min_concurrency", "concurrency_update_interval", "sample_aggregate_percentile",
        "min_rtt",
    },
    basic_auth = { "users", "realm" },
    body_limit = { "max" },
    circuit_breaker = { "failures", "ratio", "window", "open", "probes" },
    concurrency_limit = { "limit", "by", "queue", "wait" },
    cors = { "origins", "methods", "headers", "expose", "credentials", "max_age" },
    grpc_web = {},
    fault = { "delay", "abort", "header" },
    hedge = { "after" },
    timeout = { "request", "per_try", "idle", "stream", "deadline" },
    headers = { "request", "response" },
    ip_restriction = { "allow", "deny" },
    jwt = {
        "algorithms", "secret", "public_key", "jwks_file", "jwks_url", "issuer", "audience", "leeway", "header",
        "cookie", "required_claims", "forward_claims",
    },
    key_auth = { "keys", "header", "query", "hide" },
    mirror = { "upstream", "percent", "header", "max_body", "timeout" },
    quota = { "limit", "period", "by", "cost", "on_unavailable", "headers", "redis" },
    rate_limit = { "limit", "window", "algorithm", "burst", "by", "headers", "redis" },
    request_id = { "header", "trust" },
    retry = { "attempts", "on" },
    traffic_split = { "upstreams", "by" },
}

local SECRET = { jwt = { "secret", "jwks_file" }, key_auth = { "keys" }, basic_auth = { "users" } }

-- What a policy may name beside its locals; see _core/sandbox.lua.
local GLOBALS = {}
for name in ([[assert bit coroutine error getmetatable ipairs math next os pairs pcall rawequal rawget rawset
    require select setmetatable string table tonumber tostring type unpack xpcall]]):gmatch("%S+") do
    GLOBALS[name] = true
end

local HOOKS_MAX, LINES_MAX = 7, 150

local function read(path)
    local file = io.open(path, "rb")
    local text = file and file:read("*a")
    if file then
        file:close()
    end
    return text
end

local function folders(path)
    local list = {}
    for name in lfs.dir(path) do
        if not name:find("^%.") and lfs.attributes(path .. "/" .. name, "mode") == "directory" then
            list[#list + 1] = name
        end
    end
    table.sort(list)
    return list
end

local function lua_files(name)
    local list = {}
    for file in lfs.dir("policies/" .. name) do
        list[#list + 1] = file:find("%.lua$") and "policies/" .. name .. "/" .. file or nil
    end
    table.sort(list)
    return list
end

-- Loads a file of a policy outside of the sandbox, to look at what it declares.
local function load_module(path)
    local chunk = assert(loadfile(path))
    local function require_module(name)
        local is_shared = name == "perigee" or name:find("^perigee%.algo%.") ~= nil
        return is_shared and require(name) or load_module(name:gsub("%.", "/") .. ".lua")
    end
    return setfenv(chunk, setmetatable({ require = require_module }, { __index = _G }))()
end

local function sorted(map)
    local names = {}
    for name in pairs(map) do
        names[#names + 1] = name
    end
    table.sort(names)
    return names
end

-- ------------------------------------------------------------------ bytecode

local function opcode(source, at)
    return bit.band((util.funcbc(loadstring(source), at)), 0xff)
end

local GET_GLOBAL, SET_GLOBAL, CLOSURE = opcode("return x", 1), opcode("x = 1", 2), opcode("return function() end", 1)

-- Calls visit(opcode, operand) for each instruction of a function, and of those inside of it when `is_deep`.
local function walk(func, is_deep, visit)
    local pc = 1
    local instruction = util.funcbc(func, pc)
    while instruction do
        visit(bit.band(instruction, 0xff), bit.rshift(instruction, 16), func)
        pc = pc + 1
        instruction = util.funcbc(func, pc)
    end
    local place = -1
    local constant = is_deep and util.funck(func, place)
    while constant ~= nil and constant ~= false do
        if type(constant) == "proto" then
            walk(constant, true, visit)
        end
        place = place - 1
        constant = util.funck(func, place)
    end
end

-- ------------------------------------------------------------------ what each policy must be

describe("shipped policies", function()
    it("are the ones that are agreed on", function()
        assert.same(sorted(AGREED), folders "policies")
    end)
end)

for _, name in ipairs(folders "policies") do
    describe("the shipped policy " .. name, function()
        local definition = load_module("policies/" .. name .. "/init.lua")
        local readme = read("policies/" .. name .. "/README.md") or ""

        it("declares its name, a stage and at least one hook", function()
            assert.is_true(contract.is_definition(definition))
            assert.equal(name, definition.name)
            local hooks = 0
            for hook in pairs(contract.hooks) do
                hooks = hooks + (definition[hook] and 1 or 0)
            end
            assert.is_true(hooks >= 1 and hooks <= HOOKS_MAX)
        end)

        it("has the settings that are agreed on", function()
            for _, setting in ipairs(AGREED[name] or {}) do
                assert.is_not_nil(definition.schema[setting], setting)
            end
        end)

        it("says of each setting what it means", function()
            for setting, field in pairs(definition.schema) do
                assert.matches("%.$", type(field) == "table" and field.doc or "", setting)
            end
        end)

        it("keeps its secrets out of messages", function()
            for _, setting in ipairs(SECRET[name] or {}) do
                assert.is_true(definition.schema[setting].secret, setting)
            end
        end)

        it("fails closed unless it only observes", function()
            assert.equal(definition.stage == "observe" and "open" or "closed", definition.on_failure)
        end)

        it("needs the SDK and its own files, and no global that the sandbox lacks", function()
            for _, path in ipairs(lua_files(name)) do
                for module in read(path):gmatch("require%s*%(?%s*[\"']([^\"']+)") do
                    local is_shared = module == "perigee" or module:find("^perigee%.algo%.[%w_]+$") ~= nil
                    assert.is_true(is_shared or module:find("policies." .. name .. ".", 1, true) == 1, module)
                end
                walk(loadfile(path), true, function(op, operand, func)
                    if op == GET_GLOBAL or op == SET_GLOBAL then
                        local global = util.funck(func, -operand - 1)
                        assert.is_true(op == GET_GLOBAL and GLOBALS[global] == true, path .. ": " .. tostring(global))
                    end
                end)
            end
        end)

        it("makes no closure per request", function()
            for hook in pairs(contract.hooks) do
                walk(definition[hook] or function() end, false, function(op)
                    assert.not_equal(CLOSURE, op)
                end)
            end
        end)

        it("is one readable screen", function()
            for _, path in ipairs(lua_files(name)) do
                local text = read(path)
                local _, lines = text:gsub("\n", "")
                assert.is_true(lines <= LINES_MAX, path .. " has " .. lines .. " lines")
                assert.matches("^%-%- SPDX%-License%-Identifier: MIT\n", text)
            end
        end)

        it("has a spec", function()
            assert.is_string(read("spec/policies/" .. name .. "_spec.lua"))
        end)

        it("has a README that says what it is, when to use it, and what its limits are", function()
            assert.matches("^# " .. name .. "\n\n%u", readme)
            for _, title in ipairs { "When", "Configuration", "Example", "Limits" } do
                assert.is_truthy(readme:find("\n## " .. title .. "\n", 1, true), title)
            end
        end)

        it("has a README whose settings are those of the reference", function()
            local reference = read "docs/reference/policies.md" .. "\n## "
            local section = reference:match("\n## " .. name .. "\n(.-)\n## ")
            assert.is_string(section, "docs/reference/policies.md has no section: run 'make docs'")
            local settings = section:match "| setting .*|\n" or "No settings.\n"
            assert.is_truthy(readme:find(settings, 1, true), "README.md: copy the table of docs/reference/policies.md")
            for setting in pairs(definition.schema) do
                assert.is_truthy(settings:find("\n| `" .. setting .. "` |", 1, true), setting)
            end
        end)

        it("has examples in its README that are accepted", function()
            local count = 0
            for code in readme:gmatch "```lua\n(.-)```" do
                local chunk = assert(loadstring("return { " .. code .. " }"))
                local config = setfenv(chunk, { file = function(path)
                    return path:find "%.pem$" and keys.rsa.public or path .. (" and more"):rep(8)
                end })()
                assert.same({}, test.errors(config))
                count = count + 1
            end
            assert.is_true(count >= 1)
        end)
    end)
end

-- ------------------------------------------------------------------ what all that refuse have in common

-- Uses that refuse GET /, with the status of the refusal.
local REFUSING = {
    acl = { { "acl", allow = { "staff" } }, 401 },
    basic_auth = { { "basic_auth", users = { ada = perigee.crypto.password.hash("lovelace", 10) } }, 401 },
    cors = { { "cors", origins = { "https://app.example" } }, 403 },
    fault = { { "fault", abort = { status = 500 } }, 500 },
    ip_restriction = { { "ip_restriction", deny = { "0.0.0.0/0" } }, 403 },
    jwt = { { "jwt", secret = ("s"):rep(32) }, 401 },
    key_auth = { { "key_auth", keys = { k = "ada" } }, 401 },
    quota = { { "quota", limit = 1, period = "month" }, 429 },
    rate_limit = { { "rate_limit", limit = 1, window = "1h" }, 429 },
}

-- A preflight, so that cors has something to refuse.
local REQUEST = {
    method = "OPTIONS", path = "/",
    headers = { origin = "https://evil.example", ["access-control-request-method"] = "PUT" },
}

-- Gives every request an id that has to be escaped.
local ODD_ID = [[
local OddId = require("perigee").policy { name = "odd_id", stage = "observe" }
function OddId:on_request(req)
    req.id = 'a"b\\c'
end
return OddId
]]

for name, case in pairs(REFUSING) do
    describe("a refusal by " .. name, function()
        local settings, status = unpack(case)

        local function with(more)
            local use = {}
            for key, value in pairs(settings) do
                use[key] = value
            end
            for key, value in pairs(more or {}) do
                use[key] = value
            end
            return use
        end

        local function refuse(policies)
            local gw = test.gateway({ policies = policies }, { files = { ["policies/odd_id/init.lua"] = ODD_ID } })
            if status == 429 then
                gw:request(REQUEST)
                gw.upstreams.api:reset()
            end
            return gw:request(REQUEST), gw
        end

        it("is a problem document and reaches no upstream", function()
            local res, gw = refuse { with() }
            assert.response(res).is.problem(status)
            local problem = res:json()
            assert.matches("^urn:perigee:[%l_]+$", problem.type)
            assert.equal(res.reason, problem.title)
            assert.matches("^%u.*%.$", problem.detail)
            assert.is_nil(problem.request_id)
            assert.equal(0, #gw.upstreams.api.requests)
        end)

        it("carries the id of the request", function()
            local res = refuse { "request_id", with() }
            assert.equal(res.headers["x-request-id"], res:json().request_id)
        end)

        it("carries any id as JSON, whatever is in it", function()
            local res = refuse { "odd_id", with() }
            assert.equal(status, res.status)
            assert.equal('a"b\\c', res:json().request_id)
        end)

        it("challenges when it is a 401, and only then", function()
            local res = refuse { with() }
            assert.equal(status == 401, res.headers["www-authenticate"] ~= nil)
        end)

        it("is not enforced in a dry run, which is logged", function()
            local res, gw = refuse { with { dry_run = true } }
            assert.equal(200, res.status)
            local is_logged = false
            for _, line in ipairs(gw:log()) do
                is_logged = is_logged or line.message:find(name, 1, true) ~= nil
                    and line.message:find("would have .*answered " .. status) ~= nil
            end
            assert.is_true(is_logged)
        end)

        it("does not happen where the policy does not run", function()
            assert.equal(200, (refuse { with { when = { path = "/elsewhere" } } }).status)
        end)

        it("counts as a call and not as an error", function()
            local _, gw = refuse { with() }
            local metrics = gw:metrics()
            local calls = metrics[('perigee_policy_calls_total{policy="%s",route="test"}'):format(name)]
            local errors = metrics[('perigee_policy_errors_total{policy="%s",route="test"}'):format(name)]
            assert.is_true(calls >= 1)
            assert.equal(0, errors or 0)
        end)
    end)
end
