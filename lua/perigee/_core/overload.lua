-- SPDX-License-Identifier: MIT
--
-- The setting `overload`: what a worker may use before it sheds requests and stops accepting connections, and the form in which
-- C reads it (docs/internals/config-json.md).

local percent = require "perigee._core.percent"

local overload = {}

local MEMORY_MIN = 16 * 1024 * 1024

local function check_memory(bytes)
    return bytes > 0 and bytes < MEMORY_MIN and 'must be at least "16m", or 0 for no limit' or nil
end

--- The schema of `overload`.
overload.setting = {
    type = "table", default = {},
    doc = "Limits of a worker. From 90 % of one on requests are answered 503 with `Retry-After`, at the limit no "
        .. "connection is accepted. 0: no limit.",
    fields = {
        memory = {
            type = "size", max = "1024g", check = check_memory,
            doc = "Memory of its own. Without it: 95 % of the cgroup's limit for the whole cgroup, if it has one.",
        },
        connections = {
            type = "integer", min = 0, max = 10000000,
            doc = "Open client connections of all listeners. Without it: half of the descriptors, at most 50000.",
        },
        fds = {
            type = "one_of", default = "90%",
            of = {
                { type = "integer", min = 0, max = 1000000000 },
                { type = "string", check = percent.check("1%", "100%") },
            },
            doc = "Open descriptors; a share is of those that the system allows (RLIMIT_NOFILE).",
        },
    },
}

--- The normalised form of validated settings.
---@param settings table
---@return table
function overload.write(settings)
    local fds = settings.fds
    local is_share = type(fds) == "string"
    return {
        memory = settings.memory,
        connections = settings.connections,
        fds = not is_share and fds or nil,
        fds_share = is_share and percent.parse(fds) or nil,
    }
end

return overload
