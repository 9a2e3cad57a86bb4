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
---@field interim table[] 1xx responses that came before, with status, reason and headers
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

--- Goes away without waiting for the response.
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

---@class perigee.test.Wanted
---@field method? string
---@field path? string without query
---@field query? string
---@field headers? table<string, string>
---@field body? string|table a table is compared with the JSON of the body
---@field times? integer exactly so often; at least once by default, 0 for never
local test_Wanted = {}

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
---@field upstreams table<string, perigee.test.Fake> fakes by name of the upstream
---@field hosts table<string, perigee.test.Fake> fakes by address, as the configuration of the test wrote it
---@field get fun(self, path: string, options?: perigee.test.Request): perigee.test.Response
---@field post fun(self, path: string, options?: perigee.test.Request): perigee.test.Response
---@field put fun(self, path: string, options?: perigee.test.Request): perigee.test.Response
---@field delete fun(self, path: string, options?: perigee.test.Request): perigee.test.Response
---@field head fun(self, path: string, options?: perigee.test.Request): perigee.test.Response
---@field options fun(self, path: string, options?: perigee.test.Request): perigee.test.Response
---@field patch fun(self, path: string, options?: perigee.test.Request): perigee.test.Response
local test_Gateway = {}

--- Takes over another configuration, as `perigee reload` does.
---@param config perigee.test.Config
---@param options? perigee.test.Options
---@return true|nil
---@return perigee.test.Error[]|nil errors the old one goes on
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

--- A connection to any of the listeners, for bytes: to those that pass TCP on, policies with `on_connect` are asked.
---@param options? perigee.test.Connect
---@return perigee.test.Connection
function test_Gateway:connect(options) end

--- Moves time on, and does what falls due.
---@param span number|string seconds, or a duration such as "90s"
function test_Gateway:advance(span) end

--- Sets the wall clock, forward or back, as an administrator does: timers, times to live and buckets do not notice.
---@param moment number|string seconds since 1970, or a date such as "2026-03-01T12:00:00Z"
function test_Gateway:set_time(moment) end

--- The wall clock in seconds since 1970; a test begins at 2026-01-01T00:00:00Z.
---@return number
function test_Gateway:now() end

--- Ends the timers and tasks that requests have started. For a test that is not about them.
function test_Gateway:drop_tasks() end

--- What the runtime and the policies logged since the test began.
---@return perigee.test.LogLine[]
function test_Gateway:log() end

--- The lines of the access log since the gateway began.
---@return perigee.test.LogEntry[]
function test_Gateway:access_log() end

--- Values of all metrics, by name with labels as Prometheus reads them.
---@return table<string, number>
function test_Gateway:metrics() end

--- A fake Redis for this gateway, with virtual time: what policies ask at `where` it answers.
---@param where string address as policies give it; a name alone stands for port 6379
---@param options? perigee.test.RedisOptions
---@return perigee.test.Redis
function test_Gateway:redis(where, options) end

--- Closes the gateway. Called by the kit after each test.
function test_Gateway:close() end

--- What a configuration file returns; upstreams and endpoints may be fakes.
---@class perigee.test.Config
---@field hosts? table<string, perigee.test.Answer> fakes by address; "*" answers for all others
local test_Config = {}

---@class perigee.test.Options
---@field files? table<string, string> texts of files by path, before those on disk
---@field dir? string folder of the configuration; by default that of the spec file and those above
local test_Options = {}

---@class perigee.test.LoadOptions
---@field files? table<string, string> texts of files by path, before those on disk
---@field upstreams? table<string, perigee.test.Answer> fakes in the place of the file's upstreams
---@field hosts? table<string, perigee.test.Answer> fakes by address; "*" answers for all others
local test_LoadOptions = {}

--- What is wrong with a configuration.
---@class perigee.test.Error
---@field file? string
---@field line? integer
---@field path? string of the setting
---@field message string
local test_Error = {}

---@class perigee.test.Request
---@field method? string "GET"
---@field path? string with query; "/"
---@field headers? table<string, string|string[]>
---@field body? string|table a table is sent as JSON
---@field chunks? (string|number|perigee.test.Failure)[] a chunked body: chunks, pauses in seconds, test.fail.reset
---@field trailers? table<string, string> behind the chunks
---@field timeout? number virtual seconds to wait for the response; 60
---@field client? string IP address that the gateway sees; "127.0.0.1"
---@field tls? perigee.test.Tls|true what the client's TLS agreed on; without it there is none
local test_Request = {}

---@class perigee.test.Connect
---@field listener? string address of the listener; the first one's
---@field client? string IP address that the gateway sees; "127.0.0.1"
---@field tls? perigee.test.Tls|true what the client's TLS agreed on, where the listener ends it
---@field hello? perigee.test.Hello a ClientHello is sent at once, for listeners that look at it and pass TLS on
local test_Connect = {}

---@class perigee.test.LogLine
---@field level "debug"|"info"|"warn"|"error"
---@field message string
local test_LogLine = {}

---@class perigee.test.LogEntry
local test_LogEntry = {}

---@class perigee.test.Redis
---@field name string
---@field commands string[][] what it has been asked: lists of name and arguments
local test_Redis = {}

--- Asks the server, as a client of it would; at once, and not counted among its commands.
---@param name string
---@param ... string|number
---@return any reply a string, a number, false for nil, a list, { ok = text } or { err = text }
function test_Redis:call(name, ...) end

--- Every reply comes so much later from now on.
---@param span number|string seconds, or a duration such as "50ms"
function test_Redis:delay(span) end

