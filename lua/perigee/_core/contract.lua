-- SPDX-License-Identifier: MIT
--
-- What every policy and the runtime agree on: the names of the hooks, the settings that every use has, and which tables are
-- definitions that perigee.policy { … } returned.

local contract = {}

--- Hooks by the phase that runs them; the numbers are bits of runtime/script/chain.h.
contract.hooks = {
    on_request = 1,
    on_request_body = 2,
    on_upstream = 4,
    on_response = 8,
    on_response_body = 16,
    on_log = 32,
    around = 64 + 1,
    on_connect = 0, -- of tcp listeners: no phase of an exchange
}

--- Hooks that take something from an exchange just by being there: the bit of the hook, and the one that says that every policy
--- of the route that has it is in a dry run, so that nothing must be taken.
contract.marks = {
    around = { hook = 64, dry = 128 },
    on_response_body = { hook = 16, dry = 256 },
    on_request_body = { hook = 2, dry = 512 },
}

--- Methods that the runtime calls outside of exchanges.
contract.life_cycle = { init = true, save = true, restore = true, close = true, edits = true, unused = true }

--- Settings that every use of a policy has; schemas cannot use their names.
contract.use_settings = {
    policy = { type = "string", doc = "Name of the policy, when it is not the first item." },
    when = {
        type = "one_of", of = { "function", "table" },
        doc = "Function of the request, or a match table: the policy runs only if it holds.",
    },
    on_failure = {
        type = "string", enum = { "closed", "open" },
        doc = "When the policy fails: answer 503 (closed) or go on without it (open). The default is the policy's.",
    },
    dry_run = { type = "boolean", default = false, doc = "Decide, log and count, but do not enforce." },
    budget = {
        type = "table", short = "cpu", doc = "What one call of a hook may use, from one wait to the next.",
        fields = {
            cpu = {
                type = "duration", default = "50ms", min = "1ms", max = "1s",
                doc = "CPU time, to some milliseconds. A call that uses more fails.",
            },
        },
    },
}

local definitions = setmetatable({}, { __mode = "k" })

--- Remembers a definition.
---@param definition perigee.Policy
function contract.register(definition)
    definitions[definition] = true
end

--- True for a table that perigee.policy { … } returned.
---@param value any
---@return boolean
function contract.is_definition(value)
    return definitions[value] == true
end

return contract
