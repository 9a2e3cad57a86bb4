# SPDX-License-Identifier: MIT
"""How requests are shared out: among endpoints, among upstreams, among workers."""

import collections
import contextlib

import pytest

from support import wait
from support.checks import check_problem
from support.gateway import Gateway
from support.upstream import Seen, Upstream, free_address

CONFIG = """
return {
  admin = "unix:$dir/admin.sock",
  access_log = "off",
  workers = 1,
  listeners = { { address = "127.0.0.1:0" } },
  upstreams = {
    even = { endpoints = { "$a", "$b", "$c" } },
    weighted = { endpoints = { { "$a", weight = 3 }, "$b" } },
    random = { endpoints = { "$a", "$b" }, balance = "random" },
    least = { endpoints = { "$a", "$b" }, balance = "least_request" },
    one = { endpoints = { "$a" } },
    two = { endpoints = { "$b" } },
  },
  routes = {
    { match = { path = "/even" }, upstream = "even" },
    { match = { path = "/weighted" }, upstream = "weighted" },
    { match = { path = "/random" }, upstream = "random" },
    { match = { path = "/least" }, upstream = "least" },
    { match = { path = "/split" }, upstream = { { "one", weight = 9 }, { "two", weight = 1 } } },
    { match = { path = "/all-or-nothing" }, upstream = { { "one", weight = 1 }, { "two", weight = 0 } } },
  },
}
"""


@pytest.fixture(scope="module")
def upstreams():
    with contextlib.ExitStack() as stack:
        yield {name: stack.enter_context(Upstream(name)) for name in "abc"}


@pytest.fixture(scope="module")
def gateway(upstreams):
    with Gateway(CONFIG, values={name: upstream.address for name, upstream in upstreams.items()}) as started:
        yield started


def shares(gateway, target, requests):
    with gateway.connect() as client:
        return collections.Counter(Seen(client.get(target)).upstream for _ in range(requests))


def test_endpoints_take_turns(gateway):
    assert shares(gateway, "/even", 30) == {"a": 10, "b": 10, "c": 10}


def test_weights_are_shares(gateway):
    assert shares(gateway, "/weighted", 40) == {"a": 30, "b": 10}


def test_random_uses_every_endpoint(gateway):
    counts = shares(gateway, "/random", 200)
    assert min(counts["a"], counts["b"]) >= 50


def test_least_request_prefers_the_idle_endpoint(gateway, upstreams):
    """While one request is stuck at an endpoint, the other one gets most of what comes."""
    with gateway.connect() as stuck:
        for upstream in upstreams.values():
            upstream.forget()
            upstream.answer = lambda wire, _: wire.read_rest()
        stuck.send_request("GET", "/least")
        upstream = wait_for_head(upstreams)
        for other in upstreams.values():
            other.forget()
        counts = shares(gateway, "/least", 60)
        assert counts[upstream.name] < 30


def wait_for_head(upstreams):
    return wait.until(lambda: next((upstream for upstream in upstreams.values() if upstream.heads), None), "one got the request")


def test_a_route_splits_among_upstreams(gateway):
    counts = shares(gateway, "/split", 500)
    assert 20 <= counts["b"] <= 100, counts
    assert shares(gateway, "/all-or-nothing", 30) == {"a": 30}


def test_an_upstream_whose_endpoints_are_all_away_is_503(launch):
    gateway = launch("""
return {
  admin = "unix:$dir/admin.sock", access_log = "off", workers = 1,
  listeners = { { address = "127.0.0.1:0" } },
  upstreams = { away = { endpoints = { "$x", "$y" } } },
  routes = { { upstream = "away" } },
}
""", values={"x": free_address(), "y": free_address()})
    for _ in range(4):
        check_problem(gateway.get("/"), 503)


def test_a_rate_limit_is_exact_across_workers(launch):
    gateway = launch("""
return {
  admin = "unix:$dir/admin.sock", access_log = "off", workers = 3,
  listeners = { { address = "127.0.0.1:0" } },
  policies = { { "rate_limit", limit = 20, window = "1h", by = "client" } },
  routes = { { reply = "served" } },
}
""", values={"a": "b"})
    statuses = collections.Counter(gateway.get("/").status for _ in range(60))
    assert statuses == {200: 20, 429: 40}
    refused = gateway.get("/")
    assert refused.status == 429
    assert int(refused.headers.get("retry-after")) > 0
