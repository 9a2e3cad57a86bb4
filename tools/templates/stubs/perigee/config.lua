---@meta
-- Made by tools/gen_config_stub.lua from lua/perigee/_core/settings.lua. Editors read it; it is never run.
--
-- The table that a configuration returns:
--
--     ---@type perigee.Config
--     local config = { … }
--     return config

---@class perigee.Config
---@field access_log? perigee.AccessLog|string Where the access log goes. A string is the path.
---@field admin? string Address of the admin API: a loopback address or `unix:/path`. Without it: none.
---@field dns? perigee.Dns How names are looked up.
---@field drain? string|number How long exchanges may finish after SIGTERM.
---@field explain? perigee.Explain Lets a client ask why: a request with the token in `x-perigee-explain` gets the decision trace in the header of that name.
---@field keep_generations? integer Snapshots kept for `perigee rollback`.
---@field listeners? (perigee.Listener|string)[] Addresses that are served.
---@field lua_memory? string|integer Largest Lua heap of a worker.
---@field overload? perigee.Overload Limits of a worker. From 90 % of one on requests are answered 503 with `Retry-After`, at the limit no connection is accepted. 0: no limit.
---@field policies? (string|perigee.Use)[] Policies that run on every route, in order.
---@field reload? perigee.Reload What a change of the configuration must pass before it serves.
---@field role? "gateway"|"sidecar" What the proxy is used as: changes defaults, nothing else.
---@field routes perigee.Route[] What is done with which requests. A request without a route is answered 404.
---@field shared_memory? string|integer Memory of `perigee.shared`. What is not used costs nothing.
---@field upstreams? table<string, perigee.Upstream> Servers that requests are passed to, by name.
---@field watch? boolean Reload when a file changes.
---@field watchdog? string|number A worker stuck for this long is replaced.
---@field workers? integer|"auto" Worker processes; `"auto"`: one for each CPU; 0: a single process without a supervisor.
---@field zone? string Zone of this proxy: endpoints in it are preferred.

---@class perigee.AccessLog
---@field path string `"stdout"` (also `"-"` and `"/dev/stdout"`), `"stderr"` (also `"/dev/stderr"`), `"off"` or a file.

---@class perigee.Dns
---@field servers string[] DNS servers (`IP:port`) that are asked in the place of those in /etc/resolv.conf.

---@class perigee.Explain
---@field token string The token, 16 characters or more.

---@class perigee.Listener
---@field address string IP address and port, `[IPv6]:port` or `unix:/path`. `*` is every IPv4 address; port 0 lets the system choose.
---@field deadline_header? string Header in which clients say how many milliseconds they wait for the answer, such as `"x-envoy-upstream-rq-timeout-ms"`; 0, or anything else but a number, says nothing. Timeouts are never longer for it. Without it clients are believed only about `grpc-timeout`.
---@field limits? perigee.Listener.Limits Limits on requests.
---@field policies? (string|perigee.Use)[] With protocol `"tcp"`: policies whose `on_connect` is asked, in order, before a connection is passed on.
---@field protocol? "http"|"tcp" What it speaks; `tcp`: nothing, connections are passed on as they are.
---@field proxy_protocol? perigee.Listener.ProxyProtocol Proxies in front that begin each connection with a PROXY header (version 1 or 2).
---@field sni? table<string, string> With protocol `"tcp"`: upstreams by the server name in the client's TLS, exact or `"*.suffix"`. What has none of these names goes to `upstream`, or is closed without it.
---@field timeouts? perigee.Listener.Timeouts Timeouts towards the clients; `"0s"` switches one off.
---@field tls? "dev"|perigee.Listener.Tls TLS with the clients. Certificates are read again at every reload. `"dev"`: with a certificate for localhost that `perigee dev` makes; nothing else serves it.
---@field trusted_hops? integer Proxies in front whose entries in X-Forwarded-For are believed.
---@field upstream? string With protocol `"tcp"`: the upstream that connections are passed to.

---@class perigee.Listener.Limits
---@field body? string|integer Bytes of a request's body; more: 413. Without it: no limit.
---@field connections? integer Open connections of a worker.
---@field header_bytes? string|integer Bytes of the request line and header; more: 431.
---@field headers? integer Header fields of a request; more: 431.
---@field streams? integer Requests at once on one HTTP/2 connection.
---@field uri_bytes? string|integer Bytes of the request target; more: 414.

