---@meta
-- Made by tools/stubs.py from the annotations in lua/perigee/. Editors read it; it is never run.
--
-- perigee.upstream: the endpoints of an upstream, and those of upstreams with the setting `dynamic` to be set:
--
-- local orders = perigee.upstream "orders"
-- orders:set_endpoints { "10.0.0.1:8080", { "10.0.0.2:8080", weight = 2, labels = { version = "v2" } } }
--
-- A set holds for the whole proxy: the worker that sets it uses it at once, the others a tenth of a second later. It stays
-- through reloads and in workers that are replaced, until another one is set or the proxy is stopped. What is set while a new
-- generation is built (`init`) is that generation's alone until it serves.

---@class perigee.Endpoint
---@field address string "host:port", "[IPv6]:port" or "unix:/path"; also as the first element: `{ "host:port", weight = 2 }`
---@field weight? integer 1 by default
---@field zone? string
---@field priority? integer 0, which is asked first, to 15
---@field labels? table<string, string>
local Endpoint = {}

---@class perigee.Upstream
local Upstream = {}

---@class perigee.upstream.module
local upstream = {}

--- The upstream of this name, in the generation of the script that uses it. Also `perigee.upstream "name"`.
---@param name string
---@return perigee.Upstream
function upstream.open(name) end

return upstream
