-- SPDX-License-Identifier: MIT
-- A dozen lines: a handler, a policy of our own (policies/greeting), and a reply that never enters Lua.
return {
    listeners = { { address = env "HELLO_LISTEN" or "127.0.0.1:8080" } },
    workers = 1,
    watch = true, -- save a file, and it is taken over
    routes = {
        { name = "hello", match = { path = "/hello/{name}" }, policies = { { "greeting", text = "Ahoy" } },
          handler = function(req)
              return reply(200, req.ctx.greeting .. ", " .. req.params.name .. "!\n")
          end },
        { name = "root", match = { path = "/" }, reply = { status = 200, body = "Try /hello/you\n" } },
    },
}