---@class perigee.Listener.ProxyProtocol
---@field from string[] Addresses and networks of these proxies, `"unix"` for whoever comes over a unix socket. Their connections must begin with a header, and the client is who it says; of others no header is believed.

---@class perigee.Listener.Timeouts
---@field headers? string|number From the first byte of a request to the end of its header; of a TLS handshake, a PROXY header, and with `sni` until the server name is known.
---@field idle? string|number Between two requests of a connection.
---@field request? string|number Until the request is complete.
---@field stream_idle? string|number Without a byte in either direction of an exchange or, with protocol `tcp`, a connection.

---@class perigee.Listener.Tls
---@field alpn? ("h2"|"http/1.1")[] Protocols that are offered.
---@field cert? string PEM file: the certificate, then its chain.
---@field certificates? perigee.Listener.Tls.Certificates[] Several certificates, chosen by server name; the first is shown to everybody else. Those of the same names with different kinds of key stand side by side.
---@field client_auth? "none"|"optional"|"require" Whether clients are asked for a certificate.
---@field client_ca? string PEM file: whom client certificates must come from.
---@field directory? string Folder of certificates that another program writes, such as an ACME client: `NAME.crt` or `NAME.pem` with `NAME.key`, and folders with `fullchain.pem` and `privkey.pem`. Each is shown for the DNS names in it; those named above come first, then these in the order of their names.
---@field key? string PEM file of its key.
---@field min_version? "1.2"|"1.3" The oldest version that is spoken.
---@field ocsp? string DER file of an OCSP response to staple.

---@class perigee.Listener.Tls.Certificates
---@field cert string PEM file: the certificate, then its chain.
---@field hosts? string[] Server names it is shown for, exact or `"*.suffix"`. Without it: the DNS names in it.
---@field key string PEM file of its key.
---@field ocsp? string DER file of an OCSP response to staple.

---@class perigee.Overload
---@field connections? integer Open client connections of all listeners. Without it: half of the descriptors, at most 50000.
---@field fds? integer|string Open descriptors; a share is of those that the system allows (RLIMIT_NOFILE).
---@field memory? string|integer Memory of its own. Without it: 95 % of the cgroup's limit for the whole cgroup, if it has one.

---@class perigee.Reload
---@field canary? string Share of the exchanges that uses the new generation first, such as `"5%"`. Without it: all at once.
---@field max_errors? string Share of its exchanges by which the canary may have more 5xx; beyond it is given up.
---@field max_slowdown? number How many times the 99th percentile of durations the canary's may be.
---@field test? boolean Run the specs beside the configuration first; one that fails refuses it.
---@field test_timeout? string|number How long all specs together may take.
---@field window? string|number How long the canary is compared with what serves.

---@class perigee.Route
---@field handler? fun(req: perigee.Request): any Lua function of the request that returns the answer.
---@field labels? table<string, string> Only endpoints of the upstream that have these labels.
---@field match? perigee.Route.Match Which requests the route takes. Without conditions: all.
---@field name? string Name in metrics and logs. Without it: `route-` and its number.
---@field policies? (string|perigee.Use)[] Policies of this route, run in order after those of all routes.
---@field priority? "default"|"high" Which limits of the upstream's `breaker` its requests have.
---@field redirect? perigee.Route.Redirect|string Answers with a redirect. A string is the location.
---@field reply? string|table A fixed answer: text, `{ status, body, headers }` or `reply(…)`.
---@field rewrite? perigee.Route.Rewrite Changes the path that the upstream sees: one of `prefix`, `path`, or `regex` with `to`.
---@field timeouts? perigee.Route.Timeouts Timeouts that differ from the upstream's.
---@field upstream? string|(perigee.Route.Upstream|string)[]|(fun(req: perigee.Request): any) Name; or shares: `{ { "v1", weight = 9 }, { "v2", weight = 1 } }`; or a function of the request that returns a name, and labels to ask for if need be.

---@class perigee.Route.Match
---@field headers? table<string, perigee.Route.Match.Headers|string> By name: the exact value, `{ present = true }` or `{ regex = "…" }`.
---@field host? string Host name: exact, or `"*.suffix"` for every name below it.
---@field methods? string[] Methods, in upper case. Without it: all.
---@field path? string `"/a"` exact; `"/a/*"` the path and all below it; `"/a/{name}/b"` captures one segment.
---@field path_regex? string PCRE2 pattern for the path, instead of `path`.
---@field query? table<string, perigee.Route.Match.Query|string> Query parameters, as for `headers`.

