# SPDX-License-Identifier: MIT
"""Who gets a request, by algorithm: keys that stay where they are, clients that come back, slow endpoints that are spared, labels,
zones, priorities and slow start."""

import collections
import contextlib
import re
import time

import pytest

from support import wait
from support.checks import check_problem
from support.gateway import run
from support.upstream import Seen, Upstream

CONFIG = """
return {
  admin = "unix:$dir/admin.sock", access_log = "off", workers = $workers,
  listeners = { { address = "127.0.0.1:0" } },
  upstreams = { users = { endpoints = { $endpoints }, $settings } },
  routes = { { $route upstream = "users" } },
}
"""


@pytest.fixture(scope="module")
def all_upstreams():
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(Upstream(name)) for name in "abcdef"]


@pytest.fixture
def upstreams(all_upstreams):
    for upstream in all_upstreams:
        upstream.forget()
    return all_upstreams


def quoted(upstreams):
    return ", ".join(f'"{upstream.address}"' for upstream in upstreams)


@pytest.fixture
def start(launch):
    """Starts a gateway on `endpoints` (Lua, or upstreams), an upstream's `settings` and a `route`'s."""
    def begin(endpoints, settings, route="", workers=1):
        return launch(CONFIG, values=values(endpoints, settings, route, workers))

    return begin


def values(endpoints, settings, route="", workers=1):
    text = endpoints if isinstance(endpoints, str) else quoted(endpoints)
    return {"endpoints": text, "settings": settings, "route": route, "workers": str(workers)}


def reconfigure(gateway, endpoints, settings, route="", workers=1):
    gateway.values.update(values(endpoints, settings, route, workers))
    gateway.reload(CONFIG)


def ask(gateway, headers=(), target="/"):
    return Seen(gateway.get(target, headers)).upstream


def shares(gateway, requests, headers=(), target="/"):
    with gateway.connect() as client:
        return collections.Counter(Seen(client.get(target, headers)).upstream for _ in range(requests))


def place(gateway, keys, header="x-user"):
    with gateway.connect() as client:
        return {key: Seen(client.get("/", [(header, f"user-{key}")])).upstream for key in range(keys)}


# ---------------------------------------------------------------- keys

KEYS = 300
KEYED = ["ring_hash", "maglev"]


@pytest.mark.parametrize("name", KEYED)
def test_a_key_has_the_same_endpoint_in_every_worker(start, upstreams, name):
    gateway = start(upstreams[:3], f'balance = {{ "{name}", by = "header:X-User" }}', workers=3)
    expected = place(gateway, 10)
    assert len(set(expected.values())) > 1, expected
    for _ in range(6):
        assert place(gateway, 10) == expected


