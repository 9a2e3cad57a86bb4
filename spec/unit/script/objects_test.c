// SPDX-License-Identifier: MIT
// The request and response objects: every field, what may be set, and what is refused. Each case is Lua in a hook, whose asserts
// fail the exchange.

#include "script_world.h"

#include "event/tls.h"

static void expect(struct peri_exchange *x, enum peri_phase phase)
{
    if (run(x, phase) != PERI_VERDICT_CONTINUE)
        fail_msg("%s", world.log);
}

// Runs `code` in on_request of a fresh world and gives the exchange, whose client has `tls`.
static struct peri_exchange *request_with_tls(const struct peri_tls_info *tls, const char *code)
{
    char policy[4096];
    snprintf(policy, sizeof(policy),
             "local function refused(pattern, f, ...)\n"
             "  local ok, message = pcall(f, ...)\n"
             "  assert(not ok, 'not refused: ' .. pattern)\n"
             "  assert(message:find(pattern, 1, true), message)\n"
             "end\n"
             "function P:on_request(req)\n%s\nend",
             code);
    world_with(policy, WORLD_ROUTE);
    struct peri_exchange *x = world_request();
    x->tls = tls;
    expect(x, PERI_PHASE_REQUEST);
    return x;
}

static struct peri_exchange *request(const char *code)
{
    return request_with_tls(NULL, code);
}

static void finish(struct peri_exchange *x)
{
    world_end(x);
    world_close();
}

static void a_request_has_its_fields(void **state)
{
    (void)state;
    finish(request("assert(req.method == 'GET' and req.scheme == 'http' and req.host == 'shop.example')\n"
                   "assert(req.path == '/a/7' and tostring(req.query) == 'q=1&q=two%20words&flag')\n"
                   "assert(req.client.ip == '192.0.2.1' and req.client.port == 4711)\n"
                   "assert(req.params.id == '7' and req.params.other == nil)\n"
                   "assert(req.route == 'r' and req.version == '1.1' and req.duration == 0)\n"
                   "assert(req.consumer == nil and req.id == nil)\n"
                   "assert(req == req and req.ctx == req.ctx and next(req.ctx) == nil)\n"
                   "for name, value in pairs(req.params) do assert(name == 'id' and value == '7') end\n"
                   "assert(perigee.worker == 3)"));
}

static void a_client_without_tls_has_none(void **state)
{
    (void)state;
    finish(request("assert(req.client.tls == nil and req.client.spiffe_id == nil)\n"
                   "refused('it has ip, port, tls and spiffe_id', function() return req.client.tsl end)\n"
                   "refused('req.client is read-only', function() req.client.tls = {} end)"));
}

static void a_client_has_what_its_tls_agreed_on(void **state)
{
    (void)state;
    struct peri_tls_info tls = {
        .version = "TLSv1.3",
        .cipher = "TLS_AES_128_GCM_SHA256",
        .alpn = "h2",
        .server_name = "shop.example",
        .subject = "",
        .issuer = "",
        .sans = "",
        .spiffe_id = "",
        .fingerprint = "",
    };
    finish(request_with_tls(&tls,
                            "local tls = req.client.tls\n"
                            "assert(tls.version == 'TLSv1.3' and tls.cipher == 'TLS_AES_128_GCM_SHA256')\n"
                            "assert(tls.server_name == 'shop.example' and tls.alpn == 'h2')\n"
                            "assert(tls.peer == nil and req.client.spiffe_id == nil)\n"
                            "refused('version, cipher, server_name, alpn and peer', function() return tls.sni end)\n"
                            "refused('read-only', function() tls.peer = {} end)\n"
                            "assert(getmetatable(tls) == 'perigee.ClientTls')"));
    tls.alpn = tls.server_name = "";
    finish(request_with_tls(&tls, "assert(req.client.tls.server_name == nil and req.client.tls.alpn == nil)"));
}

static void a_client_is_who_its_certificate_says(void **state)
{
    (void)state;
    struct peri_tls_info tls = {
        .version = "TLSv1.2",
        .cipher = "c",
        .alpn = "",
        .server_name = "",
        .subject = "CN=orders",
        .issuer = "CN=ca",
        .sans = "spiffe://shop.test/orders\0a.test\0",
        .spiffe_id = "spiffe://shop.test/orders",
        .fingerprint = "f00d",
        .is_peer_verified = true,
    };
    finish(request_with_tls(&tls, "local peer = req.client.tls.peer\n"
                                  "assert(peer.subject == 'CN=orders' and peer.issuer == 'CN=ca')\n"
                                  "assert(#peer.san == 2 and peer.san[1] == 'spiffe://shop.test/orders')\n"
                                  "assert(peer.san[2] == 'a.test' and peer.fingerprint == 'f00d')\n"
                                  "assert(peer.spiffe_id == peer.san[1] and req.client.spiffe_id == peer.san[1])\n"
                                  "refused('subject, issuer, san', function() return peer.names end)\n"
                                  "refused('read-only', function() peer.spiffe_id = 'x' end)"));
    tls.sans = tls.spiffe_id = "";
    finish(request_with_tls(&tls, "assert(#req.client.tls.peer.san == 0 and req.client.tls.peer.spiffe_id == nil)"));
}

