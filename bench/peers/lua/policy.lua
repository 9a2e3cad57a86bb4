-- SPDX-License-Identifier: MIT
-- Instruction gate for nginx: the same decisions as perigee/policies/edge.

local policy = {}

function policy.access()
    local var = ngx.var
    if not var.http_user_agent then
        return ngx.exit(403)
    end
    if not var.http_cookie then
        return ngx.exit(401)
    end
    ngx.req.set_header("X-Edge", "checked")
end

function policy.header_filter()
    ngx.header["X-Served-By"] = "edge"
end

return policy
