---@meta
-- Made by tools/stubs.py from the annotations in lua/perigee/. Editors read it; it is never run.
--
-- The test kit: `require "perigee.test"` in a spec that `perigee test` runs. See docs/testing.md.

---@class perigee.test.Response
---@field status integer
---@field reason string
---@field headers perigee.test.Fields
---@field trailers perigee.test.Fields
---@field body string
---@field interim table[] 1xx responses that came before
local test_Response = {}

--- The body, decoded; an error when it is no JSON.
---@return any
function test_Response:json() end

---@class perigee.test.Pending
local test_Pending = {}

--- Is there nothing more to wait for?
---@return boolean
function test_Pending:done() end

--- Runs the gateway until the response is complete.
---@return perigee.test.Response
function test_Pending:wait() end

--- Closes the client's connection.
function test_Pending:abort() end

---@class perigee.test.Connection
local test_Connection = {}

--- Sends bytes and lets the gateway work on them.
---@param bytes string
---@return perigee.test.Connection self
function test_Connection:write(bytes) end

--- What has arrived since the last read; "" for nothing.
---@return string
function test_Connection:read() end

--- Has the gateway closed the connection?
---@return boolean
function test_Connection:closed() end

--- Ends the client's direction: nothing more will be written.
function test_Connection:finish() end

--- Closes the connection.
function test_Connection:close() end

---@class perigee.test.Fields
local test_Fields = {}

--- Every value of a name, in order.
---@param name string
---@return string[]
function test_Fields:all(name) end

--- Iterates over names (as sent) and values.
---@return fun(): string|nil, string|nil
function test_Fields:iterate() end

---@class perigee.test.Gateway
---@field upstreams table<string, perigee.test.Fake>
---@field hosts table<string, perigee.test.Fake>
local test_Gateway = {}

--- Takes over another configuration, as `perigee reload` does.
---@param config table
---@param options? perigee.test.Options
---@return true|nil
---@return table[]|nil errors the old one goes on
function test_Gateway:reload(config, options) end

--- Sends a request without waiting for the response.
---@param options perigee.test.Request
---@return perigee.test.Pending
function test_Gateway:send(options) end

--- Sends a request and runs the gateway until the response is complete.
---@param options perigee.test.Request
---@return perigee.test.Response
function test_Gateway:request(options) end

--- A connection that carries what the test writes.
---@param bytes? string written at once
---@return perigee.test.Connection
function test_Gateway:raw(bytes) end

--- Moves time on, and does what falls due.
---@param seconds number
function test_Gateway:advance(seconds) end

--- The wall clock in seconds since 1970; a test begins at 2026-01-01T00:00:00Z.
---@return number
function test_Gateway:now() end

--- What the runtime and the policies logged since the test began.
---@return { level: string, message: string }[]
function test_Gateway:log() end

--- Values of all metrics, by name with labels as Prometheus reads them.
---@return table<string, number>
function test_Gateway:metrics() end

--- Closes the gateway. Called by the kit after each test.
function test_Gateway:close() end

---@class perigee.test.Options
---@field files? table<string, string> texts of files by path, before those on disk
---@field dir? string folder of the configuration; by default that of the spec file and those above
---@field upstreams? table<string, any> test.load: fakes in the place of the file's upstreams
---@field hosts? table<string, any> test.load: fakes by address
local test_Options = {}

---@class perigee.test.Request
---@field method? string "GET"
---@field path? string with query; "/"
---@field headers? table<string, string|string[]>
---@field body? string|table a table is sent as JSON
---@field chunks? string[] a chunked body
---@field trailers? table<string, string> behind the chunks
---@field timeout? number virtual seconds to wait for the response; 60
---@field client? string IP address that the gateway sees; "127.0.0.1"
local test_Request = {}

---@class perigee.test.Fake
---@field name string
---@field requests table[] what it has been asked
local test_Fake = {}

--- Forgets the requests.
function test_Fake:reset() end

---@class perigee.test
local test = {}

--- An answer of a fake upstream. Where it can be one, it is a value of perigee.reply too, for handlers.
---@param status integer
---@param body? string|table a table is sent as JSON; a stream, slowly
---@param headers? table<string, string|string[]>
---@param trailers? table<string, string>
function test.reply(status, body, headers, trailers) end

--- A slow body: strings are chunks, numbers are pauses in seconds.
---@param parts (string|number)[]
function test.stream(parts) end

--- A gateway in memory. Raises an error that lists what is wrong with the configuration.
---@param config table as a configuration file returns it; upstreams may be functions
---@param options? perigee.test.Options
---@return perigee.test.Gateway
function test.gateway(config, options) end

--- A gateway for a configuration file.
---@param path string
---@param options? perigee.test.Options
---@return perigee.test.Gateway
function test.load(path, options) end

--- What is wrong with a configuration: a list of { file, line, path, message }, empty when it is accepted.
---@param config table
---@param options? perigee.test.Options
---@return table[]
function test.errors(config, options) end

return test