static void fields_that_a_policy_may_set_reach_the_exchange(void **state)
{
    (void)state;
    struct peri_exchange *x = request("req.consumer = 'ada'\n"
                                      "req.id = 'r-1'\n"
                                      "req.method = 'PUT'\n"
                                      "req.scheme = 'https'\n"
                                      "req.path = '/b/./c/../%7ed'\n"
                                      "req.query = 'x=y'\n"
                                      "req.host = 'Other.Example:81'\n"
                                      "assert(req.consumer == 'ada' and req.id == 'r-1' and req.path == '/b/~d')\n"
                                      "assert(req.host == 'other.example' and req.headers.host == 'Other.Example:81')");
    assert_true(peri_slice_eq(x->consumer, PERI_SLICE("ada")));
    assert_int_equal(x->req.method, PERI_METHOD_PUT);
    assert_true(peri_slice_eq(x->req.query, PERI_SLICE("x=y")));
    assert_true(peri_slice_eq(x->req.authority, PERI_SLICE("Other.Example:81")));
    finish(x);
}

static void bad_values_for_fields_are_refused(void **state)
{
    (void)state;
    finish(request("local function set(name, value) req[name] = value end\n"
                   "refused('cannot set req.method', set, 'method', 'GET ')\n"
                   "refused('cannot set req.method', set, 'method', 'CONNECT')\n"
                   "refused('cannot set req.scheme', set, 'scheme', 'ftp')\n"
                   "refused('cannot set req.path', set, 'path', 'relative')\n"
                   "refused('cannot set req.path', set, 'path', '/a%2fb')\n"
                   "refused('cannot set req.path', set, 'path', '/a\\r\\nX: y')\n"
                   "refused('cannot set the query', set, 'query', 'a b')\n"
                   "refused('cannot set req.host', set, 'host', 'a b')\n"
                   "refused('cannot set req.consumer', set, 'consumer', 'a\\nb')\n"
                   "refused('is a string, not a number', set, 'path', 7)\n"
                   "refused('is a string, not a nil', set, 'path', nil)\n"
                   "refused('req.client cannot be set', set, 'client', 'x')\n"
                   "refused('req.ctx cannot be set', set, 'ctx', {})\n"
                   "req.consumer = 'x' req.consumer = nil assert(req.consumer == nil)"));
}

static void a_field_that_does_not_exist_names_the_nearest(void **state)
{
    (void)state;
    finish(request(
        "refused(\"a request has no field 'heders'; did you mean 'headers'?\", function() return req.heders end)\n"
        "refused(\"a request has no field 'consumr'\", function() req.consumr = 'x' end)\n"
        "refused(\"perigee has no 'http2'; did you mean 'http'?\", function() return perigee.http2 end)\n"
        "refused(\"req.client has no field 'address'\", function() return req.client.address end)"));
}

static void headers_are_read_in_any_case_and_written(void **state)
{
    (void)state;
    struct peri_exchange *x =
        request("local headers = req.headers\n"
                "assert(headers.accept == 'text/html' and headers['User-Agent'] == 'test/1')\n"
                "assert(headers:get('ACCEPT') == 'text/html' and headers.missing == nil)\n"
                "assert(table.concat(headers:all('X-Many'), '+') == 'one+two')\n"
                "headers['X-New'] = 12\n"
                "headers['x-many'] = 'three'\n"
                "headers.accept = nil\n"
                "headers:add('x-new', 'again')\n"
                "headers:set('x-set', 'v') headers:remove('x-set')\n"
                "local names = {}\n"
                "for name in headers:iterate() do names[#names + 1] = name end\n"
                "assert(table.concat(names, ' ') == 'host user-agent cookie x-many x-new x-new')\n"
                "local count = 0\n"
                "for _ in pairs(headers) do count = count + 1 end\n"
                "assert(count == 6)");
    assert_string_equal(header_of(&x->req.headers, "x-new"), "12");
    assert_string_equal(header_of(&x->req.headers, "x-many"), "three");
    finish(x);
}

static void headers_that_could_smuggle_are_refused(void **state)
{
    (void)state;
    finish(request(
        "local function set(name, value) req.headers[name] = value end\n"
        "refused(\"cannot set header 'a b'\", set, 'a b', 'v')\n"
        "refused(\"cannot set header 'x'\", set, 'x', 'v\\r\\ny: z')\n"
        "refused(\"cannot set header 'x'\", set, 'x', 'v\\0')\n"
        "for _, name in ipairs { 'Content-Length', 'transfer-encoding', 'connection', 'upgrade', 'te', 'host' } do\n"
        "  refused('cannot set header', set, name, '1')\n"
        "end\n"
        "refused('is a string, not a boolean', set, 'x', true)\n"
        "refused('name of a header is a string', function() return req.headers[7] end)\n"
        "refused(\"call it with ':'\", function() return req.headers.get('accept') end)"));
}

