# SPDX-License-Identifier: MIT
"""What is counted of requests under way goes on counting when a reload, a canary or a new set of endpoints comes: for those who
balance, and for limits and budgets."""

import contextlib
import json

import pytest

from support import wait
from support.checks import check_problem
from support.upstream import Gate, Seen, Upstream

CONFIG = """
return {
  admin = "unix:$dir/admin.sock", access_log = "off", workers = 1, reload = { $reload },
  listeners = {
    { address = "127.0.0.1:0" },
    { address = "127.0.0.1:0", protocol = "tcp", upstream = "users" },
  },
  upstreams = { users = { $endpoints, $settings } },
  routes = {
    { match = { path = "/fetch" }, handler = function(req)
        local res = require("perigee").http.fetch("http://users/fetched")
        return reply(200, res.body, { ["content-type"] = "application/json" })
    end },
    { match = { path = "/limited" }, upstream = "users", policies = { { "concurrency_limit", limit = 1 } } },
    { match = {}, upstream = "users" },
  },
}
"""

LEAST = 'balance = "least_request"'  # with different weights: in turns, which can be told before
SCRIPT = """balance = function(req, endpoints)
  local best = 1
  for i = 2, #endpoints do
    if endpoints[i].active < endpoints[best].active then best = i end
  end
  return best
end"""
BOUNDED = 'balance = { "ring_hash", by = "header:x-key", load_bound = 100 }'


class World:
    """A gateway before the upstreams a and b. Those who are kept waiting are let go in the end."""

    def __init__(self, launch, a, b):
        self.launch, self.a, self.b = launch, a, b
        self.gate = a.answer = Gate()
        self.waiting = []
        self.gateway = None

    def configure(self, endpoints, settings):
        """Starts, or reloads; `endpoints` are upstreams (b has twice the weight), or how they are found."""
        weights = {self.a: 1, self.b: 2}
        text = endpoints if isinstance(endpoints, str) else "endpoints = { %s }" % ", ".join(
            f'{{ "{each.address}", weight = {weights[each]} }}' for each in endpoints)
        values = {"endpoints": text, "settings": settings, "reload": ""}
        if self.gateway is None:
            self.gateway = self.launch(CONFIG, values=values)
            return
        self.gateway.values.update(values)
        self.gateway.reload(CONFIG)

    def hold(self, count, target="/", listener=0):
        """Requests that a keeps waiting."""
        before = len(self.a.heads)
        for _ in range(count):
            client = self.gateway.connect(listener)
            client.send_request("GET", target)
            self.waiting.append(client)
        self.a.wait_for_heads(before + count)

    def ask(self, count, target="/", headers=()):
        return [Seen(self.gateway.get(target, headers)).upstream for _ in range(count)]

    def let_go(self):
        self.gate.opened.set()
        for client in self.waiting:
            assert client.read_response().status == 200
            client.close()
        self.waiting = []


@pytest.fixture
def world(launch):
    with contextlib.ExitStack() as stack:
        made = World(launch, *[stack.enter_context(Upstream(name)) for name in "ab"])
        yield made
        made.let_go()
        assert made.a.failures == made.b.failures == []


@pytest.mark.parametrize("target, listener", [("/", 0), ("/fetch", 0), ("/", 1)], ids=["forwarded", "fetched", "tcp"])
@pytest.mark.parametrize("settings", [LEAST, SCRIPT], ids=["least_request", "function"])
def test_what_is_under_way_before_a_reload_counts_after_it(world, settings, target, listener):
    world.configure([world.a], settings)
    world.hold(3, target, listener)
    world.configure([world.a, world.b], settings)
    assert world.ask(4) == ["b"] * 4
    world.let_go()
    wait.until(lambda: "a" in world.ask(4), "what has ended counts no more")


def test_a_bounded_load_counts_what_is_under_way_before_a_reload(world):
    both = [world.a, world.b]
    world.configure(both, BOUNDED)
    world.gate.opened.set()
    key = next(str(i) for i in range(64) if world.ask(1, headers=[("x-key", str(i))]) == ["a"])
    world.gate.opened.clear()
    world.configure([world.a], BOUNDED)
    world.hold(3)
    world.configure(both, BOUNDED)
    assert world.ask(4, headers=[("x-key", key)]) == ["b"] * 4


def test_counts_last_through_a_row_of_reloads_and_an_upstream_that_was_gone_meanwhile(world):
    world.configure([world.a], LEAST)
    world.hold(2)
    world.configure([world.b], LEAST)
    assert world.ask(1) == ["b"]
    world.configure([world.a], LEAST + ', pool = { max_idle = 7 }')  # connections are others from now on
    world.hold(1)
    world.configure([world.b, world.a], LEAST)
    assert world.ask(4) == ["b"] * 4
    world.let_go()
    wait.until(lambda: "a" in world.ask(4), "what has ended counts no more")


def test_a_rollback_goes_on_with_the_counts(world):
    world.configure([world.a, world.b], SCRIPT)
    world.configure([world.a], SCRIPT)
    world.hold(3)
    assert world.gateway.command("rollback").returncode == 0
    assert world.ask(4) == ["b"] * 4


