---@meta
-- Made by tools/stubs.py from the annotations in lua/perigee/. Editors read it; it is never run.
--
-- perigee.policy { … } declares a policy and returns its definition: a table on which the hooks are then defined. Checks
-- the declaration at once, so that a mistake is reported where it was written.

---@class perigee.Declaration
---@field name string that of its folder
---@field stage "auth"|"traffic"|"transform"|"observe" sets the default of on_failure
---@field schema? table<string, table|string> settings, by name
---@field check? fun(conf: table): string|nil, string|nil what is wrong when settings do not fit together, and which one
---@field doc? string
local Declaration = {}

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
local Policy = {}
