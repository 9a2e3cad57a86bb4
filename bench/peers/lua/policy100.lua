-- SPDX-License-Identifier: MIT
-- policy100 for nginx: the first path segment names the route, two request headers are required, one response header
-- is set. Written for speed: ngx.var instead of a table of all headers, plain find instead of patterns.

local find, sub, format = string.find, string.sub, string.format

local routes = {}
for i = 0, 99 do
    local name = format("svc%02d", i)
    routes[name] = { name = name, upstream = "origin" }
end

local policy = {}

function policy.access()
    local var = ngx.var
    local uri = var.uri
    local slash = find(uri, "/", 2, true)
    local route = slash and routes[sub(uri, 2, slash - 1)]
    if not route then
        return ngx.exit(404)
    end
    if not var.http_user_agent then
        return ngx.exit(403)
    end
    if not var.http_cookie then
        return ngx.exit(401)
    end
    var.target = route.upstream
    ngx.ctx.route = route
end

function policy.header_filter()
    local route = ngx.ctx.route
    if route then
        ngx.header["X-Route"] = route.name
    end
end

return policy