# The endpoint that goes had its share of the keys; of the others only few may move, and none on a ring.
@pytest.mark.parametrize("name, moved_at_most", [("ring_hash", 0), ("maglev", KEYS // 8)])
def test_a_reload_without_an_endpoint_moves_only_its_keys(start, upstreams, name, moved_at_most):
    settings = f'balance = {{ "{name}", by = "header:x-user" }}'
    gateway = start(upstreams[:3], settings)
    before = place(gateway, KEYS)
    counts = collections.Counter(before.values())
    assert min(counts.values()) > KEYS / 3 * 0.6, counts
    reconfigure(gateway, upstreams[:2], settings)
    after = place(gateway, KEYS)
    assert set(after.values()) == {"a", "b"}
    assert sum(before[key] != after[key] for key in before if before[key] != "c") <= moved_at_most
    reconfigure(gateway, upstreams[:3], settings)
    assert place(gateway, KEYS) == before


def test_keys_come_from_cookies_paths_and_addresses(start, upstreams):
    gateway = start(upstreams[:3], 'balance = { "maglev", by = "cookie:session" }')
    cookies = {number: ask(gateway, [("Cookie", f"a=1; session=s{number}")]) for number in range(20)}
    assert len(set(cookies.values())) == 3
    assert all(ask(gateway, [("Cookie", f"session=s{number}")]) == name for number, name in cookies.items())

    reconfigure(gateway, upstreams[:3], 'balance = { "maglev", by = "path" }')
    paths = {number: ask(gateway, target=f"/{number}") for number in range(20)}
    assert len(set(paths.values())) == 3
    assert all(ask(gateway, target=f"/{number}?x=1") == name for number, name in paths.items())

    reconfigure(gateway, upstreams[:3], 'balance = { "ring_hash", by = "client" }')
    assert len(shares(gateway, 20)) == 1


def test_requests_without_a_key_are_spread(start, upstreams):
    gateway = start(upstreams[:3], 'balance = { "ring_hash", by = "header:x-user" }')
    counts = shares(gateway, 300)
    assert min(counts[name] for name in "abc") > 60, counts


def test_a_hot_key_goes_on_to_the_next_endpoint_when_its_own_is_busy(start, upstreams):
    gateway = start(upstreams[:3], 'balance = { "ring_hash", by = "header:x-user", load_bound = 125 }')
    key = [("x-user", "hot")]
    home = ask(gateway, key)
    busy = next(upstream for upstream in upstreams if upstream.name == home)
    busy.forget()
    busy.answer = lambda wire, _: wire.read_rest()
    with gateway.connect() as stuck:
        stuck.send_request("GET", "/", key)
        busy.wait_for_heads(1)
        assert ask(gateway, key) != home
    wait.until(lambda: busy.connections[-1].is_closed.is_set(), "the stuck request was given up")
    busy.forget()
    assert ask(gateway, key) == home


# ---------------------------------------------------------------- sticky clients

STICKY = 'balance = { "sticky", cookie = "endpoint", ttl = "1h" }'


def cookie_of(response):
    match = re.fullmatch(r"endpoint=([0-9a-f]{32}); Path=/; Max-Age=3600; HttpOnly; SameSite=Lax", response.headers.get("set-cookie"))
    assert match, response.headers
    return match.group(1)


def test_a_sticky_client_comes_back_to_its_endpoint(start, upstreams):
    gateway = start(upstreams[:3], STICKY, workers=3)
    tokens = {}
    for _ in range(12):
        response = gateway.get("/")
        tokens[Seen(response).upstream] = cookie_of(response)
    assert set(tokens) == {"a", "b", "c"}
    assert len(set(tokens.values())) == 3
    for _ in range(3):
        for name, token in tokens.items():
            response = gateway.get("/", [("Cookie", f"x=y; endpoint={token}")])
            assert Seen(response).upstream == name
            assert response.headers.get("set-cookie") is None
        gateway.reload()


def test_a_sticky_client_whose_endpoint_is_gone_gets_another_one(start, upstreams):
    gateway = start(upstreams[:3], STICKY)
    response = gateway.get("/")
    while Seen(response).upstream != "c":
        response = gateway.get("/")
    header = [("Cookie", "endpoint=" + cookie_of(response))]
    reconfigure(gateway, upstreams[:2], STICKY)
    response = gateway.get("/", header)
    assert Seen(response).upstream in "ab"
    new = [("Cookie", "endpoint=" + cookie_of(response))]
    assert new != header
    assert shares(gateway, 5, new) == {Seen(response).upstream: 5}
    assert len(shares(gateway, 10, [("Cookie", "endpoint=forged")])) == 2


def test_proxies_with_one_secret_agree_on_sticky_clients(start, upstreams):
    shared = 'balance = { "sticky", cookie = "endpoint", ttl = "1h", secret = "sixteen bytes or more", fallback = "random" }'
    one, two = start(upstreams[:3], shared), start(upstreams[:3], shared)
    for _ in range(6):
        response = one.get("/")
        assert shares(two, 4, [("Cookie", "endpoint=" + cookie_of(response))]) == {Seen(response).upstream: 4}
    other = start(upstreams[:3], shared.replace("sixteen", "SIXTEEN"))
    assert other.get("/", [("Cookie", "endpoint=" + cookie_of(response))]).headers.get("set-cookie")


# ---------------------------------------------------------------- load

def slow(seconds):
    def answer(wire, request):
        time.sleep(seconds)
        wire.read_request_body(request)
        wire.respond(200, [], b"slow")

    return answer


def count_requests(gateway, upstreams, requests):
    for upstream in upstreams:
        upstream.heads.clear()
    with gateway.connect() as client:
        for _ in range(requests):
            client.get("/")
    return {upstream.name: len(upstream.heads) for upstream in upstreams}


def test_ewma_spares_a_slow_endpoint_also_after_a_reload(start, upstreams):
    gateway = start(upstreams[:3], 'balance = "ewma"')
    upstreams[2].answer = slow(0.3)
    counts = count_requests(gateway, upstreams[:3], 200)
    assert counts["c"] <= 10, counts
    assert min(counts["a"], counts["b"]) >= 40, counts
    gateway.reload()
    counts = count_requests(gateway, upstreams[:3], 50)
    assert counts["c"] <= 2, counts


def test_ewma_is_not_drawn_to_an_endpoint_that_refuses_quickly(start, upstreams):
    gateway = start(upstreams[:3], 'balance = "ewma"')
    upstreams[0].answer = lambda wire, request: wire.respond(429, [("Retry-After", "60")])
    counts = count_requests(gateway, upstreams[:3], 100)
    assert counts["a"] <= 2, counts


def test_least_request_shares_by_weight(start, upstreams):
    endpoints = f'{{ "{upstreams[0].address}", weight = 3 }}, "{upstreams[1].address}"'
    gateway = start(endpoints, 'balance = "least_request"')
    counts = shares(gateway, 80)
    assert abs(counts["a"] - 60) <= 1, counts


# ---------------------------------------------------------------- who is asked at all

def test_lower_priorities_wait(start, upstreams):
    endpoints = ", ".join(f'{{ "{upstream.address}", priority = {number // 2} }}' for number, upstream in enumerate(upstreams[:4]))
    gateway = start(endpoints, "")
    assert shares(gateway, 40) == {"a": 20, "b": 20}


def labelled(upstreams):
    return ", ".join(f'{{ "{upstream.address}", labels = {{ version = "v{1 + number // 2}" }} }}' for number, upstream in enumerate(upstreams))


def test_a_route_asks_only_endpoints_with_its_labels(start, upstreams):
    gateway = start(labelled(upstreams[:4]), "", 'labels = { version = "v2" },')
    assert shares(gateway, 20) == {"c": 10, "d": 10}
    reconfigure(gateway, labelled(upstreams[:4]), "")
    assert shares(gateway, 20) == {"a": 5, "b": 5, "c": 5, "d": 5}


def test_labels_that_no_endpoint_has_are_refused(start, upstreams):
    gateway = start(labelled(upstreams[:4]), "")
    gateway.values.update(values(labelled(upstreams[:4]), "", 'labels = { version = "v3" },'))
    gateway.write(gateway.name, CONFIG)
    result = gateway.command("reload")
    assert result.returncode == 1
    assert "routes[1].labels: no endpoint of the upstream 'users' has these labels" in result.stdout + result.stderr
    assert len(shares(gateway, 8)) == 4


def zoned(upstreams):
    return ", ".join(f'{{ "{upstream.address}", zone = "z{number % 2}" }}' for number, upstream in enumerate(upstreams))


def test_endpoints_of_the_own_zone_are_preferred(start, upstreams):
    gateway = start(zoned(upstreams), 'zone = "z1"')
    assert shares(gateway, 30) == {"b": 10, "d": 10, "f": 10}
    reconfigure(gateway, zoned(upstreams), 'zone = "elsewhere"')
    assert len(shares(gateway, 30)) == 6
    reconfigure(gateway, zoned(upstreams[:4]), 'zone = "z1"')  # too few to be divided
    assert len(shares(gateway, 30)) == 4


def test_a_new_endpoint_starts_slowly(start, upstreams):
    gateway = start(upstreams[:2], 'slow_start = "1h"')
    assert shares(gateway, 20) == {"a": 10, "b": 10}
    reconfigure(gateway, upstreams[:3], 'slow_start = "1h"')
    counts = shares(gateway, 210)
    assert counts["c"] == 10, counts  # a tenth of a weight


def test_panic_does_not_hide_that_nobody_answers(start):
    gateway = start('"127.0.0.1:1", "127.0.0.2:1"', 'panic_threshold = "0%"')
    check_problem(gateway.get("/"), 503)


# ---------------------------------------------------------------- settings

@pytest.mark.parametrize("settings, message", [
    ('balance = "ring_hash"', 'ring_hash needs the part of a request that decides: by = "header:NAME"'),
    ('balance = { "ewma", by = "client" }', "is a setting of ring_hash and maglev, not of ewma"),
    ('balance = { "maglev", by = "header:bad name" }', 'expected "header:NAME", "cookie:NAME", "client", "path" or a function'),
    ('balance = { "maglev", by = "path", table_size = 65536 }', "must be a prime number; 2 divides it"),
    ('balance = "sticky"', "sticky needs the name of its cookie"),
    ('balance = { "sticky", cookie = "a b" }', "expected the name of a cookie"),
    ('balance = "fast"', 'expected "round_robin", "least_request", "ewma", "random", "ring_hash", "maglev" or "sticky"'),
    ('balance = { "ring_hash", by = "path" }, slow_start = "1s"', "has no effect with ring_hash"),
    ('panic_threshold = "101%"', 'expected a share such as "5%"'),
])
def test_a_setting_that_makes_no_sense_is_refused(tmp_path, settings, message):
    file = tmp_path / "gateway.lua"
    file.write_text('return { upstreams = { u = { endpoints = { "a:1" }, %s } }, routes = { { upstream = "u" } } }' % settings)
    result = run("check", file)
    assert result.returncode == 1
    assert message in result.stdout + result.stderr, result
