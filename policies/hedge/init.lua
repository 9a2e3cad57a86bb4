-- SPDX-License-Identifier: MIT
--
-- Sends a request a second time when it is not answered after a while, on some routes only or after another time than the
-- upstream's `hedge` says. What may be hedged, and what it may cost, is the upstream's.

local perigee = require "perigee"

local Hedge = perigee.policy {
    name = "hedge",
    stage = "traffic",
    schema = {
        after = {
            type = "duration", required = true, max = "1h",
            doc = "How long the answer is waited for first. `\"0s\"`: there is no hedge.",
        },
    },
}

function Hedge:on_request(req)
    req.timeouts.hedge = self.conf.after
end

return Hedge
