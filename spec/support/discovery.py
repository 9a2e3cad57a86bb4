# SPDX-License-Identifier: MIT
"""A gateway of two workers with one upstream whose endpoints are discovered, and who is to be found."""

import contextlib
import json

from . import wait
from .metrics import Metrics
from .upstream import Upstream

CONFIG = """
return {
  admin = "unix:$dir/admin.sock",
  access_log = "off",
  workers = 2,
  DNS
  listeners = { { address = "127.0.0.1:0" } },
  upstreams = { orders = { SOURCE, balance = "BALANCE" } },
  routes = { { match = {}, upstream = "orders" } },
}
"""


def config(source, dns="", balance="round_robin"):
    return CONFIG.replace("SOURCE", source).replace("DNS", dns).replace("BALANCE", balance)


def endpoints(gateway):
    upstream, = gateway.ask_json("/upstreams")
    return sorted(endpoint["address"] for endpoint in upstream["endpoints"])


def source(gateway):
    """What is told of where the endpoints come from: the source alone, and what became of looks."""
    upstream, = gateway.ask_json("/upstreams")
    looks = ("looks", "failed", "looked_s_ago", "succeeded_s_ago", "failed_s_ago", "problem")
    told = upstream["discovery"]
    return ({name: value for name, value in told.items() if name not in looks},
            {name: value for name, value in told.items() if name in looks})


def looks(gateway):
    """The counter of looks for endpoints, by result."""
    metrics = Metrics(gateway.ask("GET", "/metrics").body.decode())
    return {result: metrics.sum("perigee_upstream_discovery_looks_total", upstream="orders", result=result)
            for result in ("success", "empty", "failure")}


def wait_endpoints(gateway, *addresses):
    wait.until(lambda: endpoints(gateway) == sorted(addresses), f"the endpoints are {addresses}")


def who_answers(gateway, requests=12):
    answers = [gateway.get("/") for _ in range(requests)]
    assert {answer.status for answer in answers} == {200}
    return {answer.headers.get("x-upstream") for answer in answers}


def answer_as(name):
    def answer(wire, request):
        wire.read_request_body(request)
        wire.respond(200, [("x-upstream", name)], b"here")
    return answer


@contextlib.contextmanager
def two_on_one_port():
    """Two servers, a on 127.0.0.1 and b on 127.0.0.2, with the same port: what addresses of one name lead to."""
    with Upstream("a", answer=answer_as("a")) as a:
        port = a.address.rsplit(":", 1)[1]
        with Upstream("b", address="127.0.0.2:" + port, answer=answer_as("b")) as b:
            yield a, b, port


def wait_answers(gateway, *names):
    wait.until(lambda: {gateway.get("/").headers.get("x-upstream") for _ in range(12)} == set(names),
               f"both workers ask {names}")


ROUTES = """
  routes = {
    { match = { path = "/_set" }, handler = function(req)
        local perigee = require "perigee"
        local done, message = perigee.upstream "orders":set_endpoints(req.body:json())
        return reply(done and 200 or 400, message or "")
    end },
    { match = { path = "/_get" }, handler = function()
        return reply(200, require "perigee".upstream "orders":endpoints())
    end },
    { match = {}, upstream = "orders" },
  },
"""


def scripted(initial="{}"):
    return config(f"dynamic = {initial}").replace('  routes = { { match = {}, upstream = "orders" } },\n', ROUTES)


def set_endpoints(gateway, *list_):
    answer = gateway.request("POST", "/_set", [("content-type", "application/json")], json.dumps(list_).encode())
    assert (answer.status, answer.body) == (200, b""), answer
