-- SPDX-License-Identifier: MIT
--
-- What runs at the moment, for the log: the chain sets `policy` before it calls a hook (and again when the hook goes on after a
-- wait), and false when none runs. `shadow` is what a policy in a dry run sees of its exchange (_core/shadow.lua).

return {
    ---@type string|false
    policy = false,
    --- Seconds of CPU for the tasks that it starts; false: as it has itself.
    ---@type number|false
    task_budget = false,
    ---@type perigee.Shadow|false
    shadow = false,
}