static void the_query_is_read_decoded_and_written_encoded(void **state)
{
    (void)state;
    struct peri_exchange *x =
        request("local query = req.query\n"
                "assert(query:get('q') == '1' and query:get('flag') == '' and query:get('none') == nil)\n"
                "assert(table.concat(query:all('q'), '+') == '1+two words')\n"
                "query:set('new', 'a&b=c d')\n"
                "assert(query:get('new') == 'a&b=c d')\n"
                "query:remove('q')\n"
                "refused('parameters are read with get()', function() return query.q end)\n"
                "refused('query:set(name, value)', function() query.q = 1 end)");
    assert_true(peri_slice_eq(x->req.query, PERI_SLICE("flag&new=a%26b%3Dc%20d")));
    finish(x);
}

static void cookies_are_read(void **state)
{
    (void)state;
    finish(request("assert(req.cookies.a == '1' and req.cookies.b == '2' and req.cookies.session == 's e')\n"
                   "assert(req.cookies.c == nil and req.cookies.es == nil and req.cookies:get('a') == '1')\n"
                   "local names = {}\n"
                   "for name, value in req.cookies:iterate() do names[#names + 1] = name .. '=' .. value end\n"
                   "assert(table.concat(names, '|') == 'a=1|session=s e|b=2')\n"
                   "refused('read-only', function() req.cookies.a = '2' end)"));
}

static void a_response_has_its_fields_once_there_is_one(void **state)
{
    (void)state;
    world_with("function P:on_response(req, res)\n"
               "  assert(res.status == 200 and res.headers['x-from'] == 'origin')\n"
               "  assert(res.upstream == 'origin' and res.endpoint == nil)\n"
               "  assert(not pcall(function() res.status = 99 end))\n"
               "  assert(not pcall(function() res.stats = 200 end))\n"
               "  assert(not pcall(function() return res.stats end))\n"
               "  res.status = 201\n"
               "  res.headers:add('set-cookie', 'a=1') res.headers:add('set-cookie', 'b=2')\n"
               "  assert(#res.headers:all('set-cookie') == 2)\n"
               "  assert(res.body:read() == 'ok')\n"
               "  res.body:set('changed')\n"
               "end",
               WORLD_ROUTE);
    struct peri_exchange *x = world_request();
    world_respond(x, 200);
    x->facts.upstream = PERI_SLICE("origin");
    assert_int_equal(peri_body_set(&x->res_body, PERI_SLICE("ok")), PERI_OK);
    expect(x, PERI_PHASE_RESPONSE);
    assert_int_equal(x->res.status, 201);
    assert_string_equal(body_of(&x->res_body), "changed");
    finish(x);
}

static void replies_are_checked_where_they_are_made(void **state)
{
    (void)state;
    finish(request("refused('the status is a whole number', perigee.reply, 99)\n"
                   "refused('the status is a whole number', perigee.reply, '200')\n"
                   "refused('the body is a string or a table', perigee.reply, 200, 7)\n"
                   "refused('headers are a table', perigee.reply, 200, '', 'x')\n"
                   "refused('cannot be written as JSON', perigee.reply, 200, { f = function() end })"));
}

static void objects_cannot_be_tampered_with(void **state)
{
    (void)state;
    finish(request("refused('protected', rawset, req, 1, 2)\n"
                   "refused('protected', setmetatable, req, {})\n"
                   "refused('protected', setmetatable, req.headers, {})\n"
                   "assert(getmetatable(req) == 'perigee.Request')\n"
                   "req[1] = 'nonsense'\n"
                   "refused('used after its exchange ended', function() return req.path end)"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_has_its_fields),
        cmocka_unit_test(a_client_without_tls_has_none),
        cmocka_unit_test(a_client_has_what_its_tls_agreed_on),
        cmocka_unit_test(a_client_is_who_its_certificate_says),
        cmocka_unit_test(fields_that_a_policy_may_set_reach_the_exchange),
        cmocka_unit_test(bad_values_for_fields_are_refused),
        cmocka_unit_test(a_field_that_does_not_exist_names_the_nearest),
        cmocka_unit_test(headers_are_read_in_any_case_and_written),
        cmocka_unit_test(headers_that_could_smuggle_are_refused),
        cmocka_unit_test(the_query_is_read_decoded_and_written_encoded),
        cmocka_unit_test(cookies_are_read),
        cmocka_unit_test(a_response_has_its_fields_once_there_is_one),
        cmocka_unit_test(replies_are_checked_where_they_are_made),
        cmocka_unit_test(objects_cannot_be_tampered_with),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