def test_a_canary_and_the_generation_beside_it_count_each_others_requests(world):
    world.configure([world.a], SCRIPT)
    world.hold(2)
    world.configure([world.a, world.b], SCRIPT)
    gateway = world.gateway
    gateway.write(gateway.name, CONFIG, reload='canary = "50%", window = "60s"')
    response = gateway.ask("POST", "/reload")
    assert json.loads(response.body) == {"generation": 2, "canary": 3}, response
    gate = world.b.answer = Gate()
    for held in range(1, 5):  # both generations put the next one where fewer are, whoever put them there
        client = gateway.connect()
        client.send_request("GET", "/")
        world.waiting.append(client)
        wait.until(lambda: len(world.a.heads) + len(world.b.heads) == 2 + held, "it has arrived")
    assert (len(world.a.heads), len(world.b.heads)) == (3, 3)
    assert gateway.ask_json("/status")["canary"]["begun"] == 2
    gate.opened.set()


def test_a_new_set_of_endpoints_and_a_reload_count_together(world, folder):
    found = f'file = "{folder.path}/users.json"'
    folder.write("users.json", json.dumps([world.a.address]))
    world.configure(found, LEAST)
    world.hold(3)
    folder.write("next.json", json.dumps([world.a.address, {"address": world.b.address, "weight": 2}]))
    (folder.path / "next.json").rename(folder.path / "users.json")
    wait.until(lambda: len(world.gateway.ask_json("/upstreams")[0]["endpoints"]) == 2, "the new set is used")
    assert world.ask(4) == ["b"] * 4
    world.configure(found, LEAST)
    assert world.ask(4) == ["b"] * 4
    world.configure([world.a, world.b], LEAST)
    assert world.ask(4) == ["b"] * 4


# ---------------------------------------------------------------- limits and budgets


@pytest.mark.parametrize("target, listener", [("/", 0), ("/fetch", 0), ("/", 1)], ids=["forwarded", "fetched", "tcp"])
def test_a_place_of_the_breaker_is_taken_until_the_request_is_over(world, target, listener):
    world.configure([world.a], "breaker = { max_requests = 1 }")
    world.hold(1, target, listener)
    for _ in range(3):
        world.configure([world.a], "breaker = { max_requests = 1 }")
        check_problem(world.gateway.get("/"), 503, "upstream_overflow")
    world.let_go()
    wait.until(lambda: world.gateway.get("/").status == 200, "the place is free again")


def test_a_limit_that_a_reload_changes_counts_what_was_there_before(world):
    world.configure([world.a], "breaker = { max_requests = 9 }")
    world.hold(3)
    world.configure([world.a], "breaker = { max_requests = 3 }")
    check_problem(world.gateway.get("/"), 503, "upstream_overflow")
    world.configure([world.a], "breaker = { max_requests = 4 }")
    world.hold(1)
    check_problem(world.gateway.get("/"), 503, "upstream_overflow")


def test_the_places_of_a_queue_are_taken_until_those_who_wait_are_served(world):
    settings = 'breaker = { max_requests = 1, queue = { max = 1, timeout = "60s" } }'
    world.configure([world.a], settings)
    world.hold(1)
    client = world.gateway.connect()
    client.send_request("GET", "/waits")
    world.waiting.append(client)
    wait.until(lambda: world.gateway.ask_json("/upstreams")[0]["breaker"]["queue"] == 1, "it waits")
    world.configure([world.a], settings)
    check_problem(world.gateway.get("/"), 503, "upstream_overflow")
    assert world.gateway.ask_json("/upstreams")[0]["breaker"]["queue"] == 1


def fail(wire, request):
    wire.read_request_body(request)
    wire.respond(500, body=b"broken")


def test_a_retry_budget_counts_what_is_under_way_before_a_reload(world):
    settings = """retries = { attempts = 1, on = { "5xx" }, backoff = { base = "0s" },
                              budget = { percent = 25, min_concurrency = 0 } }"""
    world.configure([world.b], settings)
    world.b.answer = fail
    assert world.gateway.get("/").status == 500  # 25 per cent of one are no retry
    world.configure([world.a], settings)
    world.hold(4)
    world.configure([world.b], settings)
    before = len(world.b.heads)
    assert world.gateway.get("/").status == 500
    assert len(world.b.heads) == before + 2


def test_a_budget_by_rate_remembers_what_was_spent_before_a_reload(world):
    settings = """retries = { attempts = 1, on = { "5xx" }, backoff = { base = "0s" },
                              budget = { type = "rate", ratio = 0.5, min_per_second = 0, ttl = "60s" } }"""
    world.configure([world.b], settings)
    world.b.answer = fail
    for _ in range(4):
        world.gateway.get("/")
    assert len(world.b.heads) == 6  # one retry for each two requests
    world.configure([world.b], settings)
    world.gateway.get("/")
    assert len(world.b.heads) == 7
    world.gateway.get("/")
    assert len(world.b.heads) == 9


def test_a_concurrency_limit_counts_what_is_under_way_before_a_reload(world):
    world.configure([world.a], LEAST)
    world.hold(1, "/limited")
    world.configure([world.a], LEAST)
    check_problem(world.gateway.get("/limited"), 503)
    world.let_go()
    wait.until(lambda: world.gateway.get("/limited").status == 200, "it counts no more")