---@class perigee.Route.Match.Headers
---@field present? boolean `true`: any value will do.
---@field regex? string PCRE2 pattern found anywhere in the value.
---@field value? string The exact value.

---@class perigee.Route.Match.Query
---@field present? boolean `true`: any value will do.
---@field regex? string PCRE2 pattern found anywhere in the value.
---@field value? string The exact value.

---@class perigee.Route.Redirect
---@field location string URL to go to.
---@field status? integer 301, 302, 303, 307 or 308.

---@class perigee.Route.Rewrite
---@field path? string New path; `{name}` is a captured segment.
---@field prefix? string Replaces what the path of the match stands for before its `"*"`.
---@field regex? string PCRE2 pattern; what it finds in the path becomes `to`.
---@field to? string Replacement for `regex`; `$1` is its first group.

---@class perigee.Route.Timeouts
---@field request? string|number From the complete request to the response, instead of the upstream's. `"0s"` is no limit.

---@class perigee.Route.Upstream
---@field upstream string Name of the upstream.
---@field weight? integer Share of the requests, relative to the others.

---@class perigee.Upstream
---@field accrual? perigee.Upstream.Accrual Servers that fail too often are shut, and come back when one request has succeeded, counted over all workers. Linkerd's failure accrual, in the place of `outlier`. Without it: none.
---@field balance? (fun(req: perigee.Request): any)|perigee.Upstream.Balance|"round_robin"|"least_request"|"ewma"|"random"|"ring_hash"|"maglev"|"sticky" How an endpoint is chosen: the name of an algorithm, or a table of it and its settings, such as `{ "ring_hash", by = "header:x-user" }`; or a function of the request and the endpoints that returns the number of one, or nil for the next in turn.
---@field breaker? perigee.Upstream.Breaker Limits on what the servers are asked to do at the same time, over all workers. What is beyond is answered 503. Without it: none.
---@field deadline_header? string Header of each request in which the servers read how many milliseconds their answer is waited for, less with each attempt, such as `"x-envoy-expected-rq-timeout-ms"`. What clients sent in it is taken off.
---@field dns? string One `host:port`; all addresses of the name are servers, looked up again when their time (TTL) is over.
---@field dynamic? (perigee.Upstream.Dynamic|string)[] Policies and handlers set the servers with `perigee.upstream`; these are they until then, or none: `{}`.
---@field endpoints? (perigee.Upstream.Endpoint|string)[] Addresses of the servers.
---@field file? string JSON file that lists the servers, read again when it changes. A relative path begins where Perigee was started.
---@field health? perigee.Upstream.Health Servers are asked in intervals how they are; those that are not well get no requests. One process of a host asks for all workers. Without it: nobody asks.
---@field hedge? perigee.Upstream.Hedge A request that is not answered after a while is sent a second time, to another server if there is one, and the first good answer is taken. Counts as a retry for the budget of `retries` and for `max_retries`. Without it: never.
---@field http? perigee.Upstream.Http|string A server that lists the servers: as a list in JSON, or as Consul's health API does.
---@field outlier? perigee.Upstream.Outlier Ejection of servers whose results are worse than allowed, counted over all workers. Without it: none. The names are Envoy's.
---@field panic_threshold? string When less of the endpoints are available, all are used. `0%`: never.
---@field pool? perigee.Upstream.Pool Idle connections kept for later requests.
---@field protocol? "auto"|"h1"|"h2"|"h2c" Protocol of the servers: HTTP/1.1, HTTP/2 over TLS, or HTTP/2 without TLS. `auto`: with TLS what the server chooses, without it HTTP/1.1.
---@field proxy_protocol? "v1"|"v2" Connections begin with a PROXY header of this version, which says who the client is. For tcp listeners only: those of requests are shared by clients.
---@field retries? perigee.Upstream.Retries Failed attempts are made again, on another server if there is one. Without it: only those that met a connection that was closing.
---@field slow_start? string|number Time in which an endpoint that is new or was away grows from 10 % to all of its weight. Without it: at once.
---@field srv? string Name with SRV records, such as `_http._tcp.orders.internal`; all addresses of their targets are servers, by priority and weight, looked up again when their time (TTL) is over.
---@field timeouts? perigee.Upstream.Timeouts Timeouts towards the servers; `"0s"` switches one off.
---@field tls? perigee.Upstream.Tls TLS with the servers; `{}` is enough.
---@field zone? string Zone of this proxy, instead of the one at the top.

