# SPDX-License-Identifier: MIT
"""Endpoints whose results are worse than allowed are ejected, by all workers together, and come back."""

import contextlib
import os
import signal

import pytest

from support import wait
from support.gateway import Gateway
from support.metrics import Metrics
from support.upstream import Upstream, describe, free_address

CONFIG = """
return {
  admin = "unix:$dir/admin.sock",
  access_log = "$dir/access.log",
  workers = WORKERS,
  listeners = { { address = "127.0.0.1:0" } },
  upstreams = { origin = {
    endpoints = { "$a", "$b", "$c" },
    outlier = { OUTLIER },
  } },
  routes = { { match = {}, upstream = "origin" } },
}
"""

OUTLIER = 'base_ejection_time = "1h", max_ejection_time = "1h", interval = "50ms"'


def fail(wire, request):
    wire.read_request_body(request)
    wire.respond(500)


@contextlib.contextmanager
def serving(workers=1, outlier=OUTLIER, **values):
    with contextlib.ExitStack() as stack:
        upstreams = {name: stack.enter_context(Upstream(name)) for name in "abc" if name not in values}
        values = {**{name: upstream.address for name, upstream in upstreams.items()}, **values}
        config = CONFIG.replace("WORKERS", str(workers)).replace("OUTLIER", outlier)
        gateway = stack.enter_context(Gateway(config, values=values))
        yield gateway, upstreams


def endpoints(gateway):
    upstream, = gateway.ask_json("/upstreams")
    return {endpoint["address"]: endpoint for endpoint in upstream["endpoints"]}


def statuses(gateway, requests):
    """One connection for each request: the workers take turns, as the system likes."""
    return [gateway.get("/").status for _ in range(requests)]


def wait_ejected(gateway, address):
    return wait.until(lambda: endpoints(gateway)[address]["state"] == "ejected" and endpoints(gateway)[address],
                      f"{address} was ejected")


@pytest.mark.parametrize("workers", [1, 4])
def test_five_failures_of_all_workers_together_eject(workers):
    with serving(workers) as (gateway, upstreams):
        upstreams["a"].answer = fail
        found = statuses(gateway, 60)
        assert found.count(500) == 5  # counted over all workers: neither more nor fewer
        assert set(found) == {200, 500}
        assert len(upstreams["a"].heads) == 5
        endpoint = wait_ejected(gateway, upstreams["a"].address)
        assert endpoint["reason"] == "5xx"
        assert endpoint["ejections"] == 1
        assert 3500 < endpoint["back_in_s"] <= 3600
        assert endpoints(gateway)[upstreams["b"].address]["state"] == "healthy"
        metrics = Metrics(gateway.ask("GET", "/metrics").body.decode())
        assert metrics.sum("perigee_upstream_ejections_total", upstream="origin", reason="5xx") == 1
        assert metrics.sum("perigee_upstream_endpoints", upstream="origin", state="healthy") == 2
        assert metrics.sum("perigee_upstream_endpoints", upstream="origin", state="ejected") == 1
        assert f"upstream origin: {upstreams['a'].address} is ejected for 3600000 ms (5xx)" in gateway.errors


def test_an_ejected_endpoint_comes_back_after_its_time():
    outlier = 'base_ejection_time = "50ms", max_ejection_time = "50ms", interval = "20ms"'
    with serving(outlier=outlier) as (gateway, upstreams):
        upstreams["a"].answer = fail
        statuses(gateway, 20)
        address = upstreams["a"].address
        upstreams["a"].answer = describe
        wait.until(lambda: endpoints(gateway)[address]["state"] == "healthy", "it came back")
        upstreams["a"].heads.clear()
        wait.until(lambda: gateway.get("/").status == 200 and upstreams["a"].heads, "it got a request again")
        assert endpoints(gateway)[address]["ejections"] >= 1
        wait.until(lambda: f"upstream origin: {address} is back" in gateway.errors, "the log says so")


def test_an_endpoint_where_nobody_listens_is_ejected():
    nobody = free_address()
    with serving(a=nobody) as (gateway, _):
        found = statuses(gateway, 40)
        assert found.count(503) == 5
        assert wait_ejected(gateway, nobody)["reason"] == "5xx"


def test_an_ejection_lives_on_through_reloads_and_new_workers():
    with serving(2) as (gateway, upstreams):
        upstreams["a"].answer = fail
        assert statuses(gateway, 40).count(500) == 5
        gateway.reload()
        assert statuses(gateway, 20).count(200) == 20
        for pid in gateway.workers():
            os.kill(pid, signal.SIGKILL)
            gateway.wait_replaced(pid)
        assert statuses(gateway, 20).count(200) == 20
        assert endpoints(gateway)[upstreams["a"].address]["state"] == "ejected"


def test_a_reload_that_drops_the_setting_uses_all_endpoints_again():
    with serving() as (gateway, upstreams):
        upstreams["a"].answer = fail
        statuses(gateway, 20)
        upstreams["a"].answer = describe
        upstreams["a"].heads.clear()
        gateway.reload(CONFIG.replace("WORKERS", "1").replace("    outlier = { OUTLIER },\n", ""))
        assert set(statuses(gateway, 9)) == {200}
        assert len(upstreams["a"].heads) == 3


def test_percentages_limit_who_is_ejected():
    with serving(outlier=OUTLIER + ", always_eject_one_host = false") as (gateway, upstreams):
        upstreams["a"].answer = fail
        assert statuses(gateway, 30).count(500) == 10  # ten per cent of three is nobody
        assert endpoints(gateway)[upstreams["a"].address]["state"] == "healthy"


def test_who_sweeps_is_replaced_when_its_worker_dies():
    outlier = 'base_ejection_time = "300ms", max_ejection_time = "300ms", interval = "20ms"'
    with serving(2, outlier) as (gateway, upstreams):
        address = upstreams["a"].address
        for pid in gateway.workers():  # one of them sweeps
            upstreams["a"].answer = fail
            wait.until(lambda: 500 in statuses(gateway, 15) and endpoints(gateway)[address]["ejections"] > 0, "it was ejected")
            upstreams["a"].answer = describe
            os.kill(pid, signal.SIGKILL)
            gateway.wait_replaced(pid)
            wait.until(lambda: endpoints(gateway)[address]["state"] == "healthy", "it came back")
