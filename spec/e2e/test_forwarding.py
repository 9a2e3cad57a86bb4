# SPDX-License-Identifier: MIT
"""Header fields on their way: hop-by-hop fields, Host, and what the next hop is told about the client."""

import json

import pytest

from support import client, wait
from support.gateway import Gateway
from support.upstream import Seen, describe

CONFIG = """
return {
  admin = "unix:$dir/admin.sock",
  access_log = "$dir/access.log",
  workers = 1,
  listeners = {
    { address = "127.0.0.1:0" },
    { address = "127.0.0.2:0", trusted_hops = 1 },
    { address = "127.0.0.3:0", trusted_hops = 2 },
    { address = "unix:$dir/front.sock" },
  },
  upstreams = { origin = { endpoints = { "$origin" } } },
  routes = {
    { name = "ip", match = { path = "/ip" }, handler = function(req)
        return reply(200, { ip = req.client.ip, scheme = req.scheme, host = req.host })
      end },
    { name = "all", match = {}, upstream = "origin" },
  },
}
"""

UNTRUSTED, ONE_HOP, TWO_HOPS, UNIX = range(4)


@pytest.fixture(scope="module")
def gateway(origin):
    with Gateway(CONFIG, values={"origin": origin.address}) as started:
        yield started


# ---------------------------------------------------------------- hop by hop

HOP_BY_HOP = [("Connection", "keep-alive, X-Private"), ("Keep-Alive", "timeout=5"), ("Proxy-Connection", "keep-alive"), ("TE", "trailers"),
              ("Trailer", "X-Sum"), ("X-Private", "secret"), ("X-Public", "1")]


def test_hop_by_hop_fields_of_requests_are_removed(gateway):
    seen = Seen(gateway.get("/", HOP_BY_HOP))
    assert not {"connection", "keep-alive", "proxy-connection", "te", "trailer", "x-private"} & set(seen.headers.names())
    assert seen.headers.get("x-public") == "1"


def test_hop_by_hop_fields_of_responses_are_removed(gateway, origin):
    origin.answer = lambda wire, _: wire.respond(200, HOP_BY_HOP, b"x")
    response = gateway.get("/")
    assert not {"connection", "keep-alive", "proxy-connection", "te", "trailer", "x-private"} & set(response.headers.names())
    assert response.headers.get("x-public") == "1"


@pytest.mark.parametrize("connection", [["X-A", "X-B"], ["x-a,x-b"], [" , X-A ,, X-B, "], ["close, X-A", "X-B"]])
def test_every_form_of_the_connection_list_counts(gateway, connection):
    seen = Seen(gateway.get("/", [*(("Connection", value) for value in connection), ("X-A", "1"), ("X-B", "2"), ("X-C", "3")]))
    assert "x-a" not in seen.headers and "x-b" not in seen.headers
    assert seen.headers.get("x-c") == "3"


@pytest.mark.parametrize("name", ["Host", "X-Forwarded-For", "Content-Length"])
def test_connection_cannot_remove_what_others_rely_on(gateway, name):
    seen = Seen(gateway.request("POST", "/", [("Connection", f"close, {name}")], b"body"))
    assert seen.headers.get("host") == client.HOST
    assert seen.headers.get("x-forwarded-for") == "127.0.0.1"
    assert seen.length == 4


def test_other_fields_pass_in_order_and_unchanged(gateway):
    fields = [("X-B", "1"), ("X-A", "2"), ("X-B", "3"), ("Cookie", "a=b; c=d"), ("Accept", "*/*"), ("X-Empty", ""), ("X-Latin", "caf\xe9")]
    seen = Seen(gateway.get("/", fields))
    expected = [(name.lower(), value) for name, value in fields]
    assert [field for field in seen.headers if field[0] in dict(expected)] == expected


def test_fields_of_underscores_are_refused(gateway, origin):
    with gateway.connect() as c:
        assert c.get("/", [("X_Forwarded_For", "10.0.0.1")]).status == 400
        assert c.is_at_end()
    gateway.get("/marker")
    assert origin.targets == ["/marker"]


# ---------------------------------------------------------------- Host


@pytest.mark.parametrize("host", ["shop.test", "shop.test:8080", "127.0.0.1", "[::1]:80", "SHOP.test"])
def test_the_host_is_passed_on(gateway, host):
    assert Seen(gateway.get("/", [("Host", host)])).headers.get("host") == host


def test_absolute_form_wins_over_host(gateway):
    seen = Seen(gateway.get("http://real.test:81/path?q", [("Host", "other.test")]))
    assert (seen.target, seen.headers.get("host")) == ("/path?q", "real.test:81")
    assert seen.headers.get("x-forwarded-host") == "real.test:81"


def test_absolute_form_without_a_path_is_the_root(gateway):
    assert Seen(gateway.get("http://real.test", [("Host", "real.test")])).target == "/"