---@class perigee.Upstream.Accrual
---@field backoff? perigee.Upstream.Accrual.Backoff How long a server is shut before it gets its one request.
---@field failures? integer Failures in a row that shut.
---@field kind? "consecutive"|"unified" What counts: failures in a row, or the rate of successes too.
---@field min_requests? integer unified: requests that are needed in it. Default 5.
---@field success_rate? number unified: share of successes below which a server is shut. Default 0.8.
---@field window? string|number unified: time over which they are counted. Default 10s.

---@class perigee.Upstream.Accrual.Backoff
---@field jitter? number Share of it that is added at most, at random.
---@field max? string|number At most; each further time in a row is twice as long.
---@field min? string|number The first time.

---@class perigee.Upstream.Balance
---@field by? string|(fun(req: perigee.Request): any) ring_hash, maglev: what decides: `header:NAME`, `cookie:NAME`, `client` (address), `path`, or a function of the request that returns a string or nil.
---@field cookie? string sticky: name of the cookie.
---@field decay? string|number ewma: time in which a measurement loses 63 % of its weight. Default 10s.
---@field default_rtt? string|number ewma: what an endpoint that was never asked is taken for. Default 30ms.
---@field fallback? "round_robin"|"least_request"|"ewma"|"random" sticky: how clients without a cookie are spread. Default round_robin.
---@field load_bound? integer ring_hash, maglev: per cent of the mean load that an endpoint may have before requests go to the next one. Without it: no bound.
---@field max_ring_size? integer ring_hash: most points on the ring. Default 1048576.
---@field min_ring_size? integer ring_hash: points of two endpoints of the least weight. Default 1024.
---@field secret? string sticky: key of the cookie's values, for several proxies with the same endpoints. Without it: one of the process's own, until it ends.
---@field table_size? integer maglev: places of the table, a prime number. Default 65537.
---@field ttl? string|number sticky: life of the cookie. Without it: that of the client's session.
---@field type "round_robin"|"least_request"|"ewma"|"random"|"ring_hash"|"maglev"|"sticky" The algorithm.

---@class perigee.Upstream.Breaker
---@field high? perigee.Upstream.Breaker.High Limits for routes with `priority = "high"`, whose requests are counted apart and never wait.
---@field max_connections? integer Open connections, idle ones included. At the limit only requests that find an idle one are sent.
---@field max_pending? integer Requests that wait for a connection.
---@field max_requests? integer Requests under way.
---@field max_retries? integer Retries under way.
---@field queue? perigee.Upstream.Breaker.Queue Requests beyond `max_requests` wait for a place, first come first served. Without it: none waits.

---@class perigee.Upstream.Breaker.High
---@field max_connections? integer Open connections, idle ones included. At the limit only requests that find an idle one are sent.
---@field max_pending? integer Requests that wait for a connection.
---@field max_requests? integer Requests under way.
---@field max_retries? integer Retries under way.

---@class perigee.Upstream.Breaker.Queue
---@field max? integer Requests that may wait, over all workers; more are answered 503.
---@field timeout? string|number How long one waits; then it is answered 503.

---@class perigee.Upstream.Dynamic
---@field address string `host:port`, `[IPv6]:port` or `unix:/path`.
---@field health? perigee.Upstream.Dynamic.Health Where this server is checked, if not where the others are.
---@field labels? table<string, string> Labels, for routes that ask for them: `{ version = "v2" }`.
---@field priority? integer Those of 0 get the requests; the next ones what they cannot take.
---@field weight? integer Share of the requests.
---@field zone? string Zone of the endpoint.

---@class perigee.Upstream.Dynamic.Health
---@field path? string http: path that is asked.
---@field port? integer Port that is checked in the place of the one that requests go to.

---@class perigee.Upstream.Endpoint
---@field address string `host:port`, `[IPv6]:port` or `unix:/path`.
---@field health? perigee.Upstream.Endpoint.Health Where this server is checked, if not where the others are.
---@field labels? table<string, string> Labels, for routes that ask for them: `{ version = "v2" }`.
---@field priority? integer Those of 0 get the requests; the next ones what they cannot take.
---@field weight? integer Share of the requests.
---@field zone? string Zone of the endpoint.

---@class perigee.Upstream.Endpoint.Health
---@field path? string http: path that is asked.
---@field port? integer Port that is checked in the place of the one that requests go to.

