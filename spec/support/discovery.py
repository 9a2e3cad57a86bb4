# SPDX-License-Identifier: MIT
"""A gateway of two workers with one upstream whose endpoints are discovered, and who is to be found."""

import contextlib

from . import wait
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
