-- SPDX-License-Identifier: MIT
--
-- What Lua code may touch, per kind of file. For a policy this list is the sandbox it runs in.

local language = {
    "assert", "error", "getmetatable", "ipairs", "next", "pairs", "pcall", "rawequal", "rawget", "rawset", "require",
    "select", "setmetatable", "tonumber", "tostring", "type", "unpack", "xpcall",
    "bit", "coroutine", "math", "string", "table",
}

stds.policy = { read_globals = { os = { fields = { "clock", "date", "difftime", "time" } } } }
for _, name in ipairs(language) do table.insert(stds.policy.read_globals, name) end
stds.configuration = { read_globals = { "env", "file", "reply" } }

max_line_length = 120
max_comment_line_length = 130
self = false
cache = false
exclude_files = { "tools/templates/stubs/**" } -- declarations for editors
std = "luajit"

files["policies/**/*.lua"] = { std = "policy" }
files["examples/**/*.lua"] = { std = "policy+configuration" }
files["bench/perigee/**/*.lua"] = { std = "policy+configuration" }
files["bench/peers/lua/*.lua"] = { std = "ngx_lua" }
files["lua/perigee/algo/**/*.lua"] = { std = "policy" }
files["**/*_spec.lua"] = { std = "luajit+busted" }
files["examples/**/*_spec.lua"] = { std = "luajit+busted" }
files["spec/**/*.lua"] = { std = "luajit+busted" }
files["tools/templates/policy/init.lua"] = { std = "policy" }
files["tools/templates/policy/spec.lua"] = { std = "luajit+busted" }