---@class perigee.Upstream.Health
---@field expected? (integer|"2xx"|"3xx"|"4xx"|"5xx")[] http: statuses that are a success: numbers, and classes such as `"2xx"`. Default `{ 200 }`.
---@field headers? table<string, string> http, grpc: headers that are sent. No place for secrets.
---@field healthy? integer Successes in a row after which a server counts as such. The first check decides by itself.
---@field host? string http, grpc: the host that is asked for. Without it: the name in `dns`, or the server's address.
---@field initial? "healthy"|"unhealthy" What a server counts as that was never checked.
---@field interval? string|number From the end of a check to the next one of the same server.
---@field jitter? string Share of `interval` that is added at random, at most, so that proxies do not all ask at once.
---@field path? string http: path that is asked, with its query. Default `"/"`.
---@field port? integer Port that is checked in the place of the one that requests go to.
---@field service? string grpc: the service whose state is asked for. Default `""`: the server as a whole.
---@field timeout? string|number How long a check may take, the connection included.
---@field type? "http"|"tcp"|"grpc" What is asked: `GET` of a path; a connection; `grpc.health.v1.Health/Check`. Over TLS if the upstream has it.
---@field unhealthy? integer Failures in a row after which a server counts as such. The first check decides by itself.

---@class perigee.Upstream.Hedge
---@field after? string|number How long the answer is waited for first. Without it: only requests for which a policy says so.
---@field max? integer How often one request is sent again this way. Never are more than two on their way.
---@field non_idempotent? boolean POST, PATCH and the like too: the servers may act on them twice.

