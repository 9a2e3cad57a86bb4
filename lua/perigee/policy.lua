-- SPDX-License-Identifier: MIT
--
-- perigee.policy { … } declares a policy and returns its definition: a table on which the hooks are then defined. Checks
-- the declaration at once, so that a mistake is reported where it was written.

local contract = require "perigee._core.contract"
local declaration = require "perigee._core.declaration"
local readable = require "perigee._core.readable"
local suggest = require "perigee._core.suggest"

---@class perigee.Declaration
---@field name string that of its folder
---@field stage "auth"|"traffic"|"transform"|"observe" sets the default of on_failure
---@field schema? table<string, table|string> settings, by name
---@field check? fun(conf: table): string|nil, string|nil what is wrong when settings do not fit together, and which one
---@field doc? string

---@class perigee.Policy
---@field on_request? fun(self, req: perigee.Request): perigee.Reply|nil, string|nil
---@field on_request_body? fun(self, req: perigee.Request, chunk: string, last: boolean): string|perigee.Reply|nil
---@field on_upstream? fun(self, req: perigee.Request, attempt: perigee.Attempt): perigee.Reply|nil, string|nil
---@field on_response? fun(self, req: perigee.Request, res: perigee.Response): perigee.Reply|nil, string|nil
---@field on_response_body? fun(self, req: perigee.Request, res: perigee.Response, chunk: string, last): string|perigee.Reply|nil
---@field on_log? fun(self, req: perigee.Request, res: perigee.Response)
---@field around? fun(self, req: perigee.Request, next: fun(req): perigee.Response): perigee.Response|perigee.Reply
---@field on_connect? fun(self, conn: perigee.Connection): perigee.Reply|nil, string|nil on tcp listeners
---@field init? fun(self)
---@field close? fun(self)
---@field save? fun(self): any
---@field restore? fun(self, state: any)
---@field edits? fun(self, conf: table): table[]|nil
---@field unused? fun(self, conf: table): string[]
---@field name string
---@field stage "auth"|"traffic"|"transform"|"observe"
---@field schema table<string, table|string> settings (lua/perigee/_core/schema.lua)
---@field on_failure "closed"|"open" default of the uses, given by the stage
---@field check nil|fun(conf: table): string|nil, string|nil message and setting when the settings do not fit together
---@field doc nil|string
---@field conf table settings of this use; read-only (only on instances)
---@field dry_run boolean what this use does to an exchange is undone; waits it leaves out itself (only on instances)

-- What a failing policy does to the exchange, by stage.
local ON_FAILURE = { auth = "closed", traffic = "closed", transform = "closed", observe = "open" }
local STAGES = { "auth", "traffic", "transform", "observe" }
local KNOWN = { "name", "stage", "schema", "check", "doc" }

local function problem_of_schema(fields)
    local message = declaration.problem(fields)
    if message then
        return "schema: " .. message
    end
    for _, name in ipairs(readable.sorted_keys(contract.use_settings)) do
        if fields[name] then
            return "schema: '" .. name .. "' is a setting that every use of a policy has; choose another name"
        end
    end
    return nil
end

--- What is wrong with a declaration, or nil.
local function problem(declared)
    if type(declared) ~= "table" then
        return "expected a table, found " .. readable.value(declared)
    end
    for _, key in ipairs(readable.sorted_keys(declared)) do
        if not suggest.contains(KNOWN, key) then
            return "unknown key " .. readable.quote(tostring(key)) .. suggest.tail(tostring(key), KNOWN, "keys")
        end
    end
    if type(declared.name) ~= "string" or not declared.name:find("^%l[%l%d_]*$") then
        return "'name' must be a name in lower case such as \"rate_limit\", found " .. readable.value(declared.name)
    end
    if not ON_FAILURE[declared.stage] then
        return "'stage' must be " .. readable.choice(STAGES) .. ", found " .. readable.value(declared.stage)
    end
    if declared.check ~= nil and type(declared.check) ~= "function" then
        return "'check' must be a function, found " .. readable.value(declared.check)
    end
    if declared.doc ~= nil and type(declared.doc) ~= "string" then
        return "'doc' must be a string, found " .. readable.value(declared.doc)
    end
    return problem_of_schema(declared.schema or {})
end

--- Declares a policy. Raises an error at the caller when the declaration is wrong.
---@param declared { name: string, stage: string, schema: table|nil, check: function|nil, doc: string|nil }
---@return perigee.Policy definition
local function define(_, declared)
    local message = problem(declared)
    if message then
        error("perigee.policy: " .. message, 2)
    end
    local definition = {
        name = declared.name,
        stage = declared.stage,
        schema = declared.schema or {},
        on_failure = ON_FAILURE[declared.stage],
        check = declared.check,
        doc = declared.doc,
    }
    contract.register(definition)
    return definition
end

return setmetatable({}, { __call = define })