--- The server is gone: connections break, new ones are refused. What it held is kept, as by a server that saves it.
function test_Redis:stop() end

--- It takes commands and connections, and answers nothing.
function test_Redis:hang() end

--- It is there again. What it was asked while it hung is forgotten.
function test_Redis:start() end

--- Forgets everything that it holds, and what it was asked.
function test_Redis:reset() end

---@class perigee.test.RedisOptions
---@field password? string that AUTH must give
---@field share? perigee.test.Redis the same server at one more address, or for one more gateway
local test_RedisOptions = {}

---@class perigee.test.Tls
---@field version? string "TLSv1.3"
---@field cipher? string "TLS_AES_128_GCM_SHA256"
---@field server_name? string what the client asked for
---@field alpn? string the protocol that both chose; requests are HTTP/1.1 all the same
---@field peer? perigee.test.Peer the client's certificate
local test_Tls = {}

---@class perigee.test.Peer
---@field subject? string "CN=client"
---@field issuer? string "CN=authority"
---@field san? string[] its names
---@field spiffe_id? string also put into `san`
---@field fingerprint? string 64 hex digits
local test_Peer = {}

---@class perigee.test.Hello
---@field server_name? string
---@field alpn? string[]
local test_Hello = {}

---@class perigee.test.Failure
local test_Failure = {}

--- What can go wrong at an upstream, in the place of a fake, of its answer, or inside a stream.
---@class perigee.test.Failures
---@field reset perigee.test.Failure the connection breaks
---@field refuse perigee.test.Failure there is no connection; in the place of a fake only
---@field timeout perigee.test.Failure connecting takes for ever; in the place of a fake only
---@field hang perigee.test.Failure nothing comes
local test_Failures = {}

---@class perigee.test.Stream
local test_Stream = {}

---@class perigee.test.Script
local test_Script = {}

---@class perigee.test.Bytes
local test_Bytes = {}

--- A request that a fake has got.
---@class perigee.test.Seen
---@field method string
---@field path string
---@field query string behind the "?"; "" for none
---@field target string path and query
---@field headers perigee.test.Fields
---@field trailers perigee.test.Fields
---@field body string
---@field endpoint integer which of the upstream's endpoints was asked, from 1
local test_Seen = {}

---@class perigee.test.Fake
---@field name string
---@field requests perigee.test.Seen[] what it has been asked
---@field connections perigee.test.Received[] to test.bytes: what each connection has brought
local test_Fake = {}

--- Forgets the requests and connections.
function test_Fake:reset() end

--- The test fails at its end unless the fake was asked this by then.
---@param wanted perigee.test.Wanted
function test_Fake:expect(wanted) end

--- A connection to a server without HTTP.
---@class perigee.test.Received
---@field bytes string
---@field endpoint integer which of the upstream's endpoints it came to, from 1
local test_Received = {}

---@alias perigee.test.Stand perigee.test.Failure|perigee.test.Script|perigee.test.Bytes
---@alias perigee.test.Answer perigee.test.Stand|fun(req: perigee.test.Seen): any

---@alias perigee.test.Stand perigee.test.Failure|perigee.test.Script|perigee.test.Bytes
---@alias perigee.test.Answer perigee.test.Stand|fun(req: perigee.test.Seen): any

---@class perigee.test
---@field fail perigee.test.Failures what can go wrong at an upstream
local test = {}

--- An answer of a fake upstream.
---@param status integer
---@param body? string|table|perigee.test.Stream a table is sent as JSON; a stream, slowly
---@param headers? table<string, string|string[]>
---@param trailers? table<string, string>
---@return any
function test.reply(status, body, headers, trailers) end

--- A slow body: strings are chunks, numbers are pauses in seconds; test.fail.reset and test.fail.hang end it.
---@param parts (string|number|perigee.test.Failure)[]
---@return perigee.test.Stream
function test.stream(parts) end

--- A fake that gives each answer once, in this order. It is an error to ask it more often, and the test fails when it is asked
--- less often.
---@param list any[] what a fake may return, or functions
---@return perigee.test.Script
function test.answers(list) end

--- A server without HTTP, for listeners that pass TCP on: `answer` gets what has arrived, and what it returns is sent
--- back. Without it nothing is.
---@param answer? fun(bytes: string): string|perigee.test.Failure|nil
---@return perigee.test.Bytes
function test.bytes(answer) end

--- A gateway in memory. Raises an error that lists what is wrong with the configuration.
---@param config perigee.test.Config as a configuration file returns it; upstreams may be functions
---@param options? perigee.test.Options
---@return perigee.test.Gateway
function test.gateway(config, options) end

--- A gateway for a configuration file.
---@param path string
---@param options? perigee.test.LoadOptions
---@return perigee.test.Gateway
function test.load(path, options) end

--- What is wrong with a configuration: a list, empty when it is accepted.
---@param config perigee.test.Config
---@param options? perigee.test.Options
---@return perigee.test.Error[]
function test.errors(config, options) end

--- Moves time on, and does what falls due; for tests without a gateway.
---@param span number|string seconds, or a duration such as "90s"
function test.advance(span) end

--- Sets the wall clock, forward or back; for tests without a gateway.
---@param moment number|string seconds since 1970, or a date such as "2026-03-01T12:00:00Z"
function test.set_time(moment) end

--- The wall clock in seconds since 1970; a test begins at 2026-01-01T00:00:00Z.
---@return number
function test.now() end

return test