---@class perigee.Upstream.Http
---@field headers? table<string, string> Header fields of the question, such as `X-Consul-Token`. Neither logged nor shown.
---@field interval? string|number How long after an answer it is asked again, and up to a tenth more.
---@field timeout? string|number For one answer.
---@field tls? perigee.Upstream.Http.Tls TLS with the servers; `{}` is enough.
---@field url string What is asked for, with GET: `http://` or `https://`, a host, a path, a query.
---@field wait? string|number How long the server may keep a question until there is news (Consul's blocking queries). Without it, and while the answers have no `X-Consul-Index`: it is asked once an interval.

---@class perigee.Upstream.Http.Tls
---@field ca? string PEM file: whom the servers' certificates must come from. Without it: the system's authorities.
---@field cert? string PEM file: the certificate to show when asked, then its chain.
---@field key? string PEM file of its key.
---@field min_version? "1.2"|"1.3" The oldest version that is spoken.
---@field san? string[] Names (DNS or URI, such as a SPIFFE ID) of which the certificate must carry one, in place of `sni`.
---@field sni? string Name that is asked for and expected. Without it: the host of the address.
---@field verify? boolean `false`: believe any server. For tests only.

---@class perigee.Upstream.Outlier
---@field always_eject_one_host? boolean One server may be ejected whatever `max_ejection_percent` says.
---@field base_ejection_time? string|number How long the first ejection lasts; the n-th in a row lasts n times as long.
---@field consecutive_5xx? integer Failures in a row that eject: 5xx, and attempts without an answer. 0: no limit.
---@field consecutive_gateway_failure? integer 502, 503 and 504 in a row that eject. 0: no limit.
---@field consecutive_local_origin_failure? integer Attempts without an answer in a row that eject, with `split_external_local_origin_errors`. 0: no limit.
---@field enforcing_consecutive_5xx? integer Per cent of those found by `consecutive_5xx` that are ejected; 0: they are only counted.
---@field enforcing_consecutive_gateway_failure? integer Per cent of those found by `consecutive_gateway_failure` that are ejected; 0: they are only counted.
---@field enforcing_consecutive_local_origin_failure? integer Per cent of those found by `consecutive_local_origin_failure` that are ejected; 0: they are only counted.
---@field enforcing_failure_percentage? integer Per cent of those found by `failure_percentage_*` that are ejected; 0: they are only counted.
---@field enforcing_success_rate? integer Per cent of those found by `success_rate_*` that are ejected; 0: they are only counted.
---@field failure_percentage_minimum_hosts? integer As `success_rate_minimum_hosts`.
---@field failure_percentage_request_volume? integer As `success_rate_request_volume`.
---@field failure_percentage_threshold? integer Per cent of failed requests from which a server is ejected.
---@field interval? string|number How often rates are compared and servers that were ejected come back.
---@field max_ejection_percent? integer Per cent of the servers that may be ejected at the same time.
---@field max_ejection_time? string|number How long an ejection lasts at most.
---@field max_ejection_time_jitter? string|number Up to this is added to each ejection, at random.
---@field split_external_local_origin_errors? boolean Attempts without an answer are counted apart from answers.
---@field success_rate_minimum_hosts? integer Servers with enough requests that are needed to compare success rates.
---@field success_rate_request_volume? integer Requests in an interval that are enough.
---@field success_rate_stdev_factor? integer A server is ejected when its success rate is below the mean less this many thousandths of the standard deviation.
---@field successful_active_health_check_uneject_host? boolean A server whose check (`health`) succeeds is back at once.

---@class perigee.Upstream.Pool
---@field idle? string|number How long one is kept.
---@field max_idle? integer Per worker and server.
---@field max_requests? integer Requests on one connection before it is closed; 0 for no limit.

---@class perigee.Upstream.Retries
---@field attempts? integer How many retries a request has, beyond the first attempt.
---@field backoff? perigee.Upstream.Retries.Backoff The wait before a retry, at random below a range that doubles.
---@field body? string|integer Bytes of a request's body that are kept to be sent again; a request with more has no retries once that much left.
---@field budget? perigee.Upstream.Retries.Budget How many retries there may be, over all workers.
---@field non_idempotent? boolean POST, PATCH and the like are sent again too when the server did not answer: it may have acted on them.
---@field on? ("5xx"|"gateway-error"|"reset"|"connect-failure"|"refused-stream"|"retriable-4xx"|"cancelled"|"deadline-exceeded"|"internal"|"resource-exhausted"|"unavailable"|integer)[] What is worth a retry: conditions, names of gRPC statuses in the response's head, and status codes.
---@field per_try_timeout? string|number From the complete request to the response, for each attempt. `timeouts.request` limits all of them together.

---@class perigee.Upstream.Retries.Backoff
---@field base? string|number The range before the first retry. `"0s"`: no wait.
---@field max? string|number The widest range.

---@class perigee.Upstream.Retries.Budget
---@field min_concurrency? integer concurrency: retries that are always allowed.
---@field min_per_second? integer rate: retries a second that are always allowed.
---@field percent? integer concurrency: per cent of the requests under way.
---@field ratio? number rate: retries for each request.
---@field ttl? string|number rate: how long a request counts.
---@field type? "concurrency"|"rate" What is limited: the retries under way (Envoy), or those in a time (Finagle, Linkerd).

---@class perigee.Upstream.Timeouts
---@field connect? string|number Until the connection stands.
---@field idle? string|number Without a byte in either direction.
---@field request? string|number From the complete request to the response.
---@field stream? string|number A whole exchange, from the first byte of the request to the last of the response, or of the tunnel that it became; a whole connection of a tcp listener. Without it: no limit.

---@class perigee.Upstream.Tls
---@field ca? string PEM file: whom the servers' certificates must come from. Without it: the system's authorities.
---@field cert? string PEM file: the certificate to show when asked, then its chain.
---@field key? string PEM file of its key.
---@field min_version? "1.2"|"1.3" The oldest version that is spoken.
---@field san? string[] Names (DNS or URI, such as a SPIFFE ID) of which the certificate must carry one, in place of `sni`.
---@field sni? string Name that is asked for and expected. Without it: the host of the address.
---@field verify? boolean `false`: believe any server. For tests only.

---@class perigee.FixedReply
---@field body? string|table Text, or a table sent as JSON.
---@field headers? table<string, string|number|string[]> Header fields: a value, or a list of values.
---@field status? integer Status.

---@class perigee.Use
---@field [1] string name of the policy; its own settings stand beside it
---@field budget? perigee.Use.Budget|string|number What one call of a hook may use, from one wait to the next.
---@field dry_run? boolean Decide, log and count, but do not enforce.
---@field on_failure? "closed"|"open" When the policy fails: answer 503 (closed) or go on without it (open). The default is the policy's.
---@field policy? string Name of the policy, when it is not the first item.
---@field when? (fun(req: perigee.Request): any)|table Function of the request, or a match table: the policy runs only if it holds.

---@class perigee.Use.Budget
---@field cpu? string|number CPU time, to some milliseconds. A call that uses more fails.

--- The value of an environment variable, in configurations only. It is never shown.
---@param name string
---@return string|nil
function env(name) end

--- The text of a file, in configurations only. It is never shown.
---@param path string absolute, or relative to the configuration
---@return string
function file(path) end

--- As perigee.reply.
---@param status integer 200 to 599
---@param body? string|table
---@param headers? table<string, string|number|(string|number)[]>
---@return perigee.Reply
function reply(status, body, headers) end