def test_the_host_of_absolute_form_is_the_one_that_policies_see(gateway):
    response = gateway.get("http://REAL.test:81/ip", [("Host", "other.test")])
    assert json.loads(response.body)["host"] == "real.test"


def test_options_of_the_server_itself_passes(gateway):
    seen = Seen(gateway.request("OPTIONS", "*"))
    assert (seen.method, seen.target) == ("OPTIONS", "*")


# ---------------------------------------------------------------- X-Forwarded-*

SPOOF = [("X-Forwarded-For", "6.6.6.6"), ("X-Forwarded-Proto", "https"), ("X-Forwarded-Host", "evil.test")]


def ip(gateway, listener, headers=()):
    return json.loads(gateway.get("/ip", headers, listener=listener).body)["ip"]


def test_the_upstream_is_told_about_the_client(gateway):
    seen = Seen(gateway.get("/"))
    assert seen.headers.get("x-forwarded-for") == "127.0.0.1"
    assert seen.headers.get("x-forwarded-proto") == "http"
    assert seen.headers.get("x-forwarded-host") == client.HOST


def test_what_an_untrusted_client_claims_is_dropped(gateway):
    seen = Seen(gateway.get("/", SPOOF))
    assert seen.headers.get("x-forwarded-for") == "127.0.0.1"
    assert seen.headers.get("x-forwarded-proto") == "http"
    assert seen.headers.get("x-forwarded-host") == client.HOST
    assert ip(gateway, UNTRUSTED, SPOOF) == "127.0.0.1"


def test_fifty_claimed_hops_do_not_move_an_untrusted_client(gateway):
    hops = [("X-Forwarded-For", ", ".join(f"10.0.0.{i}" for i in range(50)))]
    assert ip(gateway, UNTRUSTED, hops) == "127.0.0.1"
    assert Seen(gateway.get("/", hops)).headers.get("x-forwarded-for") == "127.0.0.1"


def test_a_claim_in_several_fields_is_dropped_whole(gateway):
    hops = [("X-Forwarded-For", "1.1.1.1"), ("x-forwarded-for", "2.2.2.2"), ("X-FORWARDED-FOR", "3.3.3.3")]
    assert Seen(gateway.get("/", hops)).headers.all("x-forwarded-for") == ["127.0.0.1"]


@pytest.mark.parametrize("listener, claimed, expected", [
    (ONE_HOP, None, "127.0.0.1"),
    (ONE_HOP, "9.9.9.9", "9.9.9.9"),
    (ONE_HOP, "6.6.6.6, 9.9.9.9", "9.9.9.9"),
    (ONE_HOP, ", ".join(f"10.0.0.{i}" for i in range(50)), "10.0.0.49"),
    (TWO_HOPS, "8.8.8.8, 9.9.9.9", "8.8.8.8"),
    (TWO_HOPS, "6.6.6.6, 8.8.8.8, 9.9.9.9", "8.8.8.8"),
    (TWO_HOPS, "9.9.9.9", "9.9.9.9"),
    (TWO_HOPS, ", ".join(f"10.0.0.{i}" for i in range(50)), "10.0.0.48"),
    (ONE_HOP, "2001:db8::1", "2001:db8::1"),
    (ONE_HOP, "not an address", "127.0.0.1"),
    (ONE_HOP, "<script>", "127.0.0.1"),
    (ONE_HOP, "", "127.0.0.1"),
])
def test_only_as_many_hops_are_believed_as_are_trusted(gateway, listener, claimed, expected):
    assert ip(gateway, listener, [("X-Forwarded-For", claimed)] if claimed is not None else []) == expected


def test_the_peer_is_appended_behind_a_trusted_hop(gateway):
    seen = Seen(gateway.get("/", [("X-Forwarded-For", "8.8.8.8"), ("X-Forwarded-For", "9.9.9.9")], listener=ONE_HOP))
    assert seen.headers.get("x-forwarded-for") == "8.8.8.8, 9.9.9.9, 127.0.0.1"


def test_a_trusted_hop_may_say_how_the_client_came(gateway):
    seen = Seen(gateway.get("/", SPOOF, listener=ONE_HOP))
    assert seen.headers.get("x-forwarded-proto") == "https"
    assert seen.headers.get("x-forwarded-host") == "evil.test"


def test_the_access_log_has_the_believed_address(gateway):
    gateway.get("/ip?logged", [("X-Forwarded-For", "9.9.9.9")], listener=ONE_HOP)
    line = wait.until(lambda: [line for line in gateway.log_lines() if line["path"] == "/ip?logged"], "the request was logged")[0]
    assert line["client"] == "9.9.9.9"


def test_a_client_on_a_unix_socket_has_no_address_to_pass_on(gateway, origin):
    origin.answer = describe
    seen = Seen(gateway.get("/", SPOOF, listener=UNIX))
    assert "6.6.6.6" not in str(seen.headers)
